"""One method's graphs of one family, drawn once, with every choice made on fit problems.

A method with heads gives four graphs, as in `edge_recovery`: the best single head under its own
name, the best few heads (`_few`), the mean (`_mean`) and the maximum (`_max`) of all. A method with
layers gives the best layer. Each single layer is kept beside them for the table of
layers. Whatever is chosen or fitted, thresholds included, comes from `fit`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from rg_helpers.comparison.pairs import Pairs
from rg_helpers.edge_recovery import Candidates, best_threshold
from rg_helpers.graphs.methods import (
    Given,
    Method,
    Part,
    best_part,
    describe_part,
)


@dataclass(frozen=True)
class Variant:
    """One graph of a method: what was read (`choice`), and the threshold fitted for its edges.

    `layer` is the layer of a row in the table of layers, None for a graph that stands for itself.
    """

    name: str
    method: str
    choice: str
    threshold: float
    layer: int | None = None


@dataclass(frozen=True, eq=False)
class Drawn:
    """The graphs of one method on one family's solutions.

    `weights` float32 (variants, pairs) with rows that sum to one, in the order of `Pairs` of the
    solutions `indices`; `seconds` is what scoring them took, fitting not counted.
    """

    variants: tuple[Variant, ...]
    weights: np.ndarray
    indices: tuple[int, ...]
    seconds: float

    def named(self) -> Iterator[tuple[Variant, np.ndarray]]:
        """Yield the graphs that stand for themselves, without the single layers."""
        for variant, weights in zip(self.variants, self.weights, strict=True):
            if variant.layer is None:
                yield variant, weights

    def layers(self) -> Iterator[tuple[Variant, np.ndarray]]:
        """Yield the graphs of single layers."""
        for variant, weights in zip(self.variants, self.weights, strict=True):
            if variant.layer is not None:
                yield variant, weights

    def described(self) -> dict:
        """Return everything but the weights as plain values for JSON."""
        return {
            "variants": [asdict(variant) for variant in self.variants],
            "indices": list(self.indices),
            "seconds": self.seconds,
        }


def draw(method: Method, given: Given, indices: Sequence[int]) -> Drawn:
    """Draw `method` on `given.traces`, which are the solutions `indices`, and on `given.fit`."""
    if given.fit is None:
        raise ValueError("thresholds are fitted on other problems: give fit=FitData(traces, gold)")
    fitted = method.prepare(given)
    fit_scores = method.scores(replace(given, traces=given.fit.traces, progress=False), fitted)
    start = time.perf_counter()
    scores = method.scores(given, fitted)
    seconds = time.perf_counter() - start
    sides = []
    for traces, found in ((given.fit.traces, fit_scores), (given.traces, scores)):
        pairs = Pairs.of(traces)
        sides.append((pairs, pairs.read(found)))
    (fit_pairs, fit_flat), (pairs, flat) = sides
    gold = Candidates.of(given.fit.gold, [trace.problem_id for trace in given.fit.traces])
    where = fit_pairs.where(gold, range(len(given.fit.traces)))
    variants, weights = [], []
    for name, layer, part in _parts(method, given, fit_scores):
        on_fit = reduced(fit_flat, fit_pairs, method.axes, part)
        threshold = best_threshold(on_fit[where], gold.labels)
        choice = describe_part(method.axes, part, scores[0].shape)
        variants.append(Variant(name, method.name, choice, threshold, layer))
        weights.append(reduced(flat, pairs, method.axes, part))
    return Drawn(tuple(variants), np.stack(weights), tuple(indices), seconds)


def reduced(flat: np.ndarray, pairs: Pairs, axes: str, part: Part | None) -> np.ndarray:
    """Reduce (..., pairs) over layers and heads as `methods.reduce_scores`; rows sum to one."""
    if axes == "none":
        return pairs.normalised(flat)
    if isinstance(part, str):
        over = tuple(range(flat.ndim - 1))
        return pairs.normalised(flat.mean(axis=over) if part == "mean" else flat.max(axis=over))
    chosen = [pairs.normalised(flat[tuple(np.atleast_1d(index))]) for index in part]
    return pairs.normalised(np.mean(chosen, axis=0))


def _parts(
    method: Method, given: Given, fit_scores: Sequence[np.ndarray]
) -> Iterator[tuple[str, int | None, Part | None]]:
    """Yield (name, layer, part) of every variant."""
    name, shape = method.name, fit_scores[0].shape
    if method.axes == "none":
        yield name, None, None
        return
    few = best_part(given.fit, fit_scores, method.axes)
    yield name, None, few[:1]
    if method.axes == "heads":
        yield f"{name}_few", None, few
        yield f"{name}_mean", None, "mean"
        yield f"{name}_max", None, "max"
    for layer in range(shape[0]):
        heads = [(layer, head) for head in range(shape[1])]
        yield f"{name}_layer_{layer}", layer, heads if method.axes == "heads" else [layer]
