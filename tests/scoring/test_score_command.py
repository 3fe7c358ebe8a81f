"""`rgh score` as it is called: its files, its exit codes, what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pandas
import pytest
import torch
from score_toys import TOKENIZER, text_rows, tiny_reader, write_lines
from transformers import dynamic_module_utils

from rg_helpers.course import cli
from rg_helpers.error_prediction.inputs import prediction_inputs
from rg_helpers.error_prediction.report import Settings
from rg_helpers.error_prediction.trace_set import TraceSet
from rg_helpers.language_model import save_model
from rg_helpers.scoring import report as scoring_report
from rg_helpers.scoring.draw import draw_solutions
from rg_helpers.scoring.report import report_solutions, scored_inputs
from rg_helpers.scoring.safe_model import load_safely
from rg_helpers.scoring.solution_file import Solution, read_solutions

ROWS = text_rows(24)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("reader") / "toy", tiny_reader(), TOKENIZER)


def score(path, reader, out, *words):
    return cli.main(["score", str(path), "--model", str(reader), "--out", str(out), *words])


def test_the_whole_way_with_a_predictor(tmp_path, reader, capsys):
    path = write_lines(tmp_path / "own.jsonl", ROWS)
    out, kept = tmp_path / "out", tmp_path / "predictor"
    words = ("--methods", "text,attention", "--no-report", "--save-predictor", str(kept))
    assert score(path, reader, out, *words) == 0
    printed = capsys.readouterr().out
    assert "24 solutions scored" in printed
    assert "a batch may take" in printed
    record = json.loads((out / "record.json").read_text())
    assert record["provenance"]["command"].startswith("rgh score own.jsonl --model toy")
    assert str(tmp_path) not in json.dumps(record), "nothing written names a machine's folders"
    unlabelled = [{k: v for k, v in row.items() if k != "correct"} for row in ROWS[:5]]
    other = write_lines(tmp_path / "other.jsonl", [*unlabelled, {"nothing": 1}])
    assert score(other, reader, tmp_path / "b", "--predictor", str(kept)) == 1
    shown = capsys.readouterr()
    assert "riskiest: line" in shown.out
    assert "other.jsonl, line 6: columns nothing" in shown.err
    risks = pandas.read_parquet(tmp_path / "b" / "predictions.parquet")["risk"]
    assert len(risks) == 5
    assert risks.between(0, 1).all()
    methods = json.loads((tmp_path / "b" / "record.json").read_text())["methods"]
    assert set(methods) == {"text", "attention"}, "the predictor's methods are drawn"


def test_without_labels_the_report_is_left_out(tmp_path, reader, capsys):
    rows = [{k: v for k, v in row.items() if k != "correct"} for row in ROWS[:3]]
    path = write_lines(tmp_path / "own.jsonl", rows)
    assert score(path, reader, tmp_path / "out", "--bf16", "--steps", "line") == 0
    assert "no line has a label" in capsys.readouterr().out
    assert load_safely(str(reader), bfloat16=True)[0].dtype == torch.bfloat16
    assert not (tmp_path / "out" / "predict.json").exists()


def test_bad_lines_are_named_the_rest_is_done_and_a_rerun_does_what_is_missing(
    tmp_path, reader, capsys
):
    good = [row | {"note": "kept"} for row in ROWS[:6]]
    faults = [
        {"text": "no such column"},
        good[1] | {"solution": " "},
        '{"prompt": "Ana has 3.", "solution": "caf\xe9."}'.encode("latin-1"),
        good[3] | {"solution": "Ana has 3. " * 10_000},
        good[0],
    ]
    path = write_lines(tmp_path / "own.jsonl", [good[0], *faults, good[5]])
    words = ("--methods", "text", "--no-report")
    assert score(path, reader, tmp_path / "out", *words) == 1
    shown = capsys.readouterr()
    assert "2 solutions scored; worked out in this run: text 2, confidence 2" in shown.out
    left = [json.loads(line) for line in (tmp_path / "out" / "left_out.jsonl").open()]
    said = ["columns text", "solution is empty", "not UTF-8", "at most 2048", "stands in line 1"]
    assert [line["line"] for line in left] == [2, 3, 4, 5, 6]
    for line, reason in zip(left, said, strict=True):
        assert reason in line["reason"]
    path = write_lines(tmp_path / "own.jsonl", [*good, ROWS[6]])
    assert score(path, reader, tmp_path / "out", *words) == 0
    shown = capsys.readouterr()
    assert "7 solutions scored; worked out in this run: text 5, confidence 5" in shown.out
    assert not (tmp_path / "out" / "left_out.jsonl").read_text()
    table = pandas.read_parquet(tmp_path / "out" / "baselines.parquet")
    assert [json.loads(kept).get("note") for kept in table["columns"]] == ["kept"] * 6 + [None]


def test_pickles_and_folders_without_tokenizer_are_refused(tmp_path, reader, capsys):
    path = write_lines(tmp_path / "own.jsonl", ROWS[:2])
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (pickled / name).write_bytes((reader / name).read_bytes())
    torch.save(tiny_reader().state_dict(), pickled / "pytorch_model.bin")
    assert score(path, pickled, tmp_path / "out") == 2
    assert "pytorch_model.bin" in capsys.readouterr().err
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((reader / name).read_bytes())
    assert score(path, bare, tmp_path / "out") == 2
    assert "holds no tokenizer" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_remote_code_is_not_run_unless_asked(tmp_path, reader, capsys, monkeypatch):
    own = tmp_path / "own_code"
    own.mkdir()
    for file in reader.iterdir():
        (own / file.name).write_bytes(file.read_bytes())
    config = json.loads((own / "config.json").read_text())
    config["model_type"] = "somebodys_model"
    config["auto_map"] = {
        "AutoConfig": "code.TheirConfig",
        "AutoModelForCausalLM": "code.TheirModel",
    }
    (own / "config.json").write_text(json.dumps(config))
    marks = f"open({str(tmp_path / 'ran')!r}, 'w').close()"
    (own / "code.py").write_text(f"{marks}\nraise ValueError('their code')\n")
    path = write_lines(tmp_path / "own.jsonl", ROWS[:2])
    assert score(path, own, tmp_path / "out") == 2
    assert "could not be loaded" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    assert score(path, own, tmp_path / "out", "--trust-remote-code") == 2
    assert "their code" in capsys.readouterr().err
    assert (tmp_path / "ran").exists(), "asked for by name, it runs"


def test_unknown_methods_and_too_little_memory(tmp_path, reader, capsys):
    path = write_lines(tmp_path / "own.jsonl", ROWS[:2])
    assert score(path, reader, tmp_path / "out", "--methods", "atention") == 2
    assert "did you mean 'attention'" in capsys.readouterr().err
    assert score(path, reader, tmp_path / "out", "--memory", "0.01") == 2
    assert "already" in capsys.readouterr().err


@pytest.fixture(scope="module")
def labelled(tmp_path_factory, reader):
    folder = tmp_path_factory.mktemp("labelled")
    model, tokenizer = load_safely(str(reader))
    solutions = read_solutions(write_lines(folder / "own.jsonl", ROWS), tokenizer)
    methods = ("attention", "text")
    return draw_solutions(solutions, model, folder / "out", methods, progress=False), model


def test_the_report_reads_what_the_predict_report_reads(labelled):
    scored, model = labelled
    ours = scored_inputs(scored, Settings())
    found = [one for one in scored.solutions if isinstance(one, Solution)]
    traces = TraceSet(tuple(s.trace for s in found), tuple(s.labels for s in found))
    whole = prediction_inputs(traces, model, None, ("attention", "text"), progress=False)
    rows = np.isin(ours.traces.problem_ids, whole.traces.problem_ids)  # it sets some aside
    mine = ours.where(rows)
    assert 0 < rows.sum() < len(rows)
    np.testing.assert_allclose(mine.numbers.values, whole.numbers.values, atol=1e-4)
    np.testing.assert_allclose(mine.states.solution_mean, whole.states.solution_mean, atol=1e-5)
    np.testing.assert_array_equal(mine.disagreement, whole.disagreement)
    assert mine.texts == whole.texts
    for name, kinds in whole.columns.items():
        for kind in ("wiring", "steps"):
            assert mine.columns[name][kind].names == kinds[kind].names
            np.testing.assert_allclose(
                mine.columns[name][kind].values, kinds[kind].values, atol=1e-4
            )
    for name in ("confidence", "step_text", "step_states"):
        for one, two in zip(getattr(mine, name), getattr(whole, name), strict=True):
            np.testing.assert_allclose(one, two, atol=1e-4)


def test_the_report_says_what_is_too_few_and_what_is_too_large(labelled, monkeypatch):
    scored, _ = labelled
    settings = Settings(graph_networks=(), folds=15, draws=10, side_draws=10)
    report = report_solutions(scored, settings, progress=False)
    assert report["traces"]["scored"] == 24
    assert "too few" in report["families"]["text"]["skipped"]
    json.dumps(report, allow_nan=False)
    with pytest.raises(ValueError, match="--no-report"):
        report_solutions(scored, settings, memory=0.01, progress=False)
    seen = []
    monkeypatch.setattr(scoring_report, "report_of_inputs", lambda *a, **b: seen.append(len(a[0])))
    report_solutions(scored, settings)
    assert seen == [24]
