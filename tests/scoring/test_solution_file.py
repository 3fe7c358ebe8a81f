"""Every format becomes the same traces; every bad line is named and nothing else is lost."""

from __future__ import annotations

import json

import pytest
from score_toys import TEMPLATE, TOKENIZER, text_rows, write_lines

from rg_helpers.datasets.model_solutions import read_model_solutions
from rg_helpers.problems import generate_problem
from rg_helpers.scoring.solution_file import Solution, read_solutions
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import BadLine, gold_trace, write_traces

ROW = text_rows(1)[0]
EGGS = "Ana has 16 eggs. She eats 3 and sells the rest. How many does she sell?"
LINES = "She sells 16-3=<<16-3=13>>13 eggs.\n#### 13"
MODELS = {
    "question": EGGS,
    "ground_truth": LINES,
    "small": {"is_correct": False, "solution": "She eats 16 - 3 = <<16-3=12>>12 eggs\nA: 12"},
    "large": {"is_correct": True, "solution": "She sells 16 - 3 = <<16-3=13>>13.\n\nA: 13.0"},
    "broken": {"is_correct": False, "solution": "She has 16 and 16 and"},
}


def read(tmp_path, rows, steps="auto", tokenizer=TOKENIZER, **options):
    path = write_lines(tmp_path / "rows.jsonl", rows)
    found = list(read_solutions(path, tokenizer, steps, **options))
    good = [one for one in found if isinstance(one, Solution)]
    return good, [one for one in found if isinstance(one, BadLine)]


def test_plain_text_keeps_other_columns_and_labels(tmp_path):
    (one,), bad = read(tmp_path, [ROW])
    assert not bad
    trace = one.trace
    assert (one.line, trace.trace_id, trace.problem_id) == (1, "s0", ROW["problem_id"])
    assert trace.extra["source"] == "toy"
    assert one.labels.wrong_answer is False
    assert trace.kinds[-1] == "answer"
    assert [node.text for node in trace.steps] == ROW["solution"].splitlines()


@pytest.mark.parametrize(
    "names", [("prompt", "completion"), ("problem", "solution"), ("question", "response")]
)
def test_the_same_text_under_other_names_is_the_same_trace(tmp_path, names):
    (plain,), _ = read(tmp_path, [{"prompt": ROW["prompt"], "solution": ROW["solution"]}])
    row = dict(zip(names, (ROW["prompt"], ROW["solution"]), strict=True))
    (other,), bad = read(tmp_path, [row])
    assert not bad
    assert other.trace == plain.trace
    assert other.key == plain.key


def test_gsm8k_lines_lose_their_annotations(tmp_path):
    (one,), _ = read(tmp_path, [{"question": EGGS, "answer": LINES}])
    assert [node.text for node in one.trace.steps] == ["She sells 16-3=13 eggs.", "A: 13"]
    assert one.trace.kinds == ("premise", "premise", "question", "step", "answer")
    assert one.labels.wrong_answer is None


def test_model_solutions_are_those_of_the_course(tmp_path):
    good, bad = read(tmp_path, [MODELS])
    wanted, _ = read_model_solutions(tmp_path / "rows.jsonl", TOKENIZER)
    assert not bad
    assert [one.trace for one in good] == list(wanted.traces)
    assert [one.labels for one in good] == list(wanted.labels)
    assert [one.labels.status for one in good] == ["read", "read", "truncated"]


def test_steps_of_the_line_hold_against_any_rule(tmp_path):
    row = {"problem": EGGS, "steps": ["One. Two.", "Three\nfour"], "final_answer_correct": True}
    row["label"] = -1
    (one,), _ = read(tmp_path, [row], "sentence")
    assert [node.text for node in one.trace.steps] == row["steps"]
    assert one.labels.flawed is False
    (one,), _ = read(tmp_path, [{"question": EGGS, "answer": "Bo. Ana\n#### 3"}], "sentence")
    assert [node.text for node in one.trace.steps] == ["Bo.", "Ana", "A: 3"]


def test_chat_messages_go_through_the_models_template(tmp_path):
    tokenizer = build_tokenizer()
    tokenizer.chat_template = TEMPLATE
    messages = [
        {"role": "system", "content": " Be brief. "},
        {"role": "user", "content": "Ana has 3 pens. How many has Ana?"},
        {"role": "assistant", "content": "Ana has 3.\nThe answer is 3."},
    ]
    pair = {"prompt": messages[:2], "completion": messages[2:], "id": 7}
    parts = [m | {"content": [{"type": "text", "text": m["content"]}]} for m in messages]
    rows = [{"messages": messages}, pair, {"conversation": parts, "id": 8}]
    good, bad = read(tmp_path, rows, tokenizer=tokenizer)
    assert not bad
    trace = good[0].trace
    assert trace.prompt == "<|system|>\nBe brief.\n<|user|>\nAna has 3 pens. How many has Ana?\n" \
        "<|assistant|>\n"  # fmt: skip
    assert trace.texts[:3] == ("Be brief.", "Ana has 3 pens.", "How many has Ana?")
    assert trace.texts[3:] == ("Ana has 3.", "The answer is 3.")
    assert trace.kinds == ("premise", "premise", "question", "step", "answer")
    ids = tokenizer(trace.prompt + trace.solution).input_ids
    assert list(trace.token_ids) == [*ids, tokenizer.eos_token_id]
    assert good[1].trace.token_ids == good[2].trace.token_ids == trace.token_ids
    _, bad = read(tmp_path, [{"messages": messages}])
    assert "no chat template" in bad[0].reason
    picture = [messages[0], {"role": "user", "content": [{"type": "image_url"}]}, messages[2]]
    rows = [{"messages": messages[:2]}, {"messages": ["hello"]}, {"messages": picture}]
    _, bad = read(tmp_path, rows, tokenizer=tokenizer)
    assert "role 'user'" in bad[0].reason
    assert "message 0 of messages is 'hello'" in bad[1].reason
    assert "message 1 of messages" in bad[2].reason


