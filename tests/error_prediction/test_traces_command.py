"""`rgh traces` on a tiny untrained model: the file and its record, resuming, refusals."""

from __future__ import annotations

import argparse
import json

import pytest

from rg_helpers.accuracy import HARDEST
from rg_helpers.course import cli
from rg_helpers.course.commands import traces
from rg_helpers.error_prediction import collect
from rg_helpers.error_prediction.trace_set import load_trace_set
from rg_helpers.language_model import new_course_model, save_model
from rg_helpers.problems import FAMILIES
from rg_helpers.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model = new_course_model(0, hidden_size=16, layers=1, heads=2, intermediate_size=32)
    return save_model(tmp_path_factory.mktemp("tiny") / "model", model, build_tokenizer())


@pytest.fixture
def command(folder, tmp_path):
    def call(*options: str) -> int:
        words = f"traces --model {folder} --problems 4 --samples 2 --operations 2 3"
        words += " --families program deduction --max-new-tokens 6"
        return cli.main([*words.split(), "--out", str(tmp_path / "own.jsonl"), *options])

    return call


def test_the_file_and_its_record(command, tmp_path, capsys):
    assert command("--temperature", "0.9") == 0
    printed = capsys.readouterr().out
    assert "program: temperature 0.9 as given" in printed
    assert "8 traces of 4 problems" in printed
    found, bad = load_trace_set(tmp_path / "own.jsonl")
    assert bad == []
    assert found.families.tolist() == ["program"] * 8 + ["deduction"] * 8
    assert found.relabelled().labels == found.labels
    assert {problem.split for problem in found.problems()} == {"test"}
    record = json.loads((tmp_path / "own.json").read_text())
    assert record["families"]["program"]["status"] == found.where(range(8)).status_counts
    assert record["families"]["program"]["sampling"]["operations"] == [2, 3]
    assert record["provenance"]["command"].startswith("rgh traces --model")
    assert "--temperature 0.9" in record["provenance"]["command"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.json", "own.jsonl"]


@pytest.mark.parametrize("family", FAMILIES)
def test_default_sizes_end_where_the_test_range_does(family):
    parser = argparse.ArgumentParser()
    traces.add_arguments(parser)
    plan = traces._plan(family, parser.parse_args([]))
    last = HARDEST[family]
    assert plan.operations[1] == last.operations
    assert (plan.distractors, plan.joins) == ((last.distractors,) * 2, last.joins)
    assert len(plan.drawn("validation", 5)) == 5, "such problems exist"
    own = traces._plan(family, parser.parse_args(["--operations", "2", "3", "--joins", "1"]))
    assert (own.operations, own.joins) == ((2, 3), 1)


def test_a_finished_file_is_kept(command, tmp_path, capsys):
    assert command("--temperature", "0.9") == 0
    before = (tmp_path / "own.jsonl").read_bytes()
    assert command("--temperature", "0.9") == 0
    assert "already there" in capsys.readouterr().out
    assert command("--temperature", "0.8") == 2
    assert "other settings" in capsys.readouterr().err
    (tmp_path / "own.json").unlink()  # somebody's own file: never overwritten
    assert command("--temperature", "0.9") == 2
    assert (tmp_path / "own.jsonl").read_bytes() == before


def test_an_interrupted_run_goes_on(command, tmp_path, monkeypatch, capsys):
    real, sampled = collect.sample_traces, []

    def sample(model, tokenizer, problems, **options):
        sampled.append(problems[0].family)
        if sampled == ["program", "deduction"]:
            raise KeyboardInterrupt
        return real(model, tokenizer, problems, **options)

    monkeypatch.setattr(collect, "sample_traces", sample)
    assert command("--temperature", "0.9") == 130
    assert "Resume with: rgh traces" in capsys.readouterr().err
    assert not (tmp_path / "own.jsonl").exists()
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".parts")
    assert command("--temperature", "0.9") == 0
    assert sampled == ["program", "deduction", "deduction"]
    resumed = (tmp_path / "own.jsonl").read_bytes()
    assert not left.exists()
    (tmp_path / "own.jsonl").unlink()
    assert command("--temperature", "0.9") == 0
    assert (tmp_path / "own.jsonl").read_bytes() == resumed


def test_the_choice_of_temperature_is_printed_and_stored(command, tmp_path, capsys):
    """An untrained model writes noise at any temperature, and the command says so."""
    assert command("--families", "program") == 0
    printed = capsys.readouterr().out
    assert "temperature 0.6 chosen (nearest to half wrong answers" in printed
    assert "no temperature keeps both classes frequent" in printed
    choice = json.loads((tmp_path / "own.json").read_text())["families"]["program"]["choice"]
    assert choice["both_frequent"] is False
    assert choice["rows"][0]["read"] == 0


def test_refusals(command, tmp_path, capsys):
    assert command("--samples", "1") == 2
    assert "one sample says nothing" in capsys.readouterr().err
    assert command("--out", str(tmp_path / "traces.json")) == 2
    assert "JSONL" in capsys.readouterr().err
