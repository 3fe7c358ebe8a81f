"""Asking a server on bad days: limits, errors, refusals, silence, nonsense, nobody there."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading

import pytest
from judge_stub import FAST_RETRY, completion, refusal, serving, slowly

from rg_helpers.graphs.judge import JudgeSettings, judge_graphs, parse_reply, recorded_replies

RECORDED = recorded_replies()
GOOD = [recorded for recorded in RECORDED if recorded.case.startswith("good")]
TRACES = [recorded.trace for recorded in GOOD]
BY_PROMPT = {recorded.trace.texts: recorded.reply.content for recorded in GOOD}
QUICK = {"model": "stub", "progress": False, "timeout": 10.0, "max_retries": 2}


def right_answer(body, number=0):
    """The recorded reply on the trace that stands in the request."""
    lines = body["messages"][1]["content"].splitlines()
    texts = tuple(json.loads(line.partition(": ")[2]) for line in lines)
    return completion(BY_PROMPT[texts])


def kinds(run):
    return [problem.kind for problem in run.problems]


def test_graphs_of_good_replies():
    with serving(right_answer) as stub:
        run = judge_graphs(TRACES, stub.url, **QUICK)
    for recorded, typed, graph, reply in zip(GOOD, run.typed, run.graphs, run.replies, strict=True):
        expected = parse_reply(recorded.trace, recorded.reply.content, model="stub").typed
        assert typed == expected
        assert graph.edges == expected.step_graph().edges
        assert (reply.prompt_tokens, reply.completion_tokens) == (5, 7)
        assert 0 < reply.seconds < 10
    assert run.problems == []
    assert (run.requests, run.cached) == (3, 0)
    assert run.report() == "3 of 3 traces have a graph; problems: none"
    body = stub.bodies[0]
    assert body["response_format"]["type"] == "json_schema"
    assert (body["temperature"], body["seed"], body["model"]) == (0.0, 0, "stub")
    assert "extra" not in body


def test_rate_limits_and_server_errors_are_tried_again():
    def script(body, number):
        if number < 2:
            return refusal([429, 500][number], headers=FAST_RETRY)
        return right_answer(body)

    with serving(script) as stub:
        run = judge_graphs(TRACES[:1], stub.url, **QUICK)
    assert kinds(run) == []
    assert len(stub.bodies) == 3
    assert run.requests == 1


def test_a_request_that_keeps_failing_costs_its_own_trace_only():
    def script(body, number):
        if "Cal" in body["messages"][1]["content"]:
            return refusal(503, "the card is on fire", FAST_RETRY)
        return right_answer(body)

    with serving(script) as stub:
        run = judge_graphs(TRACES, stub.url, **QUICK)
    assert [graph is None for graph in run.graphs] == [True, False, False]
    (problem,) = run.problems
    assert (problem.kind, problem.trace_id) == ("request_failed", "good_arithmetic")
    assert "the card is on fire" in problem.detail


@pytest.mark.parametrize(
    ("refused", "taken"), [(["json_schema"], "json_object"), (["json_schema", "json_object"], None)]
)
def test_a_server_that_refuses_a_schema_is_asked_more_simply_and_that_is_remembered(refused, taken):
    def script(body, number):
        if body.get("response_format", {}).get("type") in refused:
            return refusal(400, "response_format is not supported")
        return right_answer(body)

    with serving(script) as stub:
        run = judge_graphs(TRACES, stub.url, concurrency=1, **QUICK)
    asked = [body.get("response_format", {}).get("type") for body in stub.bodies]
    assert asked == [*refused, taken, taken, taken]
    assert kinds(run) == ["schema_refused"] * 3
    assert all(graph is not None for graph in run.graphs)


def test_a_request_refused_in_every_form_says_why():
    with serving(lambda body, number: (400, {}, b'{"detail": "32 tokens at most"}')) as stub:
        run = judge_graphs(TRACES[:1], stub.url, **QUICK)
    assert kinds(run) == ["request_failed"]
    assert "32 tokens at most" in run.problems[0].detail
    assert "context length" in run.problems[0].detail


@pytest.mark.parametrize(
    ("answer", "kind", "detail"),
    [
        (completion(GOOD[0].reply.content[:99], "length"), "truncated", "max_tokens"),
        (completion("I would rather not."), "not_json", "I would"),
        (completion(None), "empty_reply", "no text"),
        (completion(None, refusal="I cannot."), "not_json", "I cannot."),
        (completion("\ud800"), "not_json", "?"),
        ((200, {"content-type": "text/html"}, b"<html>hello</html>"), "request_failed", "/v1"),
        ((200, {"content-type": "application/json"}, b'{"choices": ['), "request_failed", ""),
        ((200, {"content-type": "application/json"}, b'{"choices": []}'), "request_failed", "/v1"),
        ((200, {"content-type": "application/json"}, b"[]"), "request_failed", "/v1"),
        ((200, {"content-type": "application/json"}, b"null"), "request_failed", "/v1"),
    ],
)
def test_replies_that_are_no_judgement(tmp_path, answer, kind, detail):
    with serving(lambda body, number: answer) as stub:
        run = judge_graphs(TRACES[:1], stub.url, cache=tmp_path, **QUICK)
    assert run.graphs == [None]
    assert kinds(run) == [kind]
    assert detail in run.problems[0].detail
    assert bool(list(tmp_path.rglob("*.json"))) == (kind != "request_failed")


def test_a_server_that_takes_too_long():
    with serving(lambda body, number: slowly(0.5, right_answer(body))) as stub:
        options = {**QUICK, "timeout": 0.1, "max_retries": 0}
        run = judge_graphs(TRACES[:1], stub.url, **options)
    assert kinds(run) == ["request_failed"]
    assert "raise timeout" in run.problems[0].detail


def test_no_server():
    with serving(right_answer) as stub:
        gone = stub.url
    with pytest.raises(ConnectionError, match=r"transformers serve stub.*0 of 3") as caught:
        judge_graphs(TRACES, gone, **{**QUICK, "max_retries": 0})
    assert gone in str(caught.value)


def test_a_server_that_goes_away_leaves_what_it_answered_in_the_cache(tmp_path):
    options = {**QUICK, "max_retries": 0, "concurrency": 1, "cache": tmp_path}
    kept = pytest.raises(ConnectionError, match="2 of 3 requests were answered and are kept")
    with serving(lambda body, number: right_answer(body) if number < 2 else None) as stub, kept:
        judge_graphs(TRACES, stub.url, **options)
    with serving(right_answer) as stub:
        run = judge_graphs(TRACES, stub.url, **options)
    assert len(stub.bodies) == 1
    assert (run.requests, run.cached) == (1, 2)
    assert kinds(run) == []


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "top-secret")
    with serving(right_answer) as stub:
        judge_graphs(TRACES, stub.url, cache=tmp_path, api_key_variable="JUDGE_KEY", **QUICK)
        assert set(stub.keys) == {"Bearer top-secret"}
    stored = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert len(stored) == 3
    assert not any("top-secret" in text or stub.url in text for text in stored)


def test_a_refused_key_and_an_unknown_model_stop_the_run(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving(lambda body, number: refusal(401, "bad key")) as stub:
        with pytest.raises(RuntimeError, match="variable OPENAI_API_KEY"):
            judge_graphs(TRACES, stub.url, **QUICK)
        assert set(stub.keys) == {"Bearer none"}
    stopped = pytest.raises(RuntimeError, match=r"no such model.*'stub'.*/v1")
    with serving(lambda body, number: refusal(404, "no such model")) as stub, stopped:
        judge_graphs(TRACES, stub.url, **QUICK)


def test_requests_under_way_are_bounded():
    variants = [
        dataclasses.replace(
            TRACES[0],
            nodes=(dataclasses.replace(TRACES[0].nodes[0], text=f"{n}."), *TRACES[0].nodes[1:]),
        )
        for n in range(9)
    ]
    together = threading.Barrier(3)  # passes only if three requests are under way at once

    def script(body, number):
        together.wait(timeout=10)
        return completion(GOOD[0].reply.content)

    with serving(script) as stub:
        run = judge_graphs(variants, stub.url, concurrency=3, **QUICK)
    assert stub.most_at_once == 3
    assert kinds(run) == []
    assert len(stub.bodies) == 9


def test_nothing_of_the_truth_is_sent():
    hidden = dataclasses.replace(
        TRACES[0], trace_id="HIDDEN", problem_id="HIDDEN", extra={"answer": "HIDDEN"}
    )
    with serving(right_answer) as stub:
        judge_graphs([hidden], stub.url, **QUICK)
    assert "HIDDEN" not in json.dumps(stub.bodies)


def test_text_that_no_request_can_carry_is_reported():
    broken = dataclasses.replace(
        TRACES[0],
        nodes=(*TRACES[0].nodes[:-1], dataclasses.replace(TRACES[0].nodes[-1], text="\ud800")),
    )
    with serving(right_answer) as stub:
        run = judge_graphs([broken, TRACES[1]], stub.url, **QUICK)
    assert kinds(run) == ["request_failed"]
    assert run.graphs[1] is not None


def test_settings_of_a_particular_server_are_sent_and_none_is_left_out():
    extra = {"chat_template_kwargs": {"enable_thinking": False}}
    with serving(right_answer) as stub:
        options = {"temperature": None, "seed": None, "max_tokens": None, "extra": extra}
        judge_graphs(TRACES[:1], stub.url, first_format="plain", **options, **QUICK)
    assert set(stub.bodies[0]) == {"messages", "model", "chat_template_kwargs"}


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(RuntimeError, match=r"rg_helpers\[judge\]"):
        judge_graphs(TRACES, "http://127.0.0.1:9/v1", **QUICK)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"base_url": "localhost:8000"}, "http://localhost:8000/v1"),
        ({"base_url": None}, "3 replies are not in the cache"),
        ({"model": ""}, "model is empty"),
        ({"concurrency": 0}, "at least 1"),
        ({"first_format": "xml"}, "json_object"),
        ({"timeout": 0}, "above 0 seconds"),
        ({"relation_weights": {"proves": 1.0}}, "unknown relations"),
    ],
)
def test_bad_arguments_name_the_cure(wrong, message):
    options = {"base_url": "http://127.0.0.1:9/v1", **QUICK, **wrong}
    with pytest.raises(ValueError, match=message):
        judge_graphs(TRACES, **options)


def test_parameters_hold_what_decides_a_reply():
    settings = JudgeSettings("http://host/v1", "m", temperature=None, extra={"top_k": 1})
    assert settings.parameters() == {
        "max_tokens": 4096,
        "seed": 0,
        "extra": {"top_k": 1},
        "first_format": "json_schema",
    }
