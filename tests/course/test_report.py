"""The report shows what lies on disk, whole or not, and needs no network to be read."""

from __future__ import annotations

import html
import json
import re

import nbformat
import pytest

from rg_helpers.course import cli
from rg_helpers.course.claims import Claim, write_claims
from rg_helpers.course.gallery.formulas import draw_formulas
from rg_helpers.course.gallery.links import broken_links

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)


def _picture():
    return nbformat.v4.new_output("display_data", data={"image/png": PIXEL, "text/plain": "pic"})


def _page(checkout, name: str) -> str:
    return html.unescape((checkout / "runs" / "report" / name).read_text())


def test_every_state_of_a_run_is_shown_as_what_it_is(checkout, add_notebook, fake_run, capsys):
    for name in ("00_whole", "01_failed", "02_damaged", "03_changed", "04_unread", "05_absent"):
        add_notebook(name, "print('<b>')")
    fake_run("00_whole", [_picture()])
    error = {"name": "KeyError", "message": "'x' & y", "cell": 4, "traceback": ["\x1b[31mline"]}
    fake_run("01_failed", status="failed", error=error)
    damaged = fake_run("02_damaged")
    damaged.write_bytes(damaged.read_bytes()[:100])
    fake_run("03_changed")
    add_notebook("03_changed", "print('other code')")
    unread = fake_run("04_unread")
    unread.with_suffix(".json").write_text("{")
    fake_run("00_whole", profile="smoke")
    (checkout / "data" / "results" / "r.json").write_text('{"x": 0.75}')
    claim = {"id": "base.accuracy.program.easy", "statement": "<Easy>", "source": "r.json",
             "pointer": "/x", "command": "c", "target": ">= 0.9"}  # fmt: skip
    write_claims([Claim(value=0.75, **claim)])

    assert cli.main(["report"]) == 0
    assert str(checkout / "runs" / "report" / "index.html") in capsys.readouterr().out
    index = _page(checkout, "index.html")
    assert '<a href="cpu/00_whole.html">Title of 00_whole</a>' in index
    assert 'class="failed">not run' in index
    assert "Title of 05_absent" in index
    runs = _page(checkout, "runs.html")
    rows = {name: row for row in re.findall(r"<tr>.*?</tr>", runs, re.DOTALL)
            for name in re.findall(r"0\d_\w+", row)[:1]}  # fmt: skip
    cpu = runs[runs.index("Profile cpu") :]
    assert '<a href="cpu/00_whole.html">' in cpu
    assert "cell [4]: KeyError: 'x' & y" in rows["01_failed"]
    assert "\x1b" not in runs
    assert '<a href="cpu/01_failed.html">' in rows["01_failed"]
    assert "damaged" in rows["02_damaged"]
    assert "href" not in rows["02_damaged"]
    assert "inputs since changed" in rows["03_changed"]
    assert "unreadable" in rows["04_unread"]
    assert "not run" in rows["05_absent"]
    assert "1.50" in rows["03_changed"]  # minutes
    assert "1.25" in rows["03_changed"]  # GiB
    claims = (checkout / "runs" / "report" / "claims.html").read_text()
    assert claims.index("Targets missed") < claims.index("base.accuracy.program.easy")
    assert claims.count('<span class="missed">missed</span>') == 2  # above and in its group
    assert "&lt;Easy&gt;" in claims
    failed = _page(checkout, "cpu/01_failed.html")
    assert "This run is not whole: failed" in failed


def _with_a_figure(add_notebook, name: str):
    """A notebook as it is committed: prose, an output, a figure with its text."""
    path = add_notebook(name, "print('<b>')")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source += (
        "\n\n<!-- measured -->**Measured**: 1 min<!-- /measured -->\n\n## The first part\n\n"
        "A gold graph, see notebook 01 and arXiv 1902.10186.\n\n## The first part\n\n$x$\n\n"
        "<details><summary>Hint</summary>\n\nLook *down*.\n</details>"
    )
    answer = nbformat.v4.new_code_cell("answer = 1", metadata={"tags": ["solution"]})
    notebook.cells.insert(2, answer)
    picture = _picture()
    picture.metadata = {"image/png": {"alt": "a single dot"}}
    notebook.cells[-1].outputs = [picture]
    nbformat.write(notebook, path)


