"""A judge's labels: its own for lines without one, held against the file's for the others."""

from __future__ import annotations

import json

import pandas
import pytest
from graphs.judge_stub import completion, refusal, serving, slowly
from score_toys import TOKENIZER, text_rows, tiny_reader, write_lines

from rg_helpers.course import cli
from rg_helpers.graphs.judge import JudgeReply
from rg_helpers.language_model import save_model
from rg_helpers.scoring import correctness
from rg_helpers.scoring.correctness import judge_correctness, read_verdict
from rg_helpers.scoring.draw import draw_solutions
from rg_helpers.scoring.judging import Judge
from rg_helpers.scoring.solution_file import Solution, read_solutions

pytest.importorskip("openai")

HTML = (200, {"content-type": "text/html"}, b"<html>Welcome</html>")
ROWS = [row | {"prompt": f"Case {n}. {row['prompt']}"} for n, row in enumerate(text_rows(8))]
BARE = [{name: row[name] for name in row if name != "correct"} for row in ROWS]
SLOW, TIMEOUT = 3.0, 2.0


def case_of(body):
    return int(body["messages"][1]["content"].split("Case ")[1].split(".")[0])


def last_step(body):
    return int(body["messages"][1]["content"].splitlines()[-1].split(" ")[0])


def truth(body, number=0):
    """The toys' truth: solutions of odd number have a wrong last line."""
    right = case_of(body) % 2 == 0
    first = -1 if right else last_step(body)
    return completion(json.dumps({"reason": "", "answer_right": right, "first_wrong_step": first}))


def but_for(faults):
    return lambda body, number: faults.get(case_of(body), truth)(body, number)


def judged(tmp_path, url, rows):
    path = write_lines(tmp_path / "rows.jsonl", rows)
    judge = Judge("stub", url, (1.0, 2.0), settings={"timeout": TIMEOUT, "max_retries": 0})
    solutions = read_solutions(path, TOKENIZER)
    return judge_correctness(solutions, judge, tmp_path / "out", progress=False), judge


def test_lines_without_label_get_one_and_the_others_check_the_judge(tmp_path):
    def one_mistake(body, number):
        said = {"reason": "", "answer_right": False, "first_wrong_step": 0}
        return completion(json.dumps(said)) if case_of(body) == 6 else truth(body)

    with serving(one_mistake) as stub:
        found, judge = judged(tmp_path, stub.url, [*BARE[:4], *ROWS[4:]])
    assert found.faults == ()
    labels = [one.labels for one in found.solutions if isinstance(one, Solution)]
    assert [label.wrong_answer for label in labels] == [False, True] * 4, "the file's own stay"
    assert [label.flawed for label in labels[:4]] == [False, True, False, True]
    assert labels[0].first_wrong_step is None
    (second,) = [one for one in found.solutions if one.line == 2]
    assert labels[1].first_wrong_step == len(second.trace.steps) - 1
    assert (found.agreement["value"], found.agreement["n"]) == (0.75, 4)
    words = found.words(judge)
    assert "4 solutions labelled by stub, which agrees with 75.0%" in words
    assert "40 prompt tokens and 56 reply tokens; cost 0.0002" in words
    rows = [json.loads(line) for line in (tmp_path / "out" / "judged.jsonl").open()]
    assert [row["of_the_file"] for row in rows] == [None] * 4 + [False, True] * 2
    assert rows[6]["wrong_answer"] is True
    sent = json.dumps(stub.bodies)
    assert "correct" not in sent, "the judge sees no label"
    for row in ROWS:
        assert row["problem_id"] not in sent
        assert f'"{row["id"]}"' not in sent


def test_few_labelled_solutions_are_asked_about(tmp_path, monkeypatch):
    monkeypatch.setattr(correctness, "CHECKED", 2)
    with serving(truth) as stub:
        found, _ = judged(tmp_path, stub.url, [*ROWS[:5], *BARE[5:]])
        assert len(stub.bodies) == 2 + 3
    assert found.agreement["n"] == 2
    truncated = [row | {"finished": False} for row in BARE[:2]]
    with serving(truth) as stub:
        found, judge = judged(tmp_path, stub.url, truncated)
        assert stub.bodies == []
    assert "compared with no label" in found.words(judge)


