"""The report shows what lies on disk, whole or not, and needs no network to be read."""

from __future__ import annotations

import html
import re

import nbformat
import pytest

from rg_helpers.course import cli
from rg_helpers.course.claims import Claim, write_claims
from rg_helpers.course.notebook_html import draw_formulas

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)


def _picture():
    return nbformat.v4.new_output("display_data", data={"image/png": PIXEL, "text/plain": "pic"})


def _index(checkout) -> str:
    return html.unescape((checkout / "runs" / "report" / "index.html").read_text())


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
    index = _index(checkout)
    rows = {name: row for row in re.findall(r"<tr>.*?</tr>", index, re.DOTALL)
            for name in re.findall(r"0\d_\w+", row)[:1]}  # fmt: skip
    cpu = index[index.index("Profile cpu") :]
    assert '<a href="cpu/00_whole.html">' in cpu
    assert "cell [4]: KeyError: 'x' & y" in rows["01_failed"]
    assert "\x1b" not in index
    assert '<a href="cpu/01_failed.html">' in rows["01_failed"]
    assert "damaged" in rows["02_damaged"]
    assert "href" not in rows["02_damaged"]
    assert "inputs since changed" in rows["03_changed"]
    assert "unreadable" in rows["04_unread"]
    assert "not run" in rows["05_absent"]
    assert "1.50" in rows["03_changed"]  # minutes
    assert "1.25" in rows["03_changed"]  # GiB
    assert "base.accuracy.program.easy" in index
    assert "missed" in index
    assert "&lt;Easy&gt;" in (checkout / "runs" / "report" / "index.html").read_text()
    for href in re.findall(r'href="([^"#]+)"', index):
        assert (checkout / "runs" / "report" / href).is_file(), href


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