def test_the_committed_course_is_a_whole_book(checkout, add_notebook, capsys):
    for name in ("00_a", "01_b", "02_c"):
        _with_a_figure(add_notebook, name)
    row = {"notebook": "00_a", "minutes": 1.25, "peak_memory_gib": 0.5}
    origin = {"profile": "cpu", "device": "a laptop", "date": "2026-01-02"}
    recorded = {"provenance": origin, "jobs": 2, "total": {"value": 3.5}, "notebooks": [row]}
    path = checkout / "data" / "results" / "course_minutes_cpu.json"
    path.write_text(json.dumps(recorded))
    assert cli.main(["report", "--committed"]) == 0
    site = checkout / "runs" / "report"
    assert broken_links(site) == []
    assert {path.relative_to(site).as_posix() for path in site.rglob("*.html")} == {
        *("index.html", "claims.html", "glossary.html", "references.html", "runs.html"),
        *(f"committed/{name}.html" for name in ("00_a", "01_b", "02_c")),
    }
    shown = (site / "committed" / "00_a.html").read_text()
    assert '<a href="01_b.html">notebook 01</a>' in shown
    assert '<a class="term" href="../glossary.html#gold-graph"' in shown
    assert '<a href="../references.html#jain2019">1902.10186</a>' in shown
    assert "<strong>Measured</strong>: 1 min" in shown
    assert '<a href="#the-first-part-2">' in shown
    folds = re.findall(r"<details><summary>(.*?)</summary>(.*?)</details>", shown, re.DOTALL)
    assert [said for said, _ in folds] == ["Hint", "Solution"]
    assert "<p>Look <em>down</em>.</p>" in folds[0][1]
    assert "answer" in folds[1][1]
    for _, inside in folds:  # a fold that begins in one element and ends in another breaks a page
        assert inside.count("<div") == inside.count("</div>")
    assert "RGH-" not in shown
    assert '<a href="01_b.html">Title of 01_b →</a></nav>' in shown
    between = (site / "committed" / "01_b.html").read_text()
    assert '<a href="00_a.html">← Title of 00_a</a><a href="02_c.html">' in between
    assert '<a href="02_c.html">notebook 01' not in between
    references = (site / "references.html").read_text()
    jain = references[references.index('id="jain2019"') :].split("</li>")[0]
    assert 'Cited in <a href="committed/00_a.html">notebook 00</a>' in jain
    runs = (site / "runs.html").read_text()
    assert "3.5 minutes for all, 2 at a time, on a laptop (2026-01-02)" in runs
    assert ">1.25</td>" in runs
    index = (site / "index.html").read_text()
    assert 'alt="a single dot"' in index
    assert "What it is about." in index
    assert '<p class="aside">1 min</p>' in index


def test_pages_of_runs_that_are_gone_are_gone(checkout, add_notebook, fake_run):
    add_notebook("00_a", "x = 1")
    fake_run("00_a")
    fake_run("00_a", profile="smoke")
    assert cli.main(["report"]) == 0
    site = checkout / "runs" / "report"
    assert (site / "smoke" / "00_a.html").is_file()
    for path in (checkout / "runs" / "smoke").glob("00_a.*"):
        path.unlink()
    assert cli.main(["report"]) == 0
    assert not (site / "smoke" / "00_a.html").exists()
    assert (site / "cpu" / "00_a.html").is_file()


def test_a_link_that_leads_nowhere_fails_the_command(checkout, add_notebook, capsys):
    path = add_notebook("00_a", "x = 1")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source += "\n\n[gone](gone.html)"
    nbformat.write(notebook, path)
    assert cli.main(["report", "--committed"]) == 1
    assert "committed/00_a.html: gone.html leads nowhere" in capsys.readouterr().err
    assert (checkout / "runs" / "report" / "index.html").is_file()  # written all the same


def test_pages_load_nothing_from_elsewhere(checkout, add_notebook, fake_run):
    add_notebook("00_a", "x = 1")
    widget = nbformat.v4.new_output(
        "display_data",
        data={"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "Bar"},
    )
    fake_run("00_a", [_picture(), widget])
    assert cli.main(["report"]) == 0
    for path in (checkout / "runs" / "report").rglob("*.html"):
        text = path.read_text()
        loaded = re.findall(r"<(?:script|link|iframe)\b|@import|src=\"(?!data:)", text)
        assert not loaded, f"{path.name} loads {loaded}"
    shown = (checkout / "runs" / "report" / "cpu" / "00_a.html").read_text()
    assert PIXEL in shown
    assert "Bar" not in shown


def test_without_runs_the_cure_is_named(checkout, add_notebook, capsys):
    add_notebook("00_a", "x = 1")
    assert cli.main(["report"]) == 2
    assert "rgh run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("markdown", "formulas"),
    [
        ("mass $a_{ij}$ and $\\sum_j a_{ij} = 1$", 2),
        ("$$\\frac{a}{b}$$", 1),
        ("costs $5 and $6", 0),
        ("`$x$` and\n```\n$y$\n```", 0),
        ("escaped \\$x\\$", 0),
    ],
)
def test_formulas_become_pictures_and_code_does_not(markdown, formulas):
    drawn = draw_formulas(markdown)
    assert drawn.count("data:image/svg+xml") == formulas
    if not formulas:
        assert drawn == markdown


def test_a_formula_that_cannot_be_drawn_stays_readable():
    assert draw_formulas("$\\unknowncommand{x}$") == "<code>\\unknowncommand{x}</code>"
