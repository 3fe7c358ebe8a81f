"""Solutions of real models: one trace each, with its label, and no text but its own."""

from __future__ import annotations

import json

import pytest
from gsm8k_lines import solution_row, write_rows

from rg_helpers.datasets.model_solutions import label_agreement, read_model_solutions
from rg_helpers.error_prediction.trace_set import load_trace_set
from rg_helpers.error_prediction.written_answer import written_answer
from rg_helpers.tokenizer import build_tokenizer

TOKENIZER = build_tokenizer()
ROWS = [
    {
        "question": "Ana has 16 eggs. She eats 3 and sells the rest. How many does she sell?",
        "ground_truth": "She sells 16-3=<<16-3=13>>13 eggs.\nA: 13",
        "small": {"is_correct": False, "solution": "She eats 16 - 3 = <<16-3=12>>12 eggs\nA: 12"},
        "large": {"is_correct": True, "solution": "She sells 16 - 3 = <<16-3=13>>13.\n\nA: 13.0"},
    },
    {
        "question": "Bo has 2 pens. How many pens has Bo?",
        "ground_truth": "A: 2",
        "small": {"is_correct": False, "solution": "Bo has 2 pens and 2 pens and"},
        "large": {"is_correct": False, "solution": "A: 2"},
    },
]


def test_each_solution_is_a_trace_with_its_label_and_writer(tmp_path):
    found, bad = read_model_solutions(write_rows(tmp_path / "s.jsonl", ROWS), TOKENIZER)
    assert not bad
    assert [trace.extra["writer"] for trace in found.traces] == ["small", "large"] * 2
    assert [label.wrong_answer for label in found.labels] == [True, False, None, True]
    assert found.status.tolist() == ["read", "read", "truncated", "read"]
    assert [len(set(found.problem_ids[pair])) for pair in ([0, 1], [2, 3], [0, 2])] == [1, 1, 2]
    first, second = found.traces[:2]
    assert first.kinds == ("premise", "premise", "question", "step", "answer")
    assert first.texts[3] == "She eats 16 - 3 = 12 eggs", "annotations are taken out"
    assert (written_answer(first), written_answer(second)) == ("12", "13")
    assert set(first.extra) == {"correct", "writer", "agrees"}
    assert label_agreement(found) == {"compared": 4, "agreeing": 3}, "the last label is wrong"


def test_traces_are_kept_as_any_file_of_traces(tmp_path):
    rows = [solution_row(seed) for seed in range(3)]
    found, _ = read_model_solutions(write_rows(tmp_path / "s.jsonl", rows), TOKENIZER, most=2)
    assert len(found) == 6
    again, bad = load_trace_set(found.save(tmp_path / "traces.jsonl"))
    assert not bad
    assert [trace.nodes for trace in again.traces] == [trace.nodes for trace in found.traces]
    assert [t.extra["writer"] for t in again.traces] == [t.extra["writer"] for t in found.traces]
    assert again.labels == found.labels


def test_bad_lines_are_reported_and_a_missing_file_is_refused(tmp_path):
    rows = [ROWS[0], {"question": "Only that?"}, {"small": ROWS[0]["small"]}]
    rows.append(ROWS[1] | {"small": {"is_correct": "no", "solution": "A: 2"}})
    path = write_rows(tmp_path / "s.jsonl", rows)
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(ROWS[1])[:40])
    found, bad = read_model_solutions(path, TOKENIZER)
    assert len(found) == 2
    assert [line.line for line in bad] == [2, 3, 4, 5]
    assert "column 'question' is missing" in bad[1].reason
    assert "is_correct is 'no'" in bad[2].reason
    with pytest.raises(FileNotFoundError, match="absent"):
        read_model_solutions(tmp_path / "absent.jsonl", TOKENIZER)
