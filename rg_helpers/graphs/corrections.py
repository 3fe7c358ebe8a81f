"""Sinks and recency: what attention does whatever the text says, and how to take it out.

Attention piles up on BOS and other tokens that mean little (Xiao et al. 2023, arXiv 2309.17453) and
falls off with distance. Each correction below is a pure function on step masses
(..., nodes, nodes), row = target; what has to be fitted is fitted on training traces. None
of them is right in itself: `correction_effects` measures what each does to edge recovery.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rg_helpers.edge_recovery import GraphSet, auroc
from rg_helpers.graphs.step_graph import normalise_rows

SINK_TIMES = 3.0  # a sink receives this many times its even share
SINK_GAP = 4
LEAST_TARGETS = 3
PRIOR_PAIRS = 5.0


def outside_share(mass: np.ndarray) -> np.ndarray:
    """Return the share of attention that goes to no node (BOS, separators), mean over targets.

    (..., nodes, nodes) masses whose rows sum to at most one -> float64 (...,).
    """
    return 1 - np.asarray(mass, dtype=np.float64).sum(axis=-1).mean(axis=-1)


def recency_share(mass: np.ndarray, gap: int = 1) -> np.ndarray:
    """Return the share of the mass on earlier nodes that lies at most `gap` nodes back: (...,).

    Mean over the targets that have farther sources too and look at any; NaN without such a target.
    """
    weights = normalise_rows(mass).astype(np.float64)
    near = (weights - np.tril(weights, k=-gap - 1)).sum(axis=-1)[..., gap + 1 :]
    looking = weights.sum(axis=-1)[..., gap + 1 :] > 0
    count = looking.sum(axis=-1)
    total = np.where(looking, near, 0).sum(axis=-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def drop_outside(mass: np.ndarray) -> np.ndarray:
    """Scale every head's rows over earlier nodes to one: as if BOS and separators got nothing."""
    return normalise_rows(mass)


def drop_nodes(mass: np.ndarray, nodes: Sequence[int]) -> np.ndarray:
    """Return the masses without what the named source nodes receive; others are unchanged."""
    kept = np.array(mass, dtype=np.float32)
    size = kept.shape[-1]
    kept[..., [node for node in nodes if node < size]] = 0
    return kept


def minimum_gap(mass: np.ndarray, gap: int) -> np.ndarray:
    """Return the masses without sources nearer than `gap` nodes (1: without the node itself)."""
    if gap < 1:
        raise ValueError(f"gap must be at least 1 (no self-loops), got {gap}")
    return np.tril(np.asarray(mass, dtype=np.float32), k=-gap)


def sink_nodes(
    masses: Sequence[np.ndarray], times: float = SINK_TIMES, gap: int = SINK_GAP
) -> tuple[int, ...]:
    """Return the places, counted from the first node, that receive far more than their share.

    Only sources at least `gap` nodes back count, since near ones are looked at for being near. A
    target with n such sources gives each 1 / n if it gives evenly. A place is a sink if, over all
    heads, targets and training traces, it receives at least `times` that on average. Judged are
    places with `LEAST_TARGETS` targets or more in at least half of the traces.
    """
    if not masses:
        raise ValueError("sink nodes are found on training traces: give at least one")
    most = max(mass.shape[-1] for mass in masses)
    ratios, seen = np.zeros(most), np.zeros(most)
    for mass in masses:
        nodes = mass.shape[-1]
        weights = normalise_rows(mass, gap).reshape(-1, nodes, nodes).mean(axis=0)
        eligible = np.maximum(0, np.arange(nodes) - gap + 1)
        targets = np.maximum(0, nodes - gap - np.arange(nodes))
        found = targets >= LEAST_TARGETS
        received = (weights * eligible[:, None]).sum(axis=0)
        ratios[:nodes][found] += received[found] / targets[found]
        seen[:nodes] += found
    common = seen >= max(1, len(masses) / 2)
    return tuple(np.flatnonzero(common & (ratios >= times * np.maximum(seen, 1))).tolist())


