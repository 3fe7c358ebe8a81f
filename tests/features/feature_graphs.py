"""Step graphs for the tests of features: random ones for hypothesis, and one worked out by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from rg_helpers.graphs.step_graph import StepGraph, normalise_rows


def step_graph(weights, kinds=None, trace_id="t") -> StepGraph:
    """Normalise weights and put plausible kinds to them."""
    weights = np.asarray(weights, dtype=np.float64)
    nodes = len(weights)
    if kinds is None:
        premises = nodes // 3
        kinds = ["premise"] * premises + ["step"] * (nodes - premises)
        if nodes > 3:
            kinds[premises], kinds[-1] = "question", "answer"
    return StepGraph(normalise_rows(weights), kinds, ["text"] * nodes, "test", "", trace_id)


def random_dag(seed: int, nodes: int, share: float) -> StepGraph:
    """Return a DAG whose edges each exist with probability `share`, some of equal weight."""
    generator = np.random.default_rng(seed)
    weights = generator.choice([1.0, 1.0, 2.0, generator.random()], (nodes, nodes))
    return step_graph(weights * (generator.random((nodes, nodes)) < share), trace_id=f"{seed}")


@st.composite
def dags(draw, most: int = 12) -> StepGraph:
    """Draw a DAG of 1 to `most` nodes, from edgeless to complete."""
    return random_dag(
        draw(st.integers(0, 2**32 - 1)),
        draw(st.integers(1, most)),
        draw(st.sampled_from([0.0, 0.1, 0.2, 0.4, 0.7, 1.0])),
    )


# Two premises, the question, a third premise, three steps, the answer.
#   3 <- 0, 1 (halves)    4 <- 3 (0.75), 0 (0.25)    5 <- 1: used by nobody    6 <- 4, 3 (halves)
# Edges (source -> target): 0>3 1>3 3>4 0>4 1>5 4>6 3>6. Node 2 is the question, used by nobody.
TOY_KINDS = ("premise", "premise", "question", "step", "step", "step", "answer")
TOY = np.zeros((7, 7))
TOY[3, [0, 1]] = 0.5
TOY[4, [3, 0]] = 0.75, 0.25
TOY[5, 1] = 1
TOY[6, [4, 3]] = 0.5
