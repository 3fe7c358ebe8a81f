"""Files of problems: every format gives the same object, every bad row is named."""

from __future__ import annotations

import json

import pytest
from gsm8k_lines import solution_row, train_row, write_rows

from rg_helpers.datasets.word_problems import problem_of, read_word_problems


def test_gsm8k_rows_in_both_formats_are_the_same_problem(tmp_path):
    path = write_rows(tmp_path / "a.jsonl", [train_row(4), solution_row(4)])
    (first, second), bad = read_word_problems(path)
    assert not bad
    assert first.problem_id == second.problem_id
    assert first.answer == second.answer == train_row(4)["answer"].split("#### ")[1]
    assert (first.row, second.row) == (0, 1)
    assert first.lines[0].count("<<") == 1
    assert first.lines[-1].startswith("####")


def test_math_rows_take_the_box_or_the_column(tmp_path):
    rows = [
        {"problem": "Find $x$.", "solution": r"It is \boxed{\frac12}.", "level": "Level 2"},
        {"problem": "Find $y$.", "solution": "It is three.", "answer": "3"},
    ]
    path = tmp_path / "list.json"
    path.write_text(json.dumps(rows))
    problems, bad = read_word_problems(path)
    assert [problem.answer for problem in problems] == [r"\frac12", "3"]
    assert problems[0].extra["level"] == "Level 2"
    assert {problem.family for problem in problems} == {"math"}
    assert not bad


def test_a_folder_of_one_problem_files_is_read_in_order(tmp_path):
    for number in (2, 0, 1):
        row = {"problem": f"Problem {number}?", "solution": rf"\boxed{{{number}}}"}
        (tmp_path / "algebra").mkdir(exist_ok=True)
        (tmp_path / "algebra" / f"{number}.json").write_text(json.dumps(row))
    problems, bad = read_word_problems(tmp_path)
    assert [problem.answer for problem in problems] == ["0", "1", "2"]
    assert not bad


def test_every_bad_row_is_named_and_the_rest_is_read(tmp_path):
    path = tmp_path / "mixed.jsonl"
    good = json.dumps(train_row(0)).encode()
    lines = [
        good,
        b'{"question": "Only that?"}',
        b"[1, 2]",
        b'{"question": " ", "answer": "#### 1"}',
        b'{"question": "How many?", "answer": "I do not know"}',
        b'{"question": "\xff"}',
        b'{"question": "cut',
    ]
    path.write_bytes(b"\n".join(lines))
    problems, bad = read_word_problems(path)
    assert len(problems) == 1
    assert [line.line for line in bad] == [2, 3, 4, 5, 6, 7]
    reasons = "\n".join(line.reason for line in bad)
    for words in ("expected question + answer", "no object", "expected text", "announces no"):
        assert words in reasons
    assert "not UTF-8" in reasons
    assert "not valid JSON" in reasons


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no problems at"):
        read_word_problems(tmp_path / "absent.jsonl")
    with pytest.raises(FileNotFoundError, match="no problems at"):
        read_word_problems(tmp_path)
    with pytest.raises(ValueError, match="columns none"):
        problem_of({})
