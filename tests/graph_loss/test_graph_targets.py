"""Targets: gold of gold and of written solutions, shuffled rows, silver ones."""

from __future__ import annotations

import numpy as np
import pytest
from graph_toys import graph_of, trace_of
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_model, tiny_traces

from rg_helpers.graph_loss import graph_batch
from rg_helpers.graph_loss.targets import (
    TARGETS,
    draw_targets,
    gold_targets,
    next_step_targets,
    shuffled_targets,
    silver_intervention_targets,
)
from rg_helpers.graphs.gold import gold_graph
from rg_helpers.graphs.intervention import intervention_graphs
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.problems import FAMILIES, generate_problems, plant_error
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import gold_trace, trace_from_text

TOKENIZER = build_tokenizer()


@pytest.mark.parametrize("family", FAMILIES)
def test_gold_rows_of_gold_solutions_are_the_parents(family):
    problems = generate_problems(family, 4, seed=3, split="train")
    traces = [gold_trace(problem, TOKENIZER) for problem in problems]
    graphs = gold_targets(traces, reversed(problems))
    batch = graph_batch(traces, graphs)
    for row, problem in enumerate(problems):
        for target, node in enumerate(problem.nodes):
            expected = np.zeros(batch.nodes)
            if node.parents:
                expected[list(node.parents)] = 1 / len(node.parents)
            assert np.allclose(batch.gold[row, target].numpy(), expected)


def test_a_written_solution_is_asked_for_what_it_ought_to_use():
    """In a step that reads a wrong operand the target stays the right parents."""
    for problem in generate_problems("arithmetic", 30, seed=5, operations=(2, 3)):
        found = plant_error(problem, "wrong operand", 0)
        if found:
            break
    trace = trace_from_text(
        TOKENIZER, problem.prompt, found.text, family="arithmetic", separator=" ",
        problem_id=problem.problem_id,
    )  # fmt: skip
    (graph,) = gold_targets([trace], [problem])
    assert graph.texts == trace.texts
    assert graph.method == "needed"
    differing = [
        number for number, node in enumerate(problem.nodes) if trace.texts[number] != node.text
    ]
    first = differing[0]
    assert np.array_equal(graph.weights[:first], gold_graph(problem).weights[:first])
    assert graph_batch([trace], [graph]).gold.sum() > 0


def test_a_trace_without_its_problem_is_named():
    problems = generate_problems("program", 2, seed=1)
    traces = [gold_trace(problem, TOKENIZER) for problem in problems]
    with pytest.raises(ValueError, match=f"no gold graph for trace '{traces[1].trace_id}'"):
        gold_targets(traces, problems[:1])


@st.composite
def drawn_graph(draw):
    kinds = ["premise"] * draw(st.integers(1, 4)) + ["step"] * draw(st.integers(1, 4)) + ["answer"]
    trace = trace_of(kinds, f"t{draw(st.integers(0, 99))}")
    weights = np.zeros((len(kinds),) * 2)
    for target in range(1, len(kinds)):
        weights[target, :target] = draw(
            st.lists(st.sampled_from([0, 0, 1, 2]), min_size=target, max_size=target)
        )
    return StepGraph(normalise_rows(weights), trace.kinds, trace.texts, "gold", "", trace.trace_id)


@settings(max_examples=80, deadline=None)
@given(drawn_graph(), st.integers(0, 5))
def test_shuffled_rows_keep_their_weights_and_differ_wherever_they_can(graph, seed):
    (shuffled,) = shuffled_targets([graph], seed)
    assert shuffled.method == "shuffled"
    for target, kind in enumerate(graph.kinds):
        true, other = graph.weights[target], shuffled.weights[target]
        assert (other[target:] == 0).all()  # eligible sources only
        assert sorted(other) == sorted(true)  # as many parents, with the same weights
        if kind == "premise":
            assert np.array_equal(other, true)
        else:
            can_differ = len(set(true[:target].tolist())) > 1
            assert np.array_equal(other, true) != can_differ


def test_shuffling_is_random_over_all_sources_and_repeatable():
    kinds = ["premise"] * 4 + ["step"]
    graphs = [graph_of(trace_of(kinds, f"t{n}"), {4: (0,)}) for n in range(300)]
    chosen = [int(graph.weights[4].argmax()) for graph in shuffled_targets(graphs)]
    counts = np.bincount(chosen, minlength=4)
    assert counts[0] == 0
    assert (np.abs(counts[1:] - 100) < 40).all()
    again = shuffled_targets(graphs)
    assert chosen == [int(graph.weights[4].argmax()) for graph in again]
    other = [int(graph.weights[4].argmax()) for graph in shuffled_targets(graphs, 1)]
    assert chosen != other


@pytest.mark.parametrize("family", FAMILIES)
def test_silver_text_rows_find_more_parents_than_shuffled_rows(family):
    problems = generate_problems(family, 20, seed=9, operations=(3, 6))
    traces = [gold_trace(problem, TOKENIZER) for problem in problems]
    gold = graph_batch(traces, gold_targets(traces, problems)).gold > 0

    def found(name, **needs):
        rows = graph_batch(traces, draw_targets(name, traces, **needs)).gold
        assert ((rows > 0).sum(-1) <= (2 if name == "silver_text" else 99)).all()
        return float(rows[gold].sum() / gold.any(-1).sum())

    assert found("silver_text", progress=False) > found("shuffled", problems=problems) + 0.2


def test_silver_interventions_are_the_strongest_effects():
    model, traces = tiny_model("qwen3"), tiny_traces(2)
    silver = silver_intervention_targets(traces, model, top_k=1, progress=False)
    whole = intervention_graphs(model, traces, effect="direct", progress=False)
    for one, all_effects in zip(silver, whole, strict=True):
        for target, kind in enumerate(one.kinds):
            if kind in ("step", "answer"):
                assert one.weights[target].max() == 1
                assert one.weights[target].argmax() == all_effects.weights[target].argmax()
    named = draw_targets(
        "silver_intervention", traces, model=model, top_k=None, effect="total", progress=False
    )
    total = intervention_graphs(model, traces, effect="total", progress=False)
    assert np.allclose(named[0].weights, total[0].weights)


def test_unknown_names_and_missing_needs_are_named():
    traces = tiny_traces(1)
    with pytest.raises(ValueError, match="did you mean 'shuffled'"):
        draw_targets("shuffle", traces)
    with pytest.raises(ValueError, match=r"gold targets need problems=.*silver_text or"):
        draw_targets("gold", traces)
    with pytest.raises(ValueError, match=r"silver_intervention targets need model="):
        draw_targets("silver_intervention", traces)
    assert all(len(rows.meaning) > 10 and rows.source for rows in TARGETS.values())


def test_next_step_rows_are_those_of_the_step_after():
    """premise, premise, question, step (0), step (1 and 3), answer (4): worked by hand."""
    kinds = ("premise", "premise", "question", "step", "step", "answer")
    weights = np.zeros((6, 6))
    weights[3, 0] = 1
    weights[4, [1, 3]] = 0.5
    weights[5, 4] = 1
    graph = StepGraph(weights, kinds, tuple("abcdef"), "gold")
    (ahead,) = next_step_targets([graph])
    expected = np.zeros((6, 6))
    expected[3, 1] = 1  # the step after it follows from node 1 and from itself: itself is no target
    assert np.array_equal(ahead.weights, expected)
    assert ahead.method == "next_step"
