"""Trace sets: what is saved comes back, labels can be made anew, foreign files are read."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from rg_helpers.error_prediction.labels import TraceLabels, label_trace
from rg_helpers.error_prediction.problem_record import problem_from_record, problem_record
from rg_helpers.error_prediction.trace_set import TraceSet, load_trace_set
from rg_helpers.problems import FAMILIES, check_solution, generate_problems, plant_error
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import trace_from_text, write_traces

TOKENIZER = build_tokenizer()
PROBLEMS = [p for family in FAMILIES for p in generate_problems(family, 4, seed=1)]


def samples(problem):
    """A right solution, a wrong one, and one that breaks off."""
    planted = plant_error(problem, "contradiction")
    lines = [node.text for node in problem.nodes[problem.prompt_nodes :]]
    texts = [problem.solution, planted.text, problem.separator.join(lines[:-2])]
    return [
        trace_from_text(
            TOKENIZER,
            problem.prompt,
            text,
            family=problem.family,
            separator=problem.separator,
            problem_id=problem.problem_id,
            finished=number < 2,
            extra={"sample": number, "note": {"kept": [1, None]}},
        )
        for number, text in enumerate(texts)
    ]


TRACES = [trace for problem in PROBLEMS for trace in samples(problem)]


@pytest.fixture(scope="module")
def collected():
    return TraceSet.of(TRACES, reversed(PROBLEMS))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_problem_comes_back_from_its_json(family):
    for problem in generate_problems(family, 8, seed=2, split=None):
        again = problem_from_record(json.loads(json.dumps(problem_record(problem))))
        assert again == problem
        assert again.relevant_premises == problem.relevant_premises


def test_altered_and_damaged_problems_are_refused():
    record = json.loads(json.dumps(problem_record(PROBLEMS[0])))
    premise = record["nodes"][0]
    altered = {**record, "nodes": [[premise[0], premise[1] + "!", []], *record["nodes"][1:]]}
    with pytest.raises(ValueError, match="was altered"):
        problem_from_record(altered)
    for damaged in ({}, {**record, "quantities": 3}, {**record, "nodes": [["premise"]]}):
        with pytest.raises(ValueError, match="not a problem's record"):
            problem_from_record(damaged)
    with pytest.raises(ValueError, match="names family"):
        problem_from_record({**record, "family": "poems"})


def test_groups_families_and_difficulty(collected):
    assert len(collected) == 36
    assert collected.problem_ids.tolist() == [p.problem_id for p in PROBLEMS for _ in range(3)]
    assert collected.families.tolist() == [f for f in FAMILIES for _ in range(12)]
    assert collected.difficulty.tolist() == [p.operations for p in PROBLEMS for _ in range(3)]
    assert collected.status_counts == {"read": 24, "truncated": 12, "unreadable": 0}
    assert len(collected.read) == 24
    assert collected.read.target("flawed").tolist() == [False, True] * 12
    with pytest.raises(ValueError, match="12 of 36 traces have no label flawed"):
        collected.target("flawed")
    assert len(collected.labelled("wrong_answer")) == 24
    assert collected.read.mixed_problems("flawed") == 12
    assert collected.read.where(collected.read.target("flawed")).mixed_problems("flawed") == 0


def test_masks_and_indices_choose(collected):
    mask = collected.families == "program"
    assert set(collected.where(mask).families.tolist()) == {"program"}
    assert [t.trace_id for t in collected.where([3, 1]).traces] == [
        collected.traces[3].trace_id,
        collected.traces[1].trace_id,
    ]
    assert len(collected.where([])) == 0
    assert len(collected.where(np.zeros(36, bool)) + collected) == 36
    with pytest.raises(ValueError, match="a mask of 2 for 36"):
        collected.where(np.array([True, False]))


def test_a_set_comes_back_from_its_file(collected, tmp_path):
    path = collected.save(tmp_path / "traces.jsonl")
    again, bad = load_trace_set(path)
    assert bad == []
    assert again.labels == collected.labels
    assert again.problem_ids.tolist() == collected.problem_ids.tolist()
    for trace, former in zip(again.traces, collected.traces, strict=True):
        assert (trace.token_ids, trace.nodes) == (former.token_ids, former.nodes)
        assert trace.extra["note"] == {"kept": [1, None]}
    twice = again.save(tmp_path / "again.jsonl")
    assert twice.read_bytes() == path.read_bytes()


def test_one_line_alone_gives_the_problem_and_its_labels(collected, tmp_path):
    lines = collected.save(tmp_path / "traces.jsonl").read_text().splitlines()
    alone = tmp_path / "alone.jsonl"
    for number, line in enumerate(lines):
        row = json.loads(line)
        saved = row.pop("labels")
        alone.write_text(json.dumps(row) + "\n")
        single, _ = load_trace_set(alone)  # no labels in the file: the checker has to run
        (problem,) = single.problems()
        assert problem == PROBLEMS[number // 3]
        assert single.labels == collected.labels[number : number + 1]
        assert single.labels[0].as_dict() == saved
        verdict = check_solution(problem, row["solution"])
        assert verdict == check_solution(PROBLEMS[number // 3], TRACES[number].solution)


def test_the_checker_can_be_run_again(collected):
    forged = TraceSet(collected.traces, (TraceLabels("read", False, False),) * len(collected))
    assert forged.relabelled().labels == collected.labels
    assert forged.has_problems
    bare = TraceSet(tuple(TRACES), collected.labels)
    assert not bare.has_problems
    with pytest.raises(ValueError, match="does not carry its problem"):
        bare.relabelled()


def test_a_trace_with_another_traces_problem_is_refused(collected, tmp_path):
    first, other = collected.traces[0], collected.traces[3]
    extra = {**first.extra, "problem_record": other.extra["problem_record"]}
    path = write_traces(tmp_path / "mixed.jsonl", [replace(first, extra=extra)])
    with pytest.raises(ValueError, match="carries problem"):
        load_trace_set(path)
    with pytest.raises(ValueError, match="not among"):
        TraceSet.of(TRACES, PROBLEMS[:1])
    with pytest.raises(ValueError, match="one label each"):
        TraceSet(tuple(TRACES), ())


def test_ones_own_file_with_unknown_columns_and_without_labels(tmp_path):
    path = tmp_path / "own.jsonl"
    rows = [
        {"prompt": "How many pens?", "solution": "Ana has 2. The answer is 2.", "problem": "text"},
        {"prompt": "How many pens?", "solution": "Bo has 3.", "problem_id": "a", "operations": 4},
        {"prompt": "How many pens?"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + '\n{"prompt": "How')
    own, bad = load_trace_set(path, TOKENIZER)
    assert [line.line for line in bad] == [3, 4]
    assert own.traces[0].extra["problem"] == "text"
    assert own.labels == (TraceLabels("read"), TraceLabels("read"))
    assert np.isnan(own.difficulty[0])
    assert own.difficulty[1] == 4
    assert len(own.labelled("wrong_answer")) == 0
    with pytest.raises(ValueError, match="add a column to the file"):
        own.target("wrong_answer")
    given, _ = load_trace_set(path, TOKENIZER, lambda trace: TraceLabels("read", flawed=True))
    assert given.target("flawed").all()
    # Saved and loaded again nothing changes, "not known" included.
    again, bad = load_trace_set(own.save(tmp_path / "copy.jsonl"))
    assert (again.labels, bad) == (own.labels, [])


def test_labels_come_from_the_text_and_the_problem_alone(collected):
    """Whatever a file says elsewhere cannot change what the checker says."""
    trace = TRACES[1]
    told = replace(trace, extra={"correct": True, "labels": {"status": "read"}})
    assert label_trace(PROBLEMS[0], told) == collected.labels[1]
    assert collected.labels[1].flawed is True
