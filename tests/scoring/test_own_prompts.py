"""`rgh traces --prompts`: what it writes is what `rgh score` reads, and bad lines are named."""

from __future__ import annotations

import json

import pytest
from ending_models import TINY, ending_model

from rg_helpers.course import cli
from rg_helpers.language_model import new_course_model, save_model
from rg_helpers.scoring import own_prompts
from rg_helpers.scoring.own_prompts import read_prompts, solve_prompts
from rg_helpers.scoring.solution_file import Solution, read_solutions
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces.engines import open_engine

TOKENIZER = build_tokenizer()
TOKENIZER.chat_template = (
    "{% for message in messages %}{{ message.content }} {% endfor %}"
    "{% if add_generation_prompt %}Answer : {% endif %}"
)
TEXT = "Ann has 3 apples . How many apples does Ann have ?"
LINES = [
    {"prompt": TEXT, "level": 4},
    {"question": TEXT.replace("3", "5"), "answer": "5", "id": 17},
    {"messages": [{"role": "user", "content": TEXT}]},
    {"problem": TEXT.replace("Ann", "Bob"), "separator": " "},
]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def file(tmp_path):
    def make(lines):
        path = tmp_path / "prompts.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return make


def solve(path, engine="batched", **changes):
    model = ending_model()
    prompts, bad = read_prompts(path, model, TOKENIZER, 12)
    assert bad == []
    options = {"samples": 2, "temperature": 1.0, "max_new_tokens": 12, **changes}
    return solve_prompts(
        model, TOKENIZER, prompts, open_engine(engine, model, TOKENIZER, 3), **options
    )


def test_what_is_written_is_what_score_reads(file, tmp_path):
    rows = solve(file(LINES))
    assert [row["trace_id"] for row in rows[2:4]] == ["17-0", "17-1"]
    assert rows[0]["level"] == 4
    assert rows[2]["answer"] == "5"
    assert rows[4]["messages"][-1]["role"] == "assistant"
    assert rows[0]["solution"] != rows[1]["solution"]
    assert {row["finished"] for row in rows} == {True, False}
    path = own_prompts.write_rows(tmp_path / "solved.jsonl", rows)
    found = list(read_solutions(path, TOKENIZER))
    assert len(found) == len(rows)
    for row, solution in zip(rows, found, strict=True):
        text = row["solution"] if "solution" in row else row["messages"][-1]["content"]
        if text:
            assert solution.trace.solution == text
            assert solution.trace.trace_id == row["trace_id"]
            assert solution.trace.finished == row["finished"]
    assert sum(isinstance(solution, Solution) for solution in found) >= len(rows) - 1


def test_either_engine_and_any_company_gives_the_same(file):
    rows = solve(file(LINES))
    other = solve(file(LINES), "continuous")
    assert [{**row, "engine": "batched"} for row in other] == rows
    assert solve(file(LINES[3:])) == rows[6:]
    assert solve(file(LINES), seed=1) != rows


def test_bad_lines_are_named_and_the_rest_is_done(file):
    bad_lines = [
        {"text": TEXT},
        {"prompt": "  "},
        {"prompt": TEXT, "steps": ["one", "two"]},
        {"messages": [{"role": "assistant", "content": "hello"}]},
        {"prompt": TEXT * 300},
        {"prompt": 3},
        {"\ud83d": 1},
    ]
    lines = [*bad_lines, LINES[0], LINES[0]]
    prompts, bad = read_prompts(file(lines), ending_model(), TOKENIZER, 12)
    assert len(prompts) == 1
    assert [line.line for line in bad] == [1, 2, 3, 4, 5, 6, 7, 9]
    reasons = [
        "expected a text",
        "empty",
        "holds solutions",
        "assistant's",
        "2048 pos",
        "int '3'",
        "columns \\ud83d",
        "line 8",
    ]
    for line, reason in zip(bad, reasons, strict=True):
        assert reason in line.reason
    kept = solve(file([LINES[0] | {"note": "half \ud83d"}]), samples=1)
    path = own_prompts.write_rows(file([]).with_name("solved.jsonl"), kept)
    assert json.loads(path.read_text(encoding="utf-8"))["note"] == "half \ud83d"
    with pytest.raises(ValueError, match="would all be the same"):
        solve(file(LINES), temperature=0.0)


def test_the_command_resumes_and_says_what_was_left_out(file, tmp_path, monkeypatch, capsys):
    model = new_course_model(0, **TINY)
    folder = save_model(tmp_path / "model", model, build_tokenizer())
    path = file([*LINES[:2], {"text": "x"}, LINES[3]])
    words = f"traces --prompts {path} --model {folder} --samples 2 --max-new-tokens 5"
    words = [*words.split(), "--out", str(tmp_path / "solved.jsonl")]
    assert cli.main(words) == 2
    assert "give --temperature" in capsys.readouterr().err
    words += ["--temperature", "0.9"]
    monkeypatch.setattr(own_prompts, "PART_PROMPTS", 2)
    real, parts = own_prompts.solve_prompts, []

    def stop_once(model, tokenizer, prompts, *rest, **options):
        parts.append(len(prompts))
        if len(parts) == 2:
            raise KeyboardInterrupt
        return real(model, tokenizer, prompts, *rest, **options)

    monkeypatch.setattr(own_prompts, "solve_prompts", stop_once)
    assert cli.main(words) == 130
    assert cli.main(words) == 1
    assert parts == [2, 1, 1]  # the first part was not written again
    printed = capsys.readouterr().out
    assert "left out: prompts.jsonl, line 3: columns text" in printed
    assert "6 solutions of 3 prompts" in printed
    rows = [json.loads(line) for line in (tmp_path / "solved.jsonl").read_text().splitlines()]
    assert [row["sample"] for row in rows] == [0, 1] * 3
    record = json.loads((tmp_path / "solved.json").read_text())
    assert record["engine"] == "batched"
    assert record["left_out"][0]["line"] == 3
    assert not list(tmp_path.glob(".*.parts"))
    assert cli.main(words) == 1
    assert "already there" in capsys.readouterr().out


def test_the_model_is_loaded_as_it_is_for_scoring(file, tmp_path, capsys):
    folder = save_model(tmp_path / "model", new_course_model(0, **TINY), build_tokenizer())
    words = f"traces --prompts {file(LINES[:1])} --model {folder} --samples 1 --temperature 0"
    words = [*words.split(), "--max-new-tokens", "3", "--out"]
    assert cli.main([*words, str(tmp_path / "half.jsonl"), "--bf16"]) == 0
    assert " --bf16 --out FOLDER" in capsys.readouterr().out
    record = json.loads((tmp_path / "half.json").read_text())
    assert "--bf16" in record["provenance"]["command"]
    out = str(tmp_path / "other.jsonl")
    assert cli.main([*words, out, "--bits", "4", "--engine", "vllm"]) == 2
    assert "whole weights" in capsys.readouterr().err
    (folder / "tokenizer.json").unlink()
    assert cli.main([*words, out]) == 2
    assert "holds no tokenizer" in capsys.readouterr().err