def test_stored_traces_keep_their_tokens_unless_they_are_anothers(tmp_path):
    trace = gold_trace(generate_problem("arithmetic", 5), TOKENIZER)
    path = write_traces(tmp_path / "t.jsonl", [trace])
    row = json.loads(path.read_text())
    (one,), bad = read(tmp_path, [row])
    assert not bad
    assert one.trace == trace
    foreign = row | {"token_ids": [min(token + 1, 90) for token in row["token_ids"]]}
    (other,), bad = read(tmp_path, [foreign])
    assert not bad
    assert other.trace.texts == trace.texts
    assert other.trace.token_ids != tuple(foreign["token_ids"])
    _, bad = read(tmp_path, [row | {"nodes": [["step", "x", 1]]}, row | {"token_ids": ["a"]}])
    assert "nodes: expected a list" in bad[0].reason
    assert "no list of whole numbers" in bad[1].reason


def test_bad_lines_are_named_and_the_rest_is_read(tmp_path):
    rows = [
        {"text": "only this"},
        ROW | {"solution": "  "},
        ROW | {"solution": None},
        b'{"prompt": "a", "solution": "caf\xe9"}',
        b'{"prompt": "a", "sol',
        b"[1, 2]",
        {"prompt": "a", "solution": "\ud800 b."},
        ROW | {"correct": "maybe"},
        ROW,
        ROW | {"solution": "Other."},
        ROW | {"id": "long", "solution": "Ana has 3. " * 10_000},
        b"",
        ROW | {"id": "last"},
    ]
    good, bad = read(tmp_path, rows, positions=2048)
    assert [one.line for one in good] == [9, 13]
    assert [one.line for one in bad] == [1, 2, 3, 4, 5, 6, 7, 8, 10, 11]
    said = [
        "columns text: expected prompt + solution",
        "column solution is empty",
        "column solution is NoneType",
        "not UTF-8",
        "not valid JSON",
        "a JSON list",
        "lone surrogate",
        "the column correct holds 'maybe'",
        "the id 's0' stands in line 9 already",
        "the model takes at most 2048",
    ]
    for line, words in zip(bad, said, strict=True):
        assert words in line.reason, line
        assert line.path == "rows.jsonl"


def test_half_characters_cost_their_own_line_wherever_they_stand(tmp_path):
    half = "\ud83d"  # of an emoji that was cut: JSON can say it, UTF-8 cannot
    trace = gold_trace(generate_problem("arithmetic", 5), TOKENIZER)
    stored = json.loads(write_traces(tmp_path / "t.jsonl", [trace]).read_text())
    nodes = [[kind, text + half, *span] for kind, text, *span in stored["nodes"]]
    tokenizer = build_tokenizer()
    tokenizer.chat_template = TEMPLATE
    asked = {"role": "user", "content": f"Ana {half} has 3. Sum?"}
    rows = [
        ROW | {"id": half},
        ROW | {"problem_id": half},
        {"messages": [asked, {"role": "assistant", "content": "3"}]},
        {half: 1},
        {"question": EGGS, half: MODELS["small"]},
        stored | {"trace_id": half},
        stored | {"nodes": nodes},
        ROW | {"source": half},
    ]
    good, bad = read(tmp_path, rows, tokenizer=tokenizer)
    assert [one.line for one in good] == [8], "a column that is only kept does not matter"
    assert good[0].trace.extra["source"] == half
    said = ["column id", "problem_id", "messages, message 0,", "columns \\ud83d: expected",
            "'\\ud83d' holds half", "trace_id", "column nodes holds half"]  # fmt: skip
    for line, (number, words) in zip(bad, enumerate(said, 1), strict=True):
        assert line.line == number
        assert words in line.reason
        line.reason.encode()


def test_a_long_solution_is_read_where_the_model_takes_it(tmp_path):
    (one,), bad = read(tmp_path, [ROW | {"solution": "Ana has 3. " * 10_000}])
    assert not bad
    assert len(one.trace.steps) == 10_000
    assert len(one.trace.solution) > 100_000


def test_files_that_cannot_be_read_at_all(tmp_path):
    for content, words in (
        (b"  \n", "is empty"),
        ("{}".encode("utf-16"), "is UTF-16"),
        (b"[{}]", "one JSON list"),
    ):
        path = tmp_path / "f.jsonl"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=words):
            read_solutions(path, TOKENIZER)
    with pytest.raises(FileNotFoundError, match="absent"):
        read_solutions(tmp_path / "absent.jsonl", TOKENIZER)
    with pytest.raises(ValueError, match="is a folder"):
        read_solutions(tmp_path, TOKENIZER)
    path = write_lines(path, [ROW])
    with pytest.raises(ValueError, match="expected one of auto"):
        read_solutions(path, TOKENIZER, "words")
    good, _ = read(tmp_path, text_rows(6), limit=2)
    assert len(good) == 2


def test_a_mark_of_the_file_is_no_error(tmp_path):
    path = tmp_path / "bom.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(ROW).encode())
    assert [one.line for one in read_solutions(path, TOKENIZER)] == [1]
