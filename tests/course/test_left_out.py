"""Commands that read somebody's file name every bad line, do the rest, and say so at the end."""

from __future__ import annotations

import json

import pytest
from real_data.gsm8k_lines import write_data

from rg_helpers.course import cli
from rg_helpers.course.commands import gsm8k, predict, reader
from rg_helpers.course.folders import REPOSITORY_VARIABLE
from rg_helpers.course.left_out import tell_left_out
from rg_helpers.traces import BadLine

BAD = [b'{"question": "cut', b'{"question": "caf\xe9"}', b'{"text": 1}']


def write(path, *rows):
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def named(folder):
    rows = [json.loads(line) for line in (folder / "left_out.jsonl").read_text().splitlines()]
    return [(row["file"], row["line"]) for row in rows]


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv(REPOSITORY_VARIABLE, str(tmp_path / "clone"))
    folder = write_data(tmp_path / "data", train=100, solved=3)
    for name, bad in (("train.jsonl", BAD), ("example_model_solutions.jsonl", BAD[1:2])):
        with open(folder / name, "ab") as file:
            file.write(b"\n".join(bad) + b"\n")
    return folder


def test_each_line_is_named_once_and_a_repaired_file_has_none(tmp_path, capsys):
    bad = [BadLine("b", 2, "first"), BadLine("/far/b", 2, "second"), BadLine("a", 7, "\ud83d")]
    assert tell_left_out(bad, tmp_path) == 1
    assert named(tmp_path) == [("a", 7), ("b", 2)]
    shown = capsys.readouterr().err
    assert "2 lines left out" in shown
    assert "b, line 2: first" in shown
    assert tell_left_out([], tmp_path) == 0
    assert not list(tmp_path.iterdir())


def test_gsm8k(data, tmp_path, capsys):
    words = ["gsm8k", "--data", str(data), "--parts", "annotations", "--out", str(tmp_path / "o")]
    assert cli.main(words) == 1
    of_train = [("train.jsonl", number) for number in (101, 102, 103)]
    assert named(tmp_path / "o") == [("example_model_solutions.jsonl", 4), *of_train]
    found = json.loads((tmp_path / "o" / gsm8k.RESULTS["annotations"]).read_text())
    assert found["problems"] == 100
    write_data(data, train=100, solved=3)
    assert cli.main(words) == 0
    assert not (tmp_path / "o" / "left_out.jsonl").exists()


def test_reader(data, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(reader, "train_reader", lambda problems, *_, **__: read.append(problems))
    assert cli.main(["reader", "--data", str(data), "--output", str(tmp_path / "r")]) == 1
    assert [len(problems) for problems in read] == [100]
    assert named(tmp_path / "r") == [("train.jsonl", number) for number in (101, 102, 103)]


def test_predict(tmp_path, monkeypatch):
    row = {"prompt": "3 and 4?", "solution": "3 + 4 = 7.\nThe answer is 7.", "problem_id": "p"}
    path = write(tmp_path / "own.jsonl", row | {"correct": True}, *BAD)
    read = []

    def report(traces, *_, **__):
        read.append(len(traces))
        return {"families": {}}

    monkeypatch.setattr(predict, "predict_report", report)
    monkeypatch.setattr(predict, "flat_rows", lambda report: [])
    words = ["predict", str(path), "--model", "none", "--out", str(tmp_path / "o")]
    assert cli.main(words) == 1
    assert read == [1]
    assert named(tmp_path / "o") == [("own.jsonl", number) for number in (2, 3, 4)]
