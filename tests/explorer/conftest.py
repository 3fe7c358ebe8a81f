"""What the tests of the explorer share: example data to look at."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from rg_helpers.explorer import explorer_data
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.problems import check_solution, generate_problem, plant_error
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import trace_from_text

LAYERS, HEADS = 2, 3
MANY = 250  # nodes


@pytest.fixture(scope="session")
def flawed():
    """A written solution with one planted error: problem, trace, verdicts, scores, two graphs."""
    problem = generate_problem("arithmetic", seed=5, operations=4, distractors=2, joins=1)
    planted = plant_error(problem, "wrong operand", seed=0)
    trace = trace_from_text(
        build_tokenizer(),
        problem.prompt,
        planted.text,
        family=problem.family,
        separator=problem.separator,
    )
    checked = check_solution(problem, planted.text)
    rng = np.random.default_rng(0)
    size = len(trace.nodes)
    scores = np.tril(rng.dirichlet([0.08] * size, (LAYERS, HEADS, size)), -1)
    attention = StepGraph(
        normalise_rows(scores.mean((0, 1))),
        trace.kinds,
        trace.texts,
        "attention",
        "mean of 6 heads",
    )
    chain = np.zeros((size, size))
    chain[np.arange(1, size), np.arange(size - 1)] = 1
    previous = StepGraph(chain, trace.kinds, trace.texts, "previous step")
    return SimpleNamespace(
        problem=problem, trace=trace, checked=checked, scores=scores,
        graphs={"attention": attention, "previous step": previous},
    )  # fmt: skip


@pytest.fixture(scope="session")
def flawed_data(flawed):
    return explorer_data(
        flawed.trace,
        flawed.graphs,
        heads={"attention": flawed.scores},
        checked=flawed.checked,
        title="A solution with a planted error",
    )


@pytest.fixture(scope="session")
def large_data():
    """250 lines, each with two true sources; the drawn graph finds many of them."""
    rng = np.random.default_rng(1)
    kinds = ["premise"] * 60 + ["question"] + ["step"] * (MANY - 62) + ["answer"]
    nodes = []
    for number, kind in enumerate(kinds):
        before = max(0, number - 40)
        parents = rng.choice(np.arange(before, number), 2, replace=False) if number > 60 else ()
        text = (
            f"Line {number} says that box {number} holds {7 * number % 90} more pens than it did."
        )
        node = SimpleNamespace(kind=kind, text=text, parents=tuple(sorted(map(int, parents))))
        nodes.append(node)
    weights = np.tril(rng.gamma(0.3, 1.0, (MANY, MANY)), -1)
    for number, node in enumerate(nodes):
        weights[number, list(node.parents)] += 40 * rng.random(len(node.parents))
    graph = StepGraph(
        normalise_rows(weights), tuple(kinds), tuple(node.text for node in nodes), "attention"
    )
    return explorer_data(SimpleNamespace(nodes=nodes), {"attention": graph}, title="250 lines")
