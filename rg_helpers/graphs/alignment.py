"""Alignment of a written solution to a reference: which step plays which step's part, and how well.

Needleman & Wunsch 1970: of all ways to pair the n written steps with the m reference steps in
order, leaving some unpaired, find the one with the highest sum of similarities minus `gap` for
every unpaired step. With F[i, j] the best sum for the first i and the first j steps,

    F[i, j] = max(F[i-1, j-1] + S[i, j],  F[i-1, j] - gap,  F[i, j-1] - gap).

Shape of Reasoning (2025, arXiv 2510.20665) scores traces against an expert's by such an alignment.
It needs a reference, so it grades; it predicts nothing about a problem whose solution is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rg_helpers.traces import Trace

GAP = 0.0


@dataclass(frozen=True)
class Alignment:
    """The best alignment of n written steps to m reference steps.

    `pairs` are (written, reference) positions, in order. `total` is the sum it reaches, gaps
    subtracted. `score` is `total` over max(n, m), which is 1 for a copy and cannot be raised by
    leaving steps out. `similarity` is the mean over pairs alone (0 without any pair): it does not
    see what was left out. `coverage` is the share of reference steps that are paired.
    """

    pairs: tuple[tuple[int, int], ...]
    total: float
    score: float
    similarity: float
    coverage: float


def align(written: np.ndarray, reference: np.ndarray, gap: float = GAP) -> Alignment:
    """Align step embeddings (n, width) to those of a reference (m, width) by cosine similarity.

    Raises `ValueError` where widths differ, a side has no step, or `gap` is negative.
    """
    return align_similarities(cosine_similarities(written, reference), gap)


def align_similarities(similarities: np.ndarray, gap: float = GAP) -> Alignment:
    """Align by similarities (n, m) of your own; row = written step, column = reference step."""
    table = alignment_table(similarities, gap)
    steps, references = similarities.shape
    pairs = []
    i, j = steps, references
    while i and j:
        ways = (table[i - 1, j - 1] + similarities[i - 1, j - 1], table[i - 1, j], table[i, j - 1])
        best = int(np.argmax((ways[0], ways[1] - gap, ways[2] - gap)))  # pairing wins ties
        i, j = i - (best != 2), j - (best != 1)
        if best == 0:
            pairs.append((i, j))
    pairs.reverse()
    total = float(table[-1, -1])
    return Alignment(
        pairs=tuple(pairs),
        total=total,
        score=total / max(steps, references),
        similarity=float(np.mean([similarities[pair] for pair in pairs])) if pairs else 0.0,
        coverage=len(pairs) / references,
    )


def alignment_table(similarities: np.ndarray, gap: float = GAP) -> np.ndarray:
    """Return F: float64 (..., n + 1, m + 1) for similarities (..., n, m).

    Only rows are a loop. Within a row a chain of gaps from the left is a running maximum:
    F[i, j] + gap j = max over k <= j of (best entry to k from the row above) + gap k.
    """
    similarities = np.asarray(similarities, dtype=np.float64)
    if similarities.ndim < 2 or 0 in similarities.shape[-2:]:
        raise ValueError(
            f"similarities of shape {similarities.shape}: expected (..., written steps, reference "
            "steps) with at least one step on each side"
        )
    if not np.isfinite(similarities).all():
        raise ValueError("similarities must be finite: draw the embeddings in float32")
    if gap < 0:
        raise ValueError(f"gap={gap}: a gap costs nothing or something; it does not pay")
    *batch, steps, references = similarities.shape
    slope = gap * np.arange(references + 1)
    table = np.empty((*batch, steps + 1, references + 1))
    table[..., 0, :] = -slope
    for i in range(steps):
        above = table[..., i, :]
        best = above - gap
        paired = above[..., :-1] + similarities[..., i, :]
        best[..., 1:] = np.maximum(best[..., 1:], paired)
        table[..., i + 1, :] = np.maximum.accumulate(best + slope, axis=-1) - slope
    return table


def align_traces(
    written: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
    gap: float = GAP,
) -> list[Alignment]:
    """Align each trace's step embeddings to its own reference, pair by pair."""
    if len(written) != len(references):
        raise ValueError(f"{len(written)} traces but {len(references)} references: give one each")
    return [align(one, other, gap) for one, other in zip(written, references, strict=True)]


def written_rows(trace: Trace, embeddings: np.ndarray) -> np.ndarray:
    """Keep the rows of the steps and the answer; what the prompt says is the same on both sides."""
    if len(embeddings) != len(trace.nodes):
        raise ValueError(
            f"trace {trace.trace_id!r} has {len(trace.nodes)} nodes, the embeddings "
            f"{len(embeddings)} rows: embed this trace's own nodes"
        )
    return embeddings[len(trace.nodes) - len(trace.steps) :]


def cosine_similarities(written: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the cosines (n, m) of the rows of (n, width) and (m, width); a zero row has cosine 0.

    Hidden states share a large common part, which brings all their cosines close to one: subtract
    a mean fitted on training traces first (`StepClusters.standardise`).
    """
    written, reference = np.asarray(written, np.float64), np.asarray(reference, np.float64)
    if written.ndim != 2 or reference.ndim != 2 or written.shape[1] != reference.shape[1]:
        raise ValueError(
            f"embeddings of shapes {written.shape} and {reference.shape} cannot be compared: "
            "expected (steps, width) of the same width, from the same model and layer"
        )

    def unit(rows: np.ndarray) -> np.ndarray:
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)

    return unit(written) @ unit(reference).T
