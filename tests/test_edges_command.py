"""`rgh edges` from the command line on a tiny untrained model: files, claims and refusals."""

from __future__ import annotations

import json

import pytest

from rg_helpers.course import cli
from rg_helpers.course.commands import edges
from rg_helpers.language_model import new_course_model, save_model
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import sampling


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "LONGEST_SOLUTION", 8)
    model = new_course_model(0, hidden_size=16, layers=2, heads=2, intermediate_size=32)
    return save_model(tmp_path / "model", model, build_tokenizer())


def test_the_result_file_holds_every_method_and_head(folder, tmp_path, capsys):
    output = tmp_path / "edges.json"
    words = f"edges --model {folder} --profile smoke --problems 12 --families program deduction"
    assert cli.main([*words.split(), "--output", str(output)]) == 0
    result = json.loads(output.read_text())
    assert list(result["families"]) == ["program", "deduction"]
    assert result["provenance"]["profile"] == "smoke"
    family = result["families"]["program"]
    assert family["own_right"] is None
    assert family["own_right_share"] == 0
    assert set(family["gold"]["methods"]) == set(edges.METHOD_NAMES)
    assert family["gold"]["methods"]["random"]["auroc"]["n"] == 12
    assert [len(row) for row in family["gold"]["heads"]["auroc"]] == [2, 2]
    printed = capsys.readouterr().out
    for words in (*edges.METHOD_NAMES, "program, gold", "too few", str(output)):
        assert words in printed


def test_the_models_own_right_solutions_are_measured(folder, tmp_path, monkeypatch):
    """A model that writes the gold solutions must get the very figures of the gold solutions."""
    monkeypatch.setattr(
        edges, "sample_traces", lambda model, tokenizer, problems: list(_gold(tokenizer, problems))
    )
    output = tmp_path / "edges.json"
    words = f"edges --model {folder} --profile smoke --problems 12 --families arithmetic"
    assert cli.main([*words.split(), "--output", str(output)]) == 0
    family = json.loads(output.read_text())["families"]["arithmetic"]
    assert family["own_right_share"] == 1
    assert family["own_right"]["methods"] == family["gold"]["methods"]


def _gold(tokenizer, problems):
    return (edges.gold_trace(problem, tokenizer) for problem in problems)


def test_too_few_problems_and_missing_models_are_refused(tmp_path, capsys):
    assert cli.main(["edges", "--model", str(tmp_path / "none"), "--profile", "smoke"]) == 2
    assert cli.main(["edges", "--problems", "1"]) == 2
    message = capsys.readouterr().err
    assert "no model folder" in message
    assert "at least 2" in message
