"""Notebooks put back keep their outputs and lose every trace of the run and the machine."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
import pytest

from rg_helpers.course import cli
from rg_helpers.course.put_back import without_machine_paths


def _stream(text: str, name: str = "stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text)


def test_outputs_stay_and_traces_go(checkout, add_notebook, fake_run, capsys):
    path = add_notebook("00_a", "x = 1", "x")
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}
    fake_run(
        "00_a",
        [
            _stream(f"saved to {checkout}/data/x.json\n"),
            _stream("\r 50%|#####     |\r100%|##########|", name="stderr"),
            _stream(f"{sys.prefix}/lib/a.py: a warning", name="stderr"),
            nbformat.v4.new_output("display_data", data={**widget, "text/plain": "slider"}),
            nbformat.v4.new_output(
                "execute_result", data={"text/plain": "<T at 0x7f001122aabb>"}, execution_count=4
            ),
        ],
    )
    assert cli.main(["put-back"]) == 0
    assert "1 notebooks changed" in capsys.readouterr().out
    text = path.read_text()
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert [cell.get("execution_count") for cell in notebook.cells] == [None, 1, 2, 3]
    outputs = notebook.cells[-1].outputs
    assert [output.output_type for output in outputs] == ["stream", "stream", "execute_result"]
    assert outputs[0].text == "saved to ./data/x.json\n"
    assert outputs[1].text == "<environment>/lib/a.py: a warning"
    assert outputs[2].data["text/plain"] == "<T at 0x...>"
    assert outputs[2].execution_count == 3
    for trace in ("papermill", "injected", "widget", "iopub", str(checkout), sys.prefix, "0x7f"):
        assert trace not in text, trace
    assert notebook.cells[1].metadata.tags == ["parameters"]
    measured = "<!-- measured -->\n**Measured**: 1.5 min, 1.2 GiB of memory"
    assert notebook.cells[0].source.count(measured) == 1


def test_putting_back_twice_changes_nothing_and_a_new_run_replaces_the_line(
    checkout, add_notebook, fake_run
):
    path = add_notebook("00_a", "x = 1")
    fake_run("00_a")
    assert cli.main(["put-back"]) == 0
    first = path.read_text()
    assert cli.main(["put-back"]) == 0
    assert path.read_text() == first
    fake_run("00_a", seconds=30.0)
    assert cli.main(["put-back"]) == 0
    source = nbformat.read(path, as_version=4).cells[0].source
    assert source.count("<!-- measured -->") == 1
    assert "under 1 min" in source
    assert "1.5 min" not in source


def test_only_finished_and_current_runs_are_taken(checkout, add_notebook, fake_run, capsys):
    path = add_notebook("00_a", "x = 1")
    other = add_notebook("01_b", "x = 1")
    before = path.read_text()
    fake_run("00_a")
    fake_run("01_b", status="failed", error={"name": "E", "message": "m"})
    assert cli.main(["put-back"]) == 2
    assert "01_b has no finished run" in capsys.readouterr().err
    assert path.read_text() == before
    fake_run("01_b")
    add_notebook("01_b", "x = 2")
    assert cli.main(["put-back"]) == 2
    assert cli.main(["put-back", "00"]) == 0
    assert "x = 2" in other.read_text()


def test_outputs_of_another_profile_are_refused(checkout, add_notebook, fake_run, capsys):
    add_notebook("00_a", "x = 1")
    fake_run("00_a", profile="smoke")
    assert cli.main(["put-back", "--profile", "smoke"]) == 2
    assert "says PROFILE = 'cpu'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{root}/data", "./data"),
        ("{root}", "."),
        ("{root}sibling/x", "{root}sibling/x"),
        ("{home}/.cache", "~/.cache"),
        ("no path", "no path"),
    ],
)
def test_machine_paths(checkout, monkeypatch, text, expected):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/somebody"))
    places = {"root": str(checkout), "home": "/home/somebody"}
    # The temporary folder holds the checkout here, so a sibling is still shortened to it.
    shown = without_machine_paths(text.format(**places))
    wanted = expected.format(**places).replace(tempfile.gettempdir() + "/", "<temporary>/")
    assert shown == wanted
