"""The controls that stand beside every method, as flat weights in the order of `Pairs`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rg_helpers.comparison.drawn import Drawn, Variant
from rg_helpers.comparison.pairs import Pairs
from rg_helpers.edge_recovery import Candidates, best_threshold
from rg_helpers.graphs.controls import (
    PositionOnly,
    previous_step_graph,
    random_graph,
)
from rg_helpers.graphs.methods import FitData
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.traces import Trace

CONTROLS = ("previous_step", "position_only", "random")
REWIRED = "rewired"  # of the method's own graph, so every method has another one
ROUNDS = 600  # after which more rounds move no more gold weight (see the test)


def draw_controls(
    traces: Sequence[Trace], fit: FitData, indices: Sequence[int], seed: int = 0
) -> Drawn:
    """Draw the controls that see no content: they read node kinds and positions alone."""
    position = PositionOnly.fit(fit.gold)
    ways = {
        "previous_step": previous_step_graph,
        "position_only": position.graph,
        "random": lambda graph: random_graph(graph, seed),
    }
    choices = {
        "position_only": f"counted on {len(fit.gold)} other graphs",
        "random": f"seed {seed}",
    }
    pairs, fit_pairs = Pairs.of(traces), Pairs.of(fit.traces)
    gold = Candidates.of(fit.gold, [trace.problem_id for trace in fit.traces])
    where = fit_pairs.where(gold, range(len(fit.traces)))
    blank, fit_blank = [_blank(trace) for trace in traces], [_blank(trace) for trace in fit.traces]
    variants, weights = [], []
    for name, way in ways.items():
        on_fit = fit_pairs.read([way(graph).weights for graph in fit_blank])
        threshold = best_threshold(on_fit[where], gold.labels)
        variants.append(Variant(name, name, choices.get(name, ""), threshold))
        weights.append(pairs.read([way(graph).weights for graph in blank]))
    return Drawn(tuple(variants), np.stack(weights), tuple(indices), 0.0)


def rewired(weights: np.ndarray, pairs: Pairs, seed: int = 0, rounds: int = ROUNDS) -> np.ndarray:
    """Rewire a method's own graphs (pairs,): same row and column sums, other partners.

    The moves are those of `graphs.controls.rewired_graph(keep="strength")`: a random part of the
    weight goes round a rectangle of two written rows and two columns before both. Here all
    rectangles of a random pairing of rows and of columns move at once, in all graphs; they share no
    entry.
    """
    generator = np.random.default_rng(seed)
    given, nodes = np.asarray(pairs.given), np.asarray(pairs.nodes)
    row = pairs.targets - given[pairs.graphs]
    rows, columns = int((nodes - given).max()), int(nodes.max())
    table = np.zeros((rows, columns, len(nodes)))  # graphs last: the moves then run along memory
    table[row, pairs.sources, pairs.graphs] = weights
    targets = given + np.arange(rows)[:, None]
    before = np.where(targets < nodes, targets, 0)  # (rows, graphs): how many columns a row has
    for _ in range(rounds):
        i, k = _paired(generator, rows)
        j, m = _paired(generator, columns)
        allowed = np.maximum(j, m)[:, None] < np.minimum(before[i], before[k])[:, None, :]
        i, k = i[:, None], k[:, None]
        first, second, third, fourth = table[i, j], table[k, m], table[i, m], table[k, j]
        most, least = np.minimum(first, second), -np.minimum(third, fourth)
        moved = least + generator.random(most.shape, dtype=np.float32) * (most - least)
        moved *= allowed
        table[i, j], table[k, m] = first - moved, second - moved
        table[i, m], table[k, j] = third + moved, fourth + moved
    return np.maximum(table[row, pairs.sources, pairs.graphs], 0).astype(np.float32)


def _paired(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a random pairing of 0 .. count - 1 as two arrays; of an odd number one stays out."""
    order = generator.permutation(count)
    half = count // 2
    return order[:half], order[half : 2 * half]


def square(weights: np.ndarray, pairs: Pairs) -> list[np.ndarray]:
    """Turn flat weights (pairs,) back into one float32 (nodes, nodes) a trace."""
    bounds = np.searchsorted(pairs.graphs, np.arange(len(pairs.nodes) + 1))
    matrices = []
    for number, nodes in enumerate(pairs.nodes):
        part = slice(bounds[number], bounds[number + 1])
        matrix = np.zeros((nodes, nodes), dtype=np.float32)
        matrix[pairs.targets[part], pairs.sources[part]] = weights[part]
        matrices.append(matrix)
    return matrices


def _blank(trace: Trace) -> StepGraph:
    nodes = len(trace.nodes)
    return StepGraph(np.zeros((nodes, nodes)), trace.kinds, trace.texts, "", "", trace.trace_id)