@dataclass(frozen=True, eq=False)
class ExpectedAttention:
    """What each head pays, on average over training traces, to a node `distance` nodes back.

    table: float64 (..., distances), the leading axes being those of the masses it was fitted on
    (layers and heads, say); entry 0 stands for distance 1.
    """

    table: np.ndarray

    @staticmethod
    def fit(masses: Sequence[np.ndarray], prior: float = PRIOR_PAIRS) -> ExpectedAttention:
        """Average masses (..., nodes, nodes) by distance.

        Distances seen few times are drawn towards the mean over all pairs, as if `prior` pairs of
        that mean had been seen as well.
        """
        if not masses or max(mass.shape[-1] for mass in masses) < 2:
            raise ValueError("expected attention needs training traces with at least two nodes")
        most = max(mass.shape[-1] for mass in masses) - 1
        sums = np.zeros((*masses[0].shape[:-2], most))
        counts = np.zeros(most)
        for mass in masses:
            for distance in range(1, mass.shape[-1]):
                pairs = np.diagonal(mass, -distance, axis1=-2, axis2=-1)
                sums[..., distance - 1] += pairs.sum(axis=-1, dtype=np.float64)
                counts[distance - 1] += pairs.shape[-1]
        overall = sums.sum(axis=-1, keepdims=True) / counts.sum()
        return ExpectedAttention((sums + prior * overall) / (counts + prior))

    def divide(self, mass: np.ndarray) -> np.ndarray:
        """Return how many times the expected attention each pair gets: float32, same shape.

        The diagonal and above become zero; distances beyond the fitted ones use the last.
        """
        if mass.shape[:-2] != self.table.shape[:-1]:
            raise ValueError(
                f"fitted on masses of {self.table.shape[:-1]} (layers, heads), got "
                f"{mass.shape[:-2]}: fit on the same layers and heads"
            )
        rows, columns = np.tril_indices(mass.shape[-1], k=-1)
        distance = np.minimum(rows - columns, self.table.shape[-1]) - 1
        expected = self.table[..., distance]
        given = mass[..., rows, columns]
        divided = np.zeros(mass.shape, dtype=np.float32)
        divided[..., rows, columns] = np.divide(
            given, expected, out=np.zeros_like(expected), where=expected > 0
        )
        return divided


Correct = Callable[[np.ndarray], np.ndarray]


def fit_corrections(masses: Sequence[np.ndarray]) -> dict[str, Correct]:
    """Return every correction by name, fitted on the masses of training traces where it must be."""
    sinks, expected = sink_nodes(masses), ExpectedAttention.fit(masses)
    return {
        "none": lambda mass: minimum_gap(mass, 1),
        "drop BOS": drop_outside,
        f"drop sink nodes {list(sinks)}" if sinks else "drop sink nodes (none found)": (
            lambda mass: drop_nodes(minimum_gap(mass, 1), sinks)
        ),
        "gap of 2": lambda mass: minimum_gap(mass, 2),
        "divide by distance": expected.divide,
    }


def correction_effects(
    fit: GraphSet,
    test: GraphSet,
    reduce: Callable[[np.ndarray], np.ndarray] = lambda mass: mass.mean(axis=(0, 1)),
) -> list[dict[str, float | str]]:
    """Measure, on `test`, edge recovery and recency with each correction fitted on `fit`.

    `reduce` turns corrected masses (layers, heads, nodes, nodes) into (nodes, nodes). Each row has
    the correction's name, the pooled AUROC of gold edges, the same among premise -> step and step
    -> step pairs alone, and the share of weight one node back. A gap of 2 gives the node before no
    weight at all, so true edges to it are lost: its AUROC says what that costs.
    """
    candidates = test.candidates
    rows: list[dict[str, float | str]] = []
    for name, correct in fit_corrections(fit.masses).items():
        weights = [normalise_rows(reduce(correct(mass))) for mass in test.masses]
        scores = candidates.scores(weights)
        prompt = candidates.from_prompt
        rows.append(
            {
                "correction": name,
                "auroc": auroc(scores, candidates.labels),
                "prompt_auroc": auroc(scores[prompt], candidates.labels[prompt]),
                "step_auroc": auroc(scores[~prompt], candidates.labels[~prompt]),
                "recency_share": float(np.nanmean([recency_share(w) for w in weights])),
            }
        )
    return rows
