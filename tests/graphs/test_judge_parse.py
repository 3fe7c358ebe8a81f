"""Reading a judge's reply: recorded faults, and replies damaged at random."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rg_helpers.graphs.judge import (
    PROBLEM_KINDS,
    RELATIONS,
    ROLES,
    JudgeProblem,
    TypedEdge,
    parse_reply,
    recorded_replies,
)
from rg_helpers.graphs.judge.problem import FATAL

RECORDED = {recorded.case: recorded for recorded in recorded_replies()}
GOOD = RECORDED["good_arithmetic"]
TRACE, TEXT = GOOD.trace, GOOD.reply.content
NODES = len(TRACE.nodes)
PREMISES = TRACE.kinds.index("step")


def accepted_by_hand(text: str) -> bool:
    """Say whether a text is a faultless reply on `TRACE`, by the rules of the prompt alone."""
    try:
        reply = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if not (isinstance(reply, dict) and set(reply) == {"nodes", "edges"}):
        return False
    if not all(isinstance(reply[name], list) for name in reply) or not reply["edges"]:
        return False
    for node in reply["nodes"]:
        if not (isinstance(node, dict) and set(node) == {"id", "role"}):
            return False
        if type(node["id"]) is not int or node["role"] not in list(ROLES):
            return False
        allowed = {"premise", "question", "aside"}
        if 0 <= node["id"] < PREMISES and node["role"] not in allowed:
            return False
        if node["id"] >= PREMISES and node["role"] in ("premise", "question"):
            return False
    if sorted(node["id"] for node in reply["nodes"]) != list(range(NODES)):
        return False
    pairs = []
    for edge in reply["edges"]:
        if not (isinstance(edge, dict) and set(edge) == {"source", "target", "relation", "weight"}):
            return False
        source, target, weight = edge["source"], edge["target"], edge["weight"]
        if type(source) is not int or type(target) is not int:
            return False
        if not 0 <= source < target < NODES or target < PREMISES:
            return False
        if edge["relation"] not in list(RELATIONS):
            return False
        if type(weight) not in (int, float) or not 0 <= weight <= 1:
            return False
        pairs.append((source, target))
    # A key given twice would vanish in json.loads; write the object again and count.
    return len(set(pairs)) == len(pairs) and text.count('"') == json.dumps(reply).count('"')


@pytest.mark.parametrize("case", sorted(RECORDED))
def test_recorded_replies_show_exactly_the_faults_they_were_written_for(case):
    recorded = RECORDED[case]
    parsed = parse_reply(recorded.trace, recorded.reply.content, recorded.reply.finish_reason)
    assert tuple(problem.kind for problem in parsed.problems) == recorded.problem_kinds
    assert (parsed.typed is None) == any(kind in FATAL for kind in recorded.problem_kinds)
    assert "by hand" in recorded.note
    assert all(problem.trace_id == case for problem in parsed.problems)


def test_the_recorded_graph_is_the_hand_drawn_one():
    parsed = parse_reply(TRACE, TEXT, "stop", "some-model")
    expected = np.zeros((8, 8))
    expected[4, [1, 3]] = np.array([0.8, 1.0]) / 1.8
    expected[5, [0, 4]] = np.array([1.0, 0.5]) / 1.5
    expected[6, [1, 5]] = 0.5
    expected[7, [3, 6]] = np.array([0.5, 1.0]) / 1.5
    graph = parsed.typed.step_graph()
    assert np.allclose(graph.weights, expected, atol=1e-6)
    assert (graph.method, graph.choice, graph.trace_id) == ("judge", "some-model", TRACE.trace_id)
    assert (graph.kinds, graph.texts) == (TRACE.kinds, TRACE.texts)
    assert parsed.typed.roles[2] == "aside"
    assert parsed.typed.edges[0] == TypedEdge(1, 4, "supports", 0.8)


def test_a_contradiction_stands_in_the_typed_graph_alone():
    recorded = RECORDED["good_deduction"]
    typed = parse_reply(recorded.trace, recorded.reply.content).typed
    assert TypedEdge(1, 4, "contradicts") in typed.edges
    assert typed.step_graph().edges == [(0, 3), (2, 3), (3, 4), (0, 5), (4, 5), (5, 6)]
    assert typed.step_graph({"contradicts": 2}).edges == [(1, 4)]
    graph = typed.to_networkx()
    assert graph.edges[1, 4]["relation"] == "contradicts"
    assert graph.nodes[4]["role"] == "deduction"
    with pytest.raises(ValueError, match="unknown relations"):
        typed.step_graph({"proves": 1})
    with pytest.raises(ValueError, match="expected 0 or more"):
        typed.step_graph({"supports": -1})


def test_what_is_salvaged_is_the_good_reply():
    """The faults of these replies were added to the good one: without them it is back."""
    whole = parse_reply(TRACE, TEXT).typed.edges
    for case in ("malformed_fenced", "malformed_directions", "malformed_words", "malformed_ids"):
        recorded = RECORDED[case]
        assert parse_reply(recorded.trace, recorded.reply.content).typed.edges == whole, case


@pytest.mark.parametrize(
    ("text", "finish_reason", "kinds"),
    [
        ("", "stop", ["empty_reply"]),
        (" \n", "length", ["empty_reply"]),
        ("[]", "stop", ["wrong_shape"]),
        ("17", "stop", ["wrong_shape"]),
        ("null", "stop", ["wrong_shape"]),
        ('{"nodes": []}', "stop", ["wrong_shape"]),
        ('{"edges": {}, "nodes": []}', "stop", ["wrong_shape"]),
        ('{"graph": {"nodes": [], "edges": []}}', "stop", ["unknown_field", "wrong_shape"]),
        ('{"nodes": [], "edges": []}', "stop", ["missing_node", "no_edges"]),
        ('{"edges": []}', "stop", ["no_roles", "no_edges"]),
        (TEXT[:-1] + ",}", "stop", ["not_json"]),
        (TEXT[:-1], "stop", ["truncated"]),
        ('{"edges', "stop", ["truncated"]),
        (TEXT + " And so", "length", ["prose_around_json", "cut_after_json"]),
        (TEXT, "content_filter", ["cut_after_json"]),
        (f"<think>{TEXT[:-9]} {{}}</think>{TEXT}", "stop", ["prose_around_json"]),
        (TEXT + TEXT, "stop", ["prose_around_json"]),
        ('<think>{"nodes": [], "edges": []}</think>' + TEXT, "stop", ["prose_around_json"]),
        ('{"nodes": [], "edges": []}' + TEXT, "stop", ["several_objects"]),
        ('{"edges": [], ' + TEXT[1:], "stop", ["duplicate_key"]),
        ("[" * 100_000, "stop", ["not_json"]),
        ('{"edges": ' + "[" * 100_000, "stop", ["truncated"]),
        (TEXT.replace('"source": 1,', f'"source": {"9" * 5000},', 1), "stop", ["not_json"]),
        (TEXT.replace("0.8", "NaN"), "stop", ["weight_out_of_range"]),
        (TEXT.replace("0.8", "1e999"), "stop", ["weight_out_of_range"]),
        (TEXT.replace("0.8", "9" * 400), "stop", ["weight_out_of_range"]),
        (TEXT.replace("0.8", "true"), "stop", ["wrong_type"]),
        (TEXT.replace("0.8", '"0.8"'), "stop", ["wrong_type"]),
        (TEXT.replace('"source": 0,', '"source": false,'), "stop", ["wrong_type"]),
        (TEXT.replace('"source": 0,', '"source": 0.0,'), "stop", ["wrong_type"]),
        (TEXT.replace('"source": 0,', '"source": 1e999,'), "stop", ["wrong_type"]),
        (TEXT.replace('"recall"', '["recall"]'), "stop", ["unknown_role"]),
        (TEXT.replace('"recall"', r'"\ud800"'), "stop", ["unknown_role"]),
        (TEXT.replace('[{"id": 0', '[7, {"id": 0'), "stop", ["wrong_type"]),
        (TEXT.replace('[{"source": 1', '[null, {"source": 1', 1), "stop", ["wrong_type"]),
    ],
)
def test_each_fault_is_named_once(text, finish_reason, kinds):
    parsed = parse_reply(TRACE, text, finish_reason)
    assert [problem.kind for problem in parsed.problems] == kinds
    assert (parsed.typed is None) == any(kind in FATAL for kind in kinds)
    for problem in parsed.problems:
        str(problem).encode("utf-8")  # printable, whatever the model wrote
        assert len(str(problem)) < 300


def test_the_example_in_the_prompt_is_no_judgement():
    """A model or server that repeats its instructions has drawn no graph."""
    from rg_helpers.graphs.judge import judge_messages

    echo = "\n".join(message["content"] for message in judge_messages(TRACE))
    assert parse_reply(TRACE, echo).typed is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.sampled_from(["stop", "length"]))
def test_a_reply_cut_anywhere_is_never_taken_for_whole(end, finish_reason):
    parsed = parse_reply(TRACE, TEXT[:end], finish_reason)
    assert parsed.typed is None
    assert parsed.problems[-1].kind == ("truncated" if end > 0 else "empty_reply")


def test_nesting_near_the_recursion_limit_is_read_or_reported():
    for depth in range(700, 1000, 3):
        nested = "[" * depth + "]" * depth
        for text in (TEXT.replace('"recall"', nested), f"{TEXT} {TEXT.replace('0.8', nested)}"):
            assert parse_reply(TRACE, text).problems


def test_ids_counted_from_one_are_seen_in_the_edges_too():
    reply = json.loads(TEXT)
    del reply["nodes"]
    for edge in reply["edges"]:
        edge["source"] += 1
        edge["target"] += 1
    parsed = parse_reply(TRACE, json.dumps(reply))
    assert [problem.kind for problem in parsed.problems] == ["shifted_ids"]


PIECES = ["{", "}", "[", "]", ",", ":", '"', "\\", "9", "-", "0", " ", "null", "true", "```", "é"]
PIECES += ['"source"', '"edges"', '"id": 0', "supports", "answer", '{"edges": []}', "</think>"]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(TEXT)), st.integers(0, 12), st.sampled_from(["", *PIECES])),
        max_size=4,
    )
)
def test_damage_never_raises_and_never_passes_unseen(damage):
    text = TEXT
    for place, removed, added in damage:
        text = text[:place] + added + text[place + removed :]
    parsed = parse_reply(TRACE, text)
    assert (not parsed.problems) == accepted_by_hand(text), text
    assert (parsed.typed is None) == any(problem.fatal for problem in parsed.problems)
    if parsed.typed is not None:
        assert parsed.typed.step_graph().weights.shape == (NODES, NODES)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read(text):
    parsed = parse_reply(TRACE, text)
    assert parsed.typed is None
    assert parsed.problems


ANY_NODE = st.integers(-1, NODES)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            ANY_NODE,
            ANY_NODE,
            st.sampled_from([*RELATIONS, "implies"]),
            st.sampled_from([0, 0.25, 1, 1.5, -1, math.nan]),
        ),
        max_size=12,
    )
)
def test_edges_against_the_rules_written_out(edges):
    """The kept edges and the number of each complaint, computed one edge at a time."""
    nodes = json.loads(TEXT)["nodes"]
    names = ("source", "target", "relation", "weight")
    text = json.dumps({"nodes": nodes, "edges": [dict(zip(names, edge)) for edge in edges]})
    parsed = parse_reply(TRACE, text)

    expected: Counter[str] = Counter()
    kept: dict[tuple[int, int], tuple[str, float]] = {}
    arrows = set()
    for source, target, relation, weight in edges:
        outside = [node for node in (source, target) if node < 0 or node >= NODES]
        bad_weight = not 0 <= weight <= 1
        expected["unknown_node"] += len(outside)
        expected["unknown_relation"] += relation not in RELATIONS
        expected["weight_out_of_range"] += bad_weight
        if outside:
            continue
        arrows.add((source, target))
        fault = None
        if source == target:
            fault = "self_loop"
        elif source > target:
            fault = "backward_edge"
        elif target < PREMISES:
            fault = "edge_into_prompt"
        if fault:
            expected[fault] += 1
        elif relation in RELATIONS and not bad_weight:
            if (source, target) in kept:
                expected["duplicate_edge"] += 1
            kept.setdefault((source, target), (relation, weight))
    reach = np.eye(NODES, dtype=bool)
    for source, target in arrows:
        reach[source, target] = True
    for _ in range(NODES):
        reach = reach @ reach
    together = {tuple(row) for row in reach & reach.T if row.sum() > 1}
    expected["cycle"] += len(together)
    expected["no_edges"] += not kept
    assert Counter(problem.kind for problem in parsed.problems) == +expected
    if kept:
        found = {
            (edge.source, edge.target): (edge.relation, edge.weight) for edge in parsed.typed.edges
        }
        assert found == kept


def test_every_kind_of_problem_says_what_it_is():
    assert all(meaning for meaning in PROBLEM_KINDS.values())
    with pytest.raises(ValueError, match="unknown"):
        JudgeProblem("trace", "a fault nobody has named", "")
