"""What the README prints for one's own model works as printed, on a model made here."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pandas
import pytest

from rg_helpers.course import cli
from rg_helpers.datasets.reader_tokenizer import train_tokenizer
from rg_helpers.graphs.step_graph import load_graphs
from rg_helpers.language_model import new_course_model, save_model
from rg_helpers.scoring.kept import graph_files

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
HEADING = "## Your own model and text"
HUB_ID = "Qwen/Qwen3-0.6B"


@pytest.fixture(scope="module")
def section():
    (found,) = re.findall(rf"^{HEADING}$(.*?)^MIT licence", README, re.DOTALL | re.MULTILINE)
    return found


def printed(section: str, pattern: str) -> str:
    """The one piece of the section that fits, with a model made here in place of the hub's."""
    (found,) = re.findall(pattern, section, re.DOTALL)
    assert HUB_ID in found, "a test downloads nothing: a local model stands in for this one"
    return found.replace(HUB_ID, "./model")


def test_the_three_calls_and_the_command_work_as_printed(section, tmp_path, monkeypatch, capsys):
    tokenizer = train_tokenizer([section], entries=300)  # byte-level BPE, trained on this text
    shape = {"hidden_size": 16, "layers": 2, "heads": 2, "intermediate_size": 32}
    save_model(tmp_path / "model", new_course_model(0, tokenizer=tokenizer, **shape), tokenizer)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(printed(section, r"```python\n(.*?)```"), "README.md", "exec"), names)
    assert (tmp_path / "graph.png").stat().st_size > 1000
    assert re.search(r"\(\d+, \d+, 0\.\d+\)", capsys.readouterr().out)
    graphs = [g for path in graph_files("scored", "attention") for g in load_graphs(path)]
    assert [graph.texts[-2:] for graph in graphs] == [
        ("Bo has 3 + 4 = 7 pens.", "The answer is 7."),
        ("Bo has 4 - 3 = 1 pen.", "The answer is 1."),
    ]
    assert names["report"]["traces"]["scored"] == 2
    assert "too few" in names["report"]["families"]["text"]["skipped"]
    table = pandas.read_parquet("scored/baselines.parquet")
    assert table["wrong_answer"].tolist() == [False, True]

    rgh, *words = shlex.split(printed(section, r"`(rgh score [^`]+)`"))
    assert rgh == "rgh"
    assert cli.main(words) == 0
    assert "2 solutions scored" in capsys.readouterr().out
    drawn = json.loads(Path("scored/record.json").read_text())["drawn_in_the_last_run"]
    assert set(drawn.values()) == {0}, "what the three calls kept is not worked out again"
