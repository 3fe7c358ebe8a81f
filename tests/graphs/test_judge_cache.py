"""The cache of replies: what changes a name, what a broken file does, runs without a server."""

from __future__ import annotations

import json
import sys

import pytest
from judge_stub import completion, serving

from rg_helpers.graphs.judge import (
    JudgeReply,
    ReplyCache,
    judge_graphs,
    recorded_replies,
    request_key,
)
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import trace_from_text

GOOD = next(recorded for recorded in recorded_replies() if recorded.case == "good_program")
MESSAGES = [{"role": "user", "content": '0 (step): "é"'}]
OPTIONS = {"model": "stub", "progress": False, "max_retries": 0}


def good_reply(body, number):
    return completion(GOOD.reply.content)


def test_the_key_depends_on_model_messages_and_parameters_and_on_nothing_else():
    key = request_key("m", MESSAGES, {"seed": 0, "temperature": 0.0})
    assert key == request_key("m", [dict(MESSAGES[0])], {"temperature": 0.0, "seed": 0})
    others = {
        request_key("n", MESSAGES, {"seed": 0, "temperature": 0.0}),
        request_key("m", MESSAGES, {"seed": 1, "temperature": 0.0}),
        request_key("m", MESSAGES, {"seed": 0, "temperature": 0.5}),
        request_key("m", MESSAGES, {"seed": 0}),
        request_key("m", MESSAGES * 2, {"seed": 0, "temperature": 0.0}),
        request_key("m", [{"role": "system", "content": "é"}], {"seed": 0, "temperature": 0.0}),
    }
    assert len(others | {key}) == 7
    assert len(key) == 64


def test_a_reply_comes_back_as_it_was(tmp_path):
    cache = ReplyCache(tmp_path / "new" / "folder")
    reply = JudgeReply('{"é": 1}', "length", "json_object", "m", 3, None)
    assert cache.get("ab12") == (None, None)
    cache.put("ab12", reply)
    assert cache.get("ab12") == (reply, None)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["ab12.json"]


def test_without_a_folder_nothing_is_kept():
    cache = ReplyCache(None)
    cache.put("ab12", JudgeReply("x"))
    assert cache.get("ab12") == (None, None)


def test_a_second_run_needs_no_server_and_no_package(tmp_path, monkeypatch):
    with serving(good_reply) as stub:
        first = judge_graphs([GOOD.trace], stub.url, cache=tmp_path, **OPTIONS)
    monkeypatch.setitem(sys.modules, "openai", None)
    second = judge_graphs([GOOD.trace], cache=tmp_path, **OPTIONS)
    assert (second.requests, second.cached) == (0, 1)
    assert second.typed == first.typed
    assert second.replies == first.replies


def test_other_parameters_ask_again(tmp_path):
    with serving(good_reply) as stub:
        for options in ({}, {}, {"max_tokens": 9}, {"temperature": 1.0}, {"model": "other"}):
            judge_graphs([GOOD.trace], stub.url, cache=tmp_path, **{**OPTIONS, **options})
    assert len(stub.bodies) == 4


def test_equal_traces_share_one_request(tmp_path):
    with serving(good_reply) as stub:
        run = judge_graphs([GOOD.trace] * 3, stub.url, cache=tmp_path, **OPTIONS)
    assert len(stub.bodies) == 1
    assert [len(graph.edges) for graph in run.graphs] == [9] * 3


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"key": "another", "reply": {"content": "x"}}',
        b'{"reply": {"content": "x"}}',
        b'{"key": "KEY", "reply": {"content": 7}}',
        b'{"key": "KEY", "reply": {"contents": "x"}}',
        b'{"key": "KEY", "reply": 3}',
        b"[" * 100_000,
    ],
)
def test_a_broken_entry_is_reported_and_replaced(tmp_path, content):
    with serving(good_reply) as stub:
        judge_graphs([GOOD.trace], stub.url, cache=tmp_path, **OPTIONS)
        (entry,) = tmp_path.rglob("*.json")
        entry.write_bytes(content.replace(b"KEY", entry.stem.encode()))
        run = judge_graphs([GOOD.trace], stub.url, cache=tmp_path, **OPTIONS)
    (problem,) = run.problems
    assert problem.kind == "cache_entry"
    assert not problem.fatal
    assert entry.name in problem.detail
    assert run.graphs[0] is not None
    assert len(stub.bodies) == 2
    assert json.loads(entry.read_text())["key"] == entry.stem


def test_a_cache_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="give a folder"):
        judge_graphs([GOOD.trace], cache=tmp_path / "file", **OPTIONS)


def test_a_trace_without_steps_is_reported_and_not_asked(tmp_path):
    empty = trace_from_text(
        build_tokenizer(), "Ana has 2 pens. How many?", "", allow_no_steps=True, trace_id="empty"
    )
    with serving(good_reply) as stub:
        run = judge_graphs([empty, GOOD.trace], stub.url, **OPTIONS)
    assert len(stub.bodies) == 1
    assert [(problem.trace_id, problem.kind) for problem in run.problems] == [
        ("empty", "nothing_to_judge")
    ]
    assert run.graphs[0] is None
    assert run.graphs[1].edges
    assert judge_graphs([], **OPTIONS).graphs == []
