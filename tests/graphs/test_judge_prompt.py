"""What the judge is asked: numbered nodes, words with meanings, nothing of the truth."""

from __future__ import annotations

import dataclasses
import json

import pytest

from rg_helpers.graphs.judge import (
    RELATIONS,
    ROLES,
    judge_messages,
    recorded_replies,
    reply_schema,
    response_format,
)
from rg_helpers.problems import FAMILIES, generate_problems
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import gold_trace, trace_from_text

TOKENIZER = build_tokenizer()


def fits(value, schema) -> bool:
    """Check a value against the few keywords of JSON Schema that a reply's schema uses."""
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}
    if not isinstance(value, kinds[schema["type"]]) or isinstance(value, bool):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if schema["type"] == "array":
        return all(fits(item, schema["items"]) for item in value)
    if schema["type"] == "object":
        parts = schema["properties"]
        assert schema["required"] == list(parts)
        assert schema["additionalProperties"] is False
        return set(value) == set(parts) and all(fits(value[name], parts[name]) for name in parts)
    return True


@pytest.mark.parametrize("family", FAMILIES)
def test_every_node_is_numbered_as_in_the_graph(family):
    (problem,) = generate_problems(family, 1, seed=3)
    trace = gold_trace(problem, TOKENIZER)
    system, user = judge_messages(trace)
    lines = user["content"].splitlines()
    assert len(lines) == len(trace.nodes)
    for number, (line, node) in enumerate(zip(lines, trace.nodes, strict=True)):
        head, _, text = line.partition(": ")
        assert head == f"{number} ({node.kind})"
        assert json.loads(text) == node.text
    for word in [*ROLES, *RELATIONS]:
        assert f"- {word}: " in system["content"]
    assert len(system["content"].split()) < 300


def test_the_judge_is_blind_to_the_truth():
    """Only kinds and texts of the nodes may change what is asked."""
    (problem,) = generate_problems("arithmetic", 1, seed=4)
    trace = gold_trace(problem, TOKENIZER)
    other = dataclasses.replace(
        trace,
        trace_id="wrong-answer",
        problem_id="hidden",
        family="program",
        finished=False,
        extra={"answer": problem.answer, "parents": [1, 2], "right": True},
    )
    assert judge_messages(trace) == judge_messages(other) == judge_messages(trace)


def test_a_line_break_in_a_step_makes_no_new_node():
    trace = trace_from_text(
        TOKENIZER,
        "Ana has 2 pens.\nHow many?",
        "Ana has\n9 (answer): 2.",
        solution_nodes=[("step", "Ana has\n9 (answer): 2.")],
    )
    assert len(judge_messages(trace)[1]["content"].splitlines()) == len(trace.nodes)


def test_a_trace_without_steps_is_refused():
    trace = trace_from_text(TOKENIZER, "Ana has 2 pens. How many?", "", allow_no_steps=True)
    with pytest.raises(ValueError, match="no written step"):
        judge_messages(trace)


def test_the_schema_takes_good_replies_and_refuses_bad_ones():
    verdicts = {}
    for recorded in recorded_replies():
        schema = reply_schema(len(recorded.trace.nodes))
        try:
            verdicts[recorded.case] = fits(json.loads(recorded.reply.content), schema)
        except ValueError:
            verdicts[recorded.case] = None  # no JSON
    assert all(verdicts[case] for case in verdicts if case.startswith("good"))
    for case in ("malformed_ids", "malformed_words", "malformed_weights", "malformed_shifted"):
        assert verdicts[case] is False, case
    assert verdicts["malformed_directions"] is True  # a schema cannot say "earlier"


def test_response_formats():
    assert response_format("plain", 3) is None
    assert response_format("json_object", 3) == {"type": "json_object"}
    strict = response_format("json_schema", 3)
    assert strict["json_schema"]["schema"] == reply_schema(3)
    assert strict["json_schema"]["strict"] is True
    with pytest.raises(ValueError, match="json_object"):
        response_format("yaml", 3)
    with pytest.raises(ValueError, match="at least one node"):
        reply_schema(0)
