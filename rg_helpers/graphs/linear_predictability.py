"""Linear predictability: how well the state of an earlier node predicts that of a later one.

In every layer one linear map is fitted by ridge regression (Hoerl & Kennard 1970) on pairs of nodes
of training traces, from source state x_j to target state y_i. On a new trace

    error[i, j] = |y_i - (b + W x_j)|^2,        null[i] = |y_i - mean y|^2,
    score[i, j] = null[i] / error[i, j] = 1 / (1 - R^2[i, j]):

how many times smaller the squared error is than that of always predicting the mean. It is one where
the source says nothing (R^2 = 0), less for wild predictions, and at most `HIGHEST`. Unlike a
similarity it has a direction.

Fitted on all earlier -> later pairs the map learns what steps have in common; with `gold` only on
pairs joined by a gold edge, so that it learns what a child takes from its parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rg_helpers.graphs.activation import layer_graphs
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.graphs.step_states import Pooling, step_states
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RIDGE = 0.1
HIGHEST = 1000.0  # a perfect prediction would count infinitely


@dataclass(frozen=True, eq=False)
class LinearMaps:
    """One fitted map a state: weights (states, width, width), means (states, width), float64.

    The prediction of a target from a source row vector x is `target_mean + (x - source_mean) @
    weights`. `pairs` counts what it was fitted on.
    """

    weights: np.ndarray
    source_mean: np.ndarray
    target_mean: np.ndarray
    pooling: Pooling
    pairs: int
    from_gold: bool


def fit_linear_maps(
    model: PreTrainedModel,
    fit: Sequence[Trace],
    gold: Sequence[StepGraph] | None = None,
    *,
    pooling: Pooling = "mean",
    ridge: float = RIDGE,
    batch_size: int | None = None,
    progress: bool = True,
) -> LinearMaps:
    """Fit the maps on pairs (earlier node, later written node) of training traces.

    With `gold`, one graph a trace, only pairs joined by a gold edge are used. `ridge` is the
    penalty in units of the mean variance of the source states' features. Raises `ValueError` where
    there is no pair.
    """
    if ridge < 0:
        raise ValueError(f"ridge={ridge}: the penalty cannot be negative")
    if gold is not None and len(gold) != len(fit):
        raise ValueError(f"{len(fit)} traces but {len(gold)} gold graphs: give one graph each")
    states = step_states(model, fit, pooling, batch_size=batch_size, progress=progress)
    chosen = [
        pair_mask(trace, None if gold is None else gold[number]) for number, trace in enumerate(fit)
    ]
    pairs = int(sum(mask.sum() for mask in chosen))
    if not pairs:
        raise ValueError("no pair of an earlier node and a later step to fit a linear map on")
    sums = _moments(states, chosen)
    source_mean, target_mean = sums["source"] / pairs, sums["target"] / pairs
    width = source_mean.shape[-1]
    covariance = sums["source_source"] / pairs - _outer(source_mean, source_mean)
    shared = sums["source_target"] / pairs - _outer(source_mean, target_mean)
    scale = np.trace(covariance, axis1=1, axis2=2) / width
    penalty = (ridge * scale + 1e-12)[:, None, None] * np.eye(width)
    weights = np.linalg.solve(covariance + penalty, shared)
    return LinearMaps(weights, source_mean, target_mean, pooling, pairs, gold is not None)


def linear_predictability_scores(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    fitted: LinearMaps,
    *,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return how well each source predicts each target: float32 (states, nodes, nodes).

    State 0 are the embeddings. Premises and the question have rows too, although no map was
    fitted for them as targets.
    """
    scores = []
    for states in step_states(
        model, traces, fitted.pooling, batch_size=batch_size, progress=progress
    ):
        if states.shape[::2] != fitted.source_mean.shape:
            raise ValueError(
                f"the maps were fitted on {fitted.source_mean.shape} (states, width), the model "
                f"has {states.shape[::2]}: fit them with the same model"
            )
        scores.append(np.tril(predictability(states, fitted), k=-1).astype(np.float32))
    return scores


def linear_predictability_graphs(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    fitted: LinearMaps,
    *,
    layer: int = -1,
    min_gap: int = 1,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[StepGraph]:
    """Draw the graph of linear predictability after `layer` layers (0 = embeddings, -1 = last)."""
    scores = linear_predictability_scores(
        model, traces, fitted, batch_size=batch_size, progress=progress
    )
    kind = "gold" if fitted.from_gold else "all"
    choice = f"{fitted.pooling} of state {layer}, ridge on {fitted.pairs} {kind} pairs"
    return layer_graphs(traces, scores, layer, "linear_predictability", choice, min_gap)


def pair_mask(trace: Trace, gold: StepGraph | None = None) -> np.ndarray:
    """Return bool (nodes, nodes): earlier source, written target and, with `gold`, an edge."""
    written = np.array([kind in ("step", "answer") for kind in trace.kinds])
    mask = np.tril(np.ones((len(written), len(written)), dtype=bool), k=-1) & written[:, None]
    return mask if gold is None else mask & (gold.weights > 0)


def predictability(states: np.ndarray, fitted: LinearMaps) -> np.ndarray:
    """Return the score of every pair of rows: (states, nodes, width) gives (states, nodes, nodes).

    Squared distances between targets and predictions come from their inner products, so no array
    of pairs x width is made.
    """
    targets = states - fitted.target_mean[:, None]
    predicted = (states - fitted.source_mean[:, None]) @ fitted.weights
    null = (targets**2).sum(-1)[:, :, None]
    lengths = (predicted**2).sum(-1)[:, None, :]
    products = targets @ np.swapaxes(predicted, 1, 2)
    error = np.maximum(null + lengths - 2 * products, null / HIGHEST)
    return np.divide(null, error, out=np.zeros_like(error), where=error > 0)


def _moments(states: Sequence[np.ndarray], chosen: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Sums over chosen pairs, trace by trace: of x, y, x x' and x y', float64."""
    count, _, width = states[0].shape
    sums = {
        "source": np.zeros((count, width)),
        "target": np.zeros((count, width)),
        "source_source": np.zeros((count, width, width)),
        "source_target": np.zeros((count, width, width)),
    }
    for layers, mask in zip(states, chosen, strict=True):
        layers = layers.astype(np.float64)
        as_source = mask.sum(0).astype(np.float64)
        sums["source"] += as_source @ layers
        sums["target"] += mask.sum(1).astype(np.float64) @ layers
        columns = np.swapaxes(layers, 1, 2)
        sums["source_source"] += columns @ (as_source[:, None] * layers)
        sums["source_target"] += columns @ (mask.T.astype(np.float64) @ layers)
    return sums


def _outer(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return one[:, :, None] * other[:, None, :]
