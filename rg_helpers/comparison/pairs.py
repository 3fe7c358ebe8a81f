"""All (written target, earlier source) pairs of many traces as one flat array.

A comparison reads every graph many times: against several gold graphs, by difficulty, beside
several controls, and against the other graphs. A flat float32 array a graph (or a layer, or a
head) makes each of these an indexing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rg_helpers.edge_recovery import Candidates
from rg_helpers.traces import Trace


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs of `traces`, in the order trace, target, source; arrays are (pairs,) or (rows,).

    A row is one written node of one trace, with all nodes before it as sources. `row_graphs`,
    `row_targets` and `row_starts` (rows,) say whose row it is and where its pairs begin;
    `graphs`, `targets`, `sources` and `rows` (pairs,) say the same of every pair.
    """

    row_graphs: np.ndarray
    row_targets: np.ndarray
    row_starts: np.ndarray
    graphs: np.ndarray
    targets: np.ndarray
    sources: np.ndarray
    rows: np.ndarray
    nodes: tuple[int, ...]  # per trace
    given: tuple[int, ...]  # per trace: premises and question, which are no targets

    def __len__(self) -> int:
        return len(self.graphs)

    @staticmethod
    def of(traces: Sequence[Trace]) -> Pairs:
        """List the pairs of traces; raises `ValueError` where no trace has a written node."""
        nodes = tuple(len(trace.nodes) for trace in traces)
        given = tuple(len(trace.nodes) - len(trace.steps) for trace in traces)
        row_graphs, row_targets = [], []
        for number, (first, count) in enumerate(zip(given, nodes, strict=True)):
            row_graphs += [number] * (count - first)
            row_targets += range(first, count)
        if not row_targets:
            raise ValueError(f"none of the {len(traces)} traces has a written node to compare")
        targets = np.array(row_targets, dtype=np.int64)  # a row has as many sources as its number
        starts = np.concatenate([[0], np.cumsum(targets)[:-1]])
        rows = np.repeat(np.arange(len(targets)), targets)
        return Pairs(
            row_graphs=np.array(row_graphs, dtype=np.int64),
            row_targets=targets,
            row_starts=starts,
            graphs=np.repeat(row_graphs, targets),
            targets=np.repeat(targets, targets),
            sources=np.arange(len(rows)) - starts[rows],
            rows=rows,
            nodes=nodes,
            given=given,
        )

    def read(self, scores: Sequence[np.ndarray]) -> np.ndarray:
        """Flatten one (..., nodes, nodes) array a trace to (..., pairs), float32."""
        if len(scores) != len(self.nodes):
            raise ValueError(f"{len(scores)} score matrices for {len(self.nodes)} traces")
        parts = []
        for number, (matrix, count) in enumerate(zip(scores, self.nodes, strict=True)):
            if matrix.shape[-2:] != (count, count):
                raise ValueError(
                    f"trace {number} has {count} nodes but scores of shape {matrix.shape}: "
                    "expected (..., nodes, nodes)"
                )
            targets, sources = np.tril_indices(count, k=-1)
            written = targets >= self.given[number]
            parts.append(matrix[..., targets[written], sources[written]])
        return np.concatenate(parts, axis=-1).astype(np.float32)

    def normalised(self, flat: np.ndarray) -> np.ndarray:
        """Scale every row of (..., pairs) to sum to one; rows of zeros stay, as in a StepGraph."""
        sums = np.add.reduceat(flat.astype(np.float64), self.row_starts, axis=-1)
        if self.row_targets.min() == 0:  # reduceat gives an empty row the next row's first entry
            sums[..., self.row_targets == 0] = 0
        divisor = sums[..., self.rows]
        shares = np.divide(flat, divisor, out=np.zeros(flat.shape), where=divisor > 0)
        return shares.astype(np.float32)

    def where(self, candidates: Candidates, traces: Sequence[int]) -> np.ndarray:
        """Return where the candidates stand here; their graph k is trace `traces[k]`."""
        graphs = np.asarray(traces, dtype=np.int64)[candidates.graphs]
        given = np.asarray(self.given)
        first_rows = np.concatenate([[0], np.cumsum(np.asarray(self.nodes) - given)[:-1]])
        rows = first_rows[graphs] + candidates.targets - given[graphs]
        return self.row_starts[rows] + candidates.sources

    def standard_ranks(self, flat: np.ndarray) -> np.ndarray:
        """Return (pairs,) ranks within rows, centred and of unit length; zero in constant rows.

        The sum of the product of two such arrays over a row is Spearman's rank correlation there
        (Spearman 1904; ties get their mean rank).
        """
        order = np.lexsort((flat, self.rows))
        values, rows = flat[order], self.rows[order]
        first_of_tie = np.ones(len(order), dtype=bool)
        first_of_tie[1:] = (values[1:] != values[:-1]) | (rows[1:] != rows[:-1])
        tie = np.cumsum(first_of_tie) - 1
        mean_place = np.bincount(tie, np.arange(len(order))) / np.bincount(tie)
        ranks = np.empty(len(order))
        ranks[order] = mean_place[tie]
        counts = np.maximum(self.row_targets, 1)
        ranks -= (np.bincount(self.rows, ranks, len(counts)) / counts)[self.rows]
        lengths = np.sqrt(np.bincount(self.rows, ranks**2, len(counts)))[self.rows]
        return np.divide(ranks, lengths, out=np.zeros(len(ranks)), where=lengths > 1e-9)
