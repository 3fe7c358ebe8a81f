"""A judge in a run: a server's faults cost their own lines, a rerun asks for these alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from graphs.judge_stub import completion, refusal, serving, slowly
from score_toys import TOKENIZER, text_rows, tiny_reader, write_lines

from rg_helpers.course import cli
from rg_helpers.language_model import save_model
from rg_helpers.scoring.draw import draw_solutions
from rg_helpers.scoring.judging import Judge, JudgeUse
from rg_helpers.scoring.solution_file import read_solutions

pytest.importorskip("openai")

HTML = (200, {"content-type": "text/html"}, b"<html>Welcome</html>")
ROWS = [row | {"prompt": f"Case {n}. {row['prompt']}"} for n, row in enumerate(text_rows(8))]
SLOW, TIMEOUT = 3.0, 2.0


def chain(body):
    """A judgement by which every written node depends on the node before it."""
    lines = body["messages"][1]["content"].splitlines()
    written = [
        number for number, line in enumerate(lines) if "(step)" in line or "(answer)" in line
    ]
    reply = {
        "nodes": [{"id": n, "role": "calculation" if n in written else "premise"}
                  for n in range(len(lines))],
        "edges": [{"source": n - 1, "target": n, "relation": "supports", "weight": 1.0}
                  for n in written],
    }  # fmt: skip
    return completion(json.dumps(reply))


def faulty(faults):
    """A server that answers some cases in its own way, and judges the others."""

    def script(body, number):
        case = int(body["messages"][1]["content"].split("Case ")[1].split(".")[0])
        return faults[case]() if case in faults else chain(body)

    return script


def judged(tmp_path, url, rows=ROWS, **options):
    path = write_lines(tmp_path / "rows.jsonl", rows)
    judge = Judge("stub", url, (1.0, 2.0), settings={"timeout": TIMEOUT, "max_retries": 0})
    return draw_solutions(
        read_solutions(path, TOKENIZER), tiny_reader(), tmp_path / "out", ("judge",), judge=judge,
        probes=False, progress=False, **options,
    )  # fmt: skip


def test_faults_are_named_line_by_line_and_a_rerun_asks_for_them_alone(tmp_path):
    faults = {
        1: lambda: HTML,
        2: lambda: refusal(429, "slow down"),
        4: lambda: slowly(SLOW, HTML),
        5: lambda: completion("I would rather not."),
    }
    with serving(faulty(faults)) as stub:
        first = judged(tmp_path, stub.url)
        assert len(stub.bodies) == 8
    left = {line.line: line.reason for line in first.examples}
    assert sorted(left) == [2, 3, 5, 6]
    for line, words in ((2, "ending in /v1"), (3, "slow down"), (5, "no reply within 2 s"),
                        (6, "not_json")):  # fmt: skip
        assert words in left[line]
        assert f"'s{line - 1}', judge: " in left[line]
    assert first.drawn == {"text": 8, "confidence": 8, "judge": 4}
    for graph in first.graphs("judge"):
        wanted = np.zeros_like(graph.weights)
        rows = [k for k, kind in enumerate(graph.kinds) if kind in ("step", "answer")]
        wanted[rows, [row - 1 for row in rows]] = 1
        np.testing.assert_array_equal(graph.weights, wanted)
    # Five replies came, one of them without a graph; the stub counts 5 + 7 tokens each.
    said = "25 prompt tokens and 35 reply tokens; cost 0.0001, at 1 and 2 a million"
    assert any(said in note for note in first.notes)
    with serving(faulty({})) as stub:
        again = judged(tmp_path, stub.url)
        assert len(stub.bodies) == 3, "what was answered is not asked again"
    assert again.drawn == {"text": 0, "confidence": 0, "judge": 3}
    assert [line.line for line in again.examples] == [6]
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["judge"] == {
        "model": "stub", "requests": 3, "kept": 1, "prompt_tokens": 20, "reply_tokens": 28,
        "uncounted": 0,
    }  # fmt: skip


def test_a_server_that_is_gone_leaves_everything_else_done(tmp_path):
    with serving(faulty({})) as stub:
        gone = stub.url
    with pytest.raises(ValueError, match=r"none of the 2 .*the server is gone: no OpenAI"):
        judged(tmp_path, gone, ROWS[:2])
    assert len((tmp_path / "out" / "left_out.jsonl").read_text().splitlines()) == 2
    with serving(faulty({})) as stub:
        assert judged(tmp_path, stub.url, ROWS[:2]).drawn == {
            "text": 0, "confidence": 0, "judge": 2,
        }  # fmt: skip
    assert judged(tmp_path, None, ROWS[:2]).left_out == 0, "what is kept needs no server"


def test_the_command_prints_tokens_and_cost(tmp_path, capsys):
    model = save_model(tmp_path / "toy", tiny_reader(), TOKENIZER)
    path = write_lines(tmp_path / "own.jsonl", ROWS[:3])
    words = ["score", str(path), "--model", str(model), "--out", str(tmp_path / "out")]
    words += ["--methods", "judge", "--no-report"]
    assert cli.main(words) == 2
    assert "--judge-model NAME" in capsys.readouterr().err
    with serving(faulty({1: lambda: HTML})) as stub:
        words += ["--judge-model", "stub", "--judge-prices", "100", "1000", "--judge-url", stub.url]
        assert cli.main(words) == 1
    shown = capsys.readouterr()
    assert "judge: 3 requests" in shown.out
    assert "10 prompt tokens and 14 reply tokens; cost 0.0150" in shown.out
    assert "own.jsonl, line 2: 's1', judge: request_failed" in shown.err


def test_settings_out_of_range_are_refused_before_anything_is_asked():
    with pytest.raises(ValueError, match="timeout above 0"):
        Judge("stub", settings={"timeout": 0})
    with pytest.raises(ValueError, match="judge prices"):
        Judge("stub", prices=(1.0, -1.0))
    with pytest.raises(ValueError, match="at least 1 request"):
        Judge("stub", concurrency=0)
    assert "--judge-prices says" in JudgeUse().words()
