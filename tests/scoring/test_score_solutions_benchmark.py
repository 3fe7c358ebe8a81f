"""The benchmark of `rgh score` times a whole run, and writes nothing for a part of the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from score_toys import TOKENIZER, tiny_reader

from rg_helpers.language_model import save_model

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import score_solutions

    return score_solutions


def model_solutions(path, problems=2):
    """A file in the form of GSM8K's model solutions, two writers a problem."""
    with open(path, "w") as file:
        for number in range(problems):
            row = {"question": f"Ana has {number} eggs and eats 1. How many has Ana?"}
            for writer, right in (("small", False), ("large", True)):
                value = number - 1 + (not right)
                text = f"Ana has {number} - 1 = <<{number}-1={value}>>{value} eggs.\nA: {value}"
                row[writer] = {"is_correct": right, "solution": text}
            file.write(json.dumps(row) + "\n")
    return path


@pytest.mark.timeout(900)  # a process of its own: imports take long on a busy machine
def test_a_whole_run_is_timed_on_the_cores_named(benchmark, tmp_path):
    path = model_solutions(tmp_path / "example_model_solutions.jsonl")
    reader = save_model(tmp_path / "reader", tiny_reader(), TOKENIZER)
    found = benchmark.measure_run(path, str(reader), cores=1, limit=1)
    assert (found["solutions"], found["left_out"], found["cores"]) == (2, 0, 1)
    assert found["methods"] == ["attention", "text"]
    assert 0 < found["report_minutes"] < found["minutes"]
    assert found["peak_gib"] > 0.05


def test_a_run_that_fails_is_no_measurement(benchmark, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "RGH", "import sys; print('no model', file=sys.stderr); exit(2)")
    with pytest.raises(RuntimeError, match=r"(?s)ended with code 2.*no model"):
        benchmark.measure_run(tmp_path / "rows.jsonl", "absent")


def test_a_part_of_the_file_is_printed_and_the_whole_is_recorded(
    benchmark, tmp_path, monkeypatch, capsys
):
    model_solutions(tmp_path / "example_model_solutions.jsonl")
    found = {
        "minutes": 3.25, "report_minutes": 1.5, "solutions": 4, "left_out": 0, "tokens": 99,
        "methods": ["text"], "cores": 2, "peak_gib": 1.0,
    }  # fmt: skip
    monkeypatch.setattr(benchmark, "measure_run", lambda *given: found)
    monkeypatch.setattr(benchmark, "repository", lambda: tmp_path)
    made = []
    monkeypatch.setattr(benchmark, "claim_from_result", lambda **given: made.append(given))
    monkeypatch.setattr(benchmark, "write_claims", lambda claims: None)
    words = ["--data", str(tmp_path), "--reader", "somewhere/reader"]
    assert benchmark.main([*words, "--limit", "1"]) == 0
    assert "4 solutions scored, 0 left out: 3.2 minutes on 2 cores" in capsys.readouterr().out
    assert not made
    assert benchmark.main(words) == 0
    path = tmp_path / "data" / "results" / "bench_score_solutions.json"
    assert str(tmp_path) not in path.read_text(), "no folder of this machine is written"
    assert json.loads(path.read_text())["minutes"] == 3.25
    assert (made[0]["id"], made[0]["pointer"]) == ("gsm8k.score.minutes", "/minutes")
