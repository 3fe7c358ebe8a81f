"""Which heads a graph loss supervises: those that already look the right way, or random ones."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rg_helpers.graph_loss.graph_batch import WRITTEN_KINDS
from rg_helpers.graphs.attention import attention_masses
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ChosenHeads = tuple[tuple[int, int], ...]


def head_alignment(masses: Sequence[np.ndarray], gold: Sequence[StepGraph]) -> np.ndarray:
    """Return every head's mean share on gold parents: float64 (layers, heads), in [0, 1].

        mean over steps i that have parents of  sum over parents j of p_ij

    masses: attention (layers, heads, nodes, nodes) of each training trace; gold: its graph. Shares
    are of what goes to earlier nodes. Raises `ValueError` for lengths that do not agree, a graph of
    another size, and graphs without a single step with parents.
    """
    if len(masses) != len(gold) or not gold:
        raise ValueError(
            f"{len(masses)} attention masses and {len(gold)} gold graphs: give one of each for "
            "every training trace, at least one"
        )
    total, rows = 0.0, 0
    for mass, graph in zip(masses, gold, strict=True):
        mass = np.asarray(mass)
        if mass.ndim != 4 or mass.shape[-2:] != graph.weights.shape:
            raise ValueError(
                f"the attention of trace {graph.trace_id!r} is {mass.shape}, its gold graph has "
                f"{len(graph)} nodes: give (layers, heads, nodes, nodes) of the same trace"
            )
        written = np.isin(graph.kinds, WRITTEN_KINDS) & (graph.weights > 0).any(axis=1)
        on_parents = (normalise_rows(mass).astype(np.float64) * (graph.weights > 0)).sum(axis=-1)
        total = total + on_parents[..., written].sum(axis=-1)
        rows += int(written.sum())
    if not rows:
        raise ValueError(
            "no step of these graphs has a parent, so no head can be better aligned than another: "
            "give gold graphs of training problems"
        )
    return np.asarray(total) / rows


def best_aligned_heads(
    masses: Sequence[np.ndarray],
    gold: Sequence[StepGraph],
    count: int = 2,
    *,
    layers: Collection[int] | None = None,
) -> ChosenHeads:
    """Return the `count` (layer, head) pairs with the most attention on gold parents, best first.

    The arguments are those of `head_alignment`, of *training* traces and the model before
    training; `layers` restricts the choice. Strubell et al. (2018, arXiv 1804.08199) choose the
    supervised layer by hand; here training traces say where the model already looks the right way.
    Equal heads: the lower layer first. Raises `ValueError` for more heads than there are.

    Failure mode: a head can look at parents for their position alone; its alignment then rises
    without the model learning to look anything up.
    """
    table = head_alignment(masses, gold)
    wanted = range(table.shape[0]) if layers is None else sorted(set(layers))
    outside = [layer for layer in wanted if not 0 <= layer < table.shape[0]]
    if outside:
        raise ValueError(f"layers {outside} do not exist: the attention has {table.shape[0]}")
    pairs = [(layer, head) for layer in wanted for head in range(table.shape[1])]
    _check_count(count, len(pairs))
    return tuple(sorted(pairs, key=lambda pair: -table[pair])[:count])


def best_aligned_heads_of(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    gold: Sequence[StepGraph],
    count: int = 2,
    *,
    layers: Collection[int] | None = None,
    progress: bool = True,
) -> ChosenHeads:
    """Read the attention of training traces once and return `best_aligned_heads` of it."""
    masses = attention_masses(model, traces, progress=progress)
    return best_aligned_heads(masses, gold, count, layers=layers)


def random_heads(
    layers: int,
    heads: int,
    count: int = 2,
    *,
    seed: int = 0,
    exclude: Sequence[tuple[int, int]] = (),
) -> ChosenHeads:
    """Return `count` different (layer, head) pairs drawn at random, sorted: the control.

    `exclude` leaves pairs out, for example those that the alignment supervises. The same seed gives
    the same heads. Raises `ValueError` for more heads than are left.
    """
    left = [
        (layer, head)
        for layer in range(layers)
        for head in range(heads)
        if (layer, head) not in set(map(tuple, exclude))
    ]
    _check_count(count, len(left))
    return tuple(sorted(random.Random(f"random heads|{seed}").sample(left, count)))


def _check_count(count: int, available: int) -> None:
    if not 1 <= count <= available:
        raise ValueError(f"{count} heads of {available}: choose at least 1, at most {available}")
