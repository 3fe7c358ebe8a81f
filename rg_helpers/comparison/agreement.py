"""Do two graphs rank the sources of a step alike? Within every row, by Spearman's correlation.

Within rows, because rows are what a graph says: for this step, which earlier nodes matter most.
Pooled over rows, two graphs that share nothing but longer and shorter rows would seem to agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rg_helpers.comparison.pairs import Pairs
from rg_helpers.statistics import Bootstrap, bootstrap_mean, cluster_numbers, cluster_weights


@dataclass(frozen=True, eq=False)
class Ranked:
    """A graph's standard ranks within rows (`Pairs.standard_ranks`), for the traces `indices`."""

    ranks: np.ndarray
    pairs: Pairs
    indices: tuple[int, ...]

    @staticmethod
    def of(weights: np.ndarray, pairs: Pairs, indices: Sequence[int]) -> Ranked:
        """Rank flat weights (pairs,)."""
        return Ranked(pairs.standard_ranks(weights), pairs, tuple(indices))

    def rows_of(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (ranks, first pair of every row, trace of every row) for some of the traces."""
        kept = np.isin(self.indices, indices)
        chosen = kept[self.pairs.row_graphs]
        counts = self.pairs.row_targets[chosen]
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        traces = np.asarray(self.indices)[self.pairs.row_graphs[chosen]]
        return self.ranks[kept[self.pairs.graphs]], starts, traces


def shared(one: Ranked, other: Ranked) -> list[int]:
    """Return the traces that both graphs were drawn of, ascending."""
    return sorted(set(one.indices) & set(other.indices))


def row_correlations(one: Ranked, reference: Ranked) -> tuple[np.ndarray, np.ndarray]:
    """Return Spearman's correlation in every row, and the trace of every row.

    Rows that the reference leaves constant are left out: it ranks nothing there. Rows that only
    `one` leaves constant count 0: it should have said something.
    """
    common = shared(one, reference)
    ranks, starts, traces = one.rows_of(common)
    expected, _, _ = reference.rows_of(common)
    values = np.add.reduceat(ranks * expected, starts)
    known = np.add.reduceat(expected**2, starts) > 0.5  # of unit length, or all zero
    return values[known], traces[known]


def agreement(
    one: Ranked, reference: Ranked, problem_ids: Sequence[str], draws: int, seed: int = 0
) -> Bootstrap | None:
    """Return the mean correlation within rows, bootstrapped over problems; None without rows.

    `problem_ids` names the problem of every trace index.
    """
    values, traces = row_correlations(one, reference)
    clusters = cluster_numbers([problem_ids[trace] for trace in traces])
    if not len(values) or clusters.max() < 1:
        return None
    return bootstrap_mean(values, clusters, cluster_weights(int(clusters.max()) + 1, draws, seed))


def agreement_matrix(graphs: Mapping[str, Ranked]) -> dict[tuple[str, str], float]:
    """Return the mean correlation of every two graphs, in both orders of the names.

    Symmetric: rows that either graph leaves constant are left out.
    """
    found = {}
    names = list(graphs)
    for place, name in enumerate(names):
        for other in names[place + 1 :]:
            common = shared(graphs[name], graphs[other])
            if not common:
                continue
            one, starts, _ = graphs[name].rows_of(common)
            two, _, _ = graphs[other].rows_of(common)
            known = np.add.reduceat(one**2, starts) > 0.5
            known &= np.add.reduceat(two**2, starts) > 0.5
            if known.any():
                value = float(np.add.reduceat(one * two, starts)[known].mean())
                found[name, other] = found[other, name] = value
    return found
