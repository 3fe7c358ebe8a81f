"""The report on solutions of several writers: fitted elsewhere, fair to whoever wrote them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gsm8k_lines import solution_row, train_row, write_rows

from rg_helpers.datasets.model_solutions import read_model_solutions
from rg_helpers.datasets.reader import held_out, reader_text
from rg_helpers.datasets.reader_tokenizer import train_tokenizer
from rg_helpers.datasets.solution_report import (
    INCREMENT,
    KNOWN,
    annotated_fit,
    annotated_references,
    writer_report,
)
from rg_helpers.datasets.word_problems import problem_of
from rg_helpers.error_prediction.inputs import prediction_inputs
from rg_helpers.error_prediction.report import Settings
from rg_helpers.error_prediction.trace_set import TraceSet
from rg_helpers.language_model import new_course_model

TRAIN = [problem_of(train_row(seed), seed) for seed in range(150)]
HELD = [problem for problem in TRAIN if held_out(problem)]
TOKENIZER = train_tokenizer([reader_text(problem) for problem in TRAIN], 300)
SETTINGS = Settings(methods=("attention", "text"), folds=3, draws=60, side_draws=60)


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "solutions.jsonl"
    write_rows(path, [solution_row(seed) for seed in range(10_000, 10_024)])
    return read_model_solutions(path, TOKENIZER)[0]


@pytest.fixture(scope="module")
def inputs(solved):
    sizes = {"hidden_size": 16, "layers": 2, "heads": 2, "intermediate_size": 32}
    model = new_course_model(0, tokenizer=TOKENIZER, **sizes)
    fit = annotated_fit(annotated_references(TOKENIZER, TRAIN, solved.problem_ids), 5)
    return prediction_inputs(solved, model, TOKENIZER, SETTINGS.methods, fit=fit, progress=False)


def test_graphs_are_fitted_on_held_out_problems_with_gold_edges():
    fit = annotated_fit(annotated_references(TOKENIZER, TRAIN, [HELD[0].problem_id]), 4)
    ids = [trace.problem_id for trace in fit.data.traces]
    wanted = sorted(problem.problem_id for problem in HELD[1:])[:4]
    assert ids == wanted
    assert fit.gold
    for trace, graph in zip(fit.data.traces, fit.data.gold, strict=True):
        given = len(trace.nodes) - len(trace.steps)
        edges = np.argwhere(graph.weights > 0).tolist()
        assert edges == [[given + 1, given]], "the second line uses the first one's result"
    bare = replace(HELD[0], solution="They are worth 5.\n#### 5")
    with pytest.raises(ValueError, match="annotations must name edges"):
        annotated_references(TOKENIZER, [bare])


def test_all_solutions_are_scored_and_heads_are_chosen(inputs, solved):
    assert len(inputs) == len(solved)
    assert "held-out" in inputs.fit_origin
    assert inputs.blocks["attention"].choice.startswith("layer "), "chosen by annotated edges"


def test_knowing_the_writer_says_nothing_among_one_writers_solutions(inputs):
    found = writer_report(inputs, SETTINGS, progress=False)
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["writer"]["within_writer_auc"]["value"] == 0.5
    assert rows["writer"]["auroc"]["value"] > 0.52
    assert rows["length"]["within_writer_auc"]["value"] > 0.9, "half a solution is short"
    assert {"all_baselines", "self_consistency", "lexical", "probe"} <= rows.keys()
    assert {"attention_logistic", "text_logistic", "graphs_logistic", KNOWN} <= rows.keys()
    assert found["increments"][INCREMENT]["over"] == KNOWN
    shares = {one["name"]: one["wrong"] for one in found["writers"]}
    assert shares["small"] > shares["large"]


def test_traces_without_a_writer_are_refused(inputs):
    traces = tuple(replace(trace, extra={}) for trace in inputs.traces.traces)
    nameless = replace(inputs, traces=TraceSet(traces, inputs.traces.labels))
    with pytest.raises(ValueError, match="no column writer"):
        writer_report(nameless, SETTINGS, progress=False)