def test_faults_cost_their_own_lines_and_a_rerun_asks_for_them_alone(tmp_path):
    faults = {
        1: lambda *_: HTML,
        2: lambda *_: refusal(429, "slow down"),
        3: lambda *_: slowly(SLOW, HTML),
        4: lambda *_: completion("It looks fine to me."),
    }
    with serving(but_for(faults)) as stub:
        first, _ = judged(tmp_path, stub.url, BARE)
    left = {line.line: line.reason for line in first.faults}
    said = {2: "ending in /v1", 3: "slow down", 4: "no reply within 2 s", 5: "not_json"}
    assert sorted(left) == sorted(said)
    for line, words in said.items():
        assert words in left[line]
        assert f"'s{line - 1}', not judged: " in left[line]
    assert len(first.solutions.judged) == 4
    with serving(truth) as stub:
        again, _ = judged(tmp_path, stub.url, BARE)
        assert sorted(map(case_of, stub.bodies)) == [1, 2, 3]
    assert [line.line for line in again.faults] == [5], "a reply is kept, whatever it says"
    assert again.use.kept == 5
    alone, _ = judged(tmp_path, None, BARE)
    assert alone.solutions.judged == again.solutions.judged, "what is kept needs no server"


def test_a_server_that_is_gone_leaves_solutions_without_label(tmp_path):
    with serving(truth) as stub:
        gone = stub.url
    found, _ = judged(tmp_path, gone, BARE[:3])
    assert ["the server is gone" in line.reason for line in found.faults] == [True] * 3
    scored = draw_solutions(
        found.solutions, tiny_reader(), tmp_path / "out", ("text",), progress=False
    )
    assert scored.survey.labelled == 0
    assert scored.left_out == 0


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ('{"answer_right": 1, "first_wrong_step": -1}', "answer_right is 1"),
        ('{"answer_right": true}', "first_wrong_step is None"),
        ('{"answer_right": true, "first_wrong_step": 3}', "from -1 to 2"),
        ('{"answer_right": true, "first_wrong_step": true}', "first_wrong_step is True"),
        ('{"answer_right": false, "first_wrong_step": -1}', "contradiction"),
        ('{"answer_right": fal', "truncated"),
        ("", "empty_reply"),
        ("[true, 2]", "wrong_shape"),
    ],
)
def test_replies_that_are_no_verdict(reply, words):
    assert words in read_verdict(JudgeReply(reply), 3)


def test_a_right_answer_may_come_from_a_wrong_step():
    reply = (
        'Let me see.\n```json\n{"reason": "b", "answer_right": true, "first_wrong_step": 1}\n```'
    )
    found = read_verdict(JudgeReply(reply), 3)
    assert (found.wrong_answer, found.flawed, found.first_wrong_step) == (False, True, 1)


def test_the_command_labels_scores_and_says_who_labelled(tmp_path, capsys):
    model = save_model(tmp_path / "toy", tiny_reader(), TOKENIZER)
    path = write_lines(tmp_path / "own.jsonl", [*BARE[:6], *ROWS[6:]])
    words = ["score", str(path), "--model", str(model), "--out", str(tmp_path / "out")]
    words += ["--methods", "text", "--judge-correctness"]
    assert cli.main(words) == 2
    assert "--judge-model NAME" in capsys.readouterr().err
    with serving(but_for({1: lambda *_: HTML})) as stub:
        words += ["--judge-model", "stub", "--judge-prices", "100", "1000", "--judge-url", stub.url]
        assert cli.main(words) == 1
    shown = capsys.readouterr()
    assert "5 solutions labelled by stub, which agrees with 100.0%" in shown.out
    assert "35 prompt tokens and 49 reply tokens; cost 0.0525" in shown.out
    assert "1 not judged, and without label" in shown.err
    assert "own.jsonl, line 2: 's1', not judged: " in shown.err
    table = pandas.read_parquet(tmp_path / "out" / "baselines.parquet")
    told = [None if pandas.isna(wrong) else wrong for wrong in table["wrong_answer"]]
    assert told == [False, None, *[False, True] * 3]
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["labelled_by_a_judge"] == 5
    report = json.loads((tmp_path / "out" / "predict.json").read_text())
    assert report["labelled_by_a_judge"]["model"] == "stub"
    assert report["traces"]["scored"] == 7
