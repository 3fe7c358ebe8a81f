"""`rgh predict` and its report: whole on a tiny reader, honest on one's own file, refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas
import pytest
from planted_set import TOKENIZER, planted_set

from rg_helpers.course import cli
from rg_helpers.course.claims import Claim
from rg_helpers.course.commands import predict
from rg_helpers.error_prediction.entrants import default_entrants, title
from rg_helpers.error_prediction.inputs import prediction_inputs
from rg_helpers.error_prediction.report import Settings, flat_rows, predict_report
from rg_helpers.error_prediction.trace_set import TraceSet
from rg_helpers.language_model import new_course_model, save_model

FAST = Settings(
    target="flawed",
    methods=("attention", "text"),
    graph_networks=("gcn",),
    epochs=1,
    folds=3,
    draws=60,
    side_draws=60,
    fit_problems=3,
)


@pytest.fixture(scope="module")
def traces():
    return planted_set("arithmetic", 36) + planted_set("deduction", 5)


@pytest.fixture(scope="module")
def report(traces):
    model = new_course_model(0, hidden_size=16, layers=2, heads=2, intermediate_size=32)
    return predict_report(traces, model, TOKENIZER, FAST, progress=False)


def test_every_row_of_the_default_is_there(report):
    found = report["families"]["arithmetic"]
    rows = {row["name"]: row for row in found["rows"]}
    baselines = {"length", "steps", "mean_log_probability", "answer_perplexity", "all_baselines"}
    baselines |= {"self_consistency", "lexical", "question_probe", "probe", "core"}
    graphs = {f"{m}_{h}" for m in ("attention", "text", "graphs") for h in ("logistic", "boosting")}
    assert baselines <= {name for name, row in rows.items() if row["kind"] == "baseline"}
    assert graphs | {"gcn"} <= {name for name, row in rows.items() if row["kind"] == "graph"}
    assert {"text_rewired", "attention_rewired"} <= rows.keys()
    for row in rows.values():
        assert row["auroc"]["low"] <= row["auroc"]["value"] <= row["auroc"]["high"]
        assert row["base_rate"] == found["base_rate"]
    assert set(rows["probe"]["chosen_in_folds"]) <= {"layer 0", "layer 1"}
    assert found["increments"].keys() == {
        "core_attention", "core_text", "every_baseline_model_graphs", "every_baseline_graphs",
    }  # fmt: skip
    assert found["over_rewired"].keys() == {"attention_wiring", "text_wiring"}


def test_the_text_finds_planted_errors_and_shuffled_labels_hide_them(report):
    found = report["families"]["arithmetic"]
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["text_logistic"]["auroc"]["value"] > 0.7
    shuffled = {row["name"]: row for row in found["shuffled_labels"]}
    assert shuffled["text_logistic"]["auroc"]["low"] < 0.6
    located = {row["name"]: row["f1"]["value"] for row in found["first_wrong_step"]["rows"]}
    assert located["none"] == 0
    assert located["text_graph"] > located["place"]
    example = found["first_wrong_step"]["examples"][0]
    assert "attends to" in example["evidence"]
    assert "checker" not in example["evidence"]


def test_provenance_and_what_was_left_out_are_said(report):
    assert report["target"] == "flawed"
    assert report["settings"]["folds"] == 3
    assert report["provenance"]["seed"] == 0
    assert "other problems" in report["graphs"]["fitted_on"]
    assert "too few" in report["families"]["deduction"]["skipped"]
    pairs = {(row["train"], row["test"]) for row in report["transfer"]["families"]}
    assert ("arithmetic", "deduction") in pairs
    json.dumps(report, allow_nan=False)


def test_the_table_holds_the_report_row_by_row(report):
    table = pandas.DataFrame(flat_rows(report))
    assert not table.duplicated(["family", "part", "name", "metric"]).any()
    mine = table[(table["name"] == "probe") & (table["metric"] == "auroc")]
    value = mine[mine["part"] == "rows"]["value"].item()
    rows = {row["name"]: row for row in report["families"]["arithmetic"]["rows"]}
    assert value == rows["probe"]["auroc"]["value"]


def test_names_can_stand_in_the_ledger(report, tmp_path, monkeypatch):
    rows = report["families"]["arithmetic"]["rows"]
    made = []
    monkeypatch.setattr(predict, "claim_from_result", lambda *words: made.append(words) or words[0])
    list(predict.claims_of(report, tmp_path / "predict.json"))
    ids = [words[0] for words in made]
    assert len(set(ids)) == len(ids)
    assert "predict.increment.arithmetic.delta_auroc" in ids
    assert "predict.first_wrong_step.arithmetic.f1" in ids
    assert f"predict.{rows[0]['name']}.arithmetic.within_problem_auc" in ids
    for id in ids:
        Claim(id, "", 0.5, "x.json", "/", "")
    assert all(title(row["name"]) == row["title"] != "" for row in rows)


def test_entrants_never_hold_the_label(traces):
    inputs = prediction_inputs(traces.where(range(60)), None, None, ("text",), progress=False)
    assert inputs.states is None
    wrong = inputs.traces.target("wrong_answer")
    for entrant in default_entrants(inputs, graph_networks=()):
        if isinstance(entrant.features, np.ndarray):
            for column in entrant.features.T:
                assert not np.array_equal(column, wrong), entrant.name


def test_the_command_on_ones_own_file_without_a_model(traces, tmp_path, capsys):
    own = TraceSet(
        tuple(
            replace(trace, extra={"correct": not label.wrong_answer})
            for trace, label in zip(traces.traces, traces.labels, strict=True)
        ),
        traces.labels,
    )
    path = own.save(tmp_path / "own.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line.pop("labels")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = f"predict {path} --model none --methods text --networks --profile smoke"
    assert cli.main([*words.split(), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "words of the solution" in printed
    assert "first wrong step: not measured" in printed
    found = json.loads((tmp_path / "out" / "predict.json").read_text())
    assert found["model"] == "none"
    assert found["file"]["name"] == "own.jsonl"
    assert "probe" not in {row["name"] for row in found["families"]["arithmetic"]["rows"]}
    assert len(pandas.read_parquet(tmp_path / "out" / "predict.parquet")) > 50
    assert (tmp_path / "out" / "prediction.png").stat().st_size > 10_000
    described = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert "best baseline" in described["alt"]


def test_record_is_for_the_courses_own_traces(traces, tmp_path, capsys):
    path = traces.save(tmp_path / "own.jsonl")
    assert cli.main(["predict", str(path), "--record"]) == 2
    assert "--record is for the course model's traces" in capsys.readouterr().err


def test_a_model_folder_can_be_named(tmp_path):
    model = new_course_model(0, hidden_size=16, layers=1, heads=2, intermediate_size=32)
    folder = save_model(tmp_path / "model", model, TOKENIZER)
    arguments = type("A", (), {})()
    arguments.__dict__ |= {"traces": tmp_path / "t.jsonl", "target": "flawed", "profile": "cpu"}
    arguments.__dict__ |= {"seed": 0, "model": str(folder), "methods": ["text"], "networks": []}
    arguments.__dict__ |= {"families": None, "record": False}
    command = predict._command(arguments)
    assert str(tmp_path) not in command, "nothing written names a machine's folders"
    assert "--target flawed" in command


def test_risks_are_put_to_use_beside_the_baselines(report):
    found = report["families"]["arithmetic"]
    rows = {row["name"]: row for row in found["abstention"]}
    assert rows["all_baselines"]["curve"][-1] == [1.0, pytest.approx(found["base_rate"])]
    for name, row in rows.items():
        assert row["risk_at"]["0.5"]["low"] <= row["risk_at"]["0.5"]["high"]
        assert ("less" in row) == (name != "all_baselines")
    chosen = {row["name"]: row for row in found["best_of_samples"]}
    best = chosen["oracle"]["solved"]["value"]
    assert all(row["solved"]["value"] <= best for row in chosen.values())
    assert chosen["text_boosting"]["solved"]["value"] > chosen["any"]["solved"]["value"]
