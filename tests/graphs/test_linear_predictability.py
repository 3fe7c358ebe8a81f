"""Linear predictability: against plain ridge regression on listed pairs, and a planted map."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import ARCHITECTURES, tiny_model, tiny_traces

from rg_helpers.graphs.linear_predictability import (
    HIGHEST,
    LinearMaps,
    fit_linear_maps,
    linear_predictability_graphs,
    linear_predictability_scores,
    predictability,
)
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.graphs.step_states import step_states


def chain(trace) -> StepGraph:
    weights = normalise_rows(np.eye(len(trace.nodes), k=-1))
    return StepGraph(weights, trace.kinds, trace.texts, "gold")


@pytest.mark.parametrize("from_gold", [False, True])
def test_equals_ridge_regression_on_the_list_of_pairs(from_gold):
    model, fit, test = tiny_model("qwen3"), tiny_traces(5, nodes=8), tiny_traces(2, seed=1)
    gold = [chain(trace) for trace in fit] if from_gold else None
    fitted = fit_linear_maps(model, fit, gold, ridge=0.3)
    found = linear_predictability_scores(model, test, fitted)
    states, tested = step_states(model, fit), step_states(model, test)
    for layer in range(3):
        pairs = [
            (states[t][layer, j], states[t][layer, i])
            for t, trace in enumerate(fit)
            for i, node in enumerate(trace.nodes)
            for j in range(i)
            if node.kind in ("step", "answer") and (j == i - 1 or not from_gold)
        ]
        assert fitted.pairs == len(pairs)
        x, y = (np.array(side, dtype=np.float64) for side in zip(*pairs, strict=True))
        x0, y0 = x.mean(0), y.mean(0)
        penalty = 0.3 * x.var(0).mean() * len(x)
        # Ridge regression as least squares with extra rows: sqrt(penalty) I -> 0.
        rows = np.concatenate([x - x0, np.sqrt(penalty) * np.eye(x.shape[1])])
        weights = np.linalg.lstsq(rows, np.concatenate([y - y0, np.zeros_like(rows[-32:])]))[0]
        for number, trace in enumerate(test):
            for i in range(1, len(trace.nodes)):
                for j in range(i):
                    target, source = tested[number][layer, i], tested[number][layer, j]
                    error = ((target - y0 - (source - x0) @ weights) ** 2).sum()
                    null = ((target - y0) ** 2).sum()
                    expected = min(null / error, HIGHEST)
                    assert found[number][layer, i, j] == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name):
    model, traces = tiny_model(name), tiny_traces(3)
    model.train()
    fitted = fit_linear_maps(model, tiny_traces(4, seed=2), pooling="last")
    for trace, scores in zip(
        traces, linear_predictability_scores(model, traces, fitted), strict=True
    ):
        assert scores.shape == (3, len(trace.nodes), len(trace.nodes))
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()
        assert not np.triu(scores).any()
        assert scores.min() >= 0
        assert 0 < scores[:, 3:].max() <= HIGHEST
    assert model.training


def test_a_planted_map_is_a_perfect_prediction_in_one_direction_only():
    generator = np.random.default_rng(0)
    turn = generator.normal(size=(1, 4, 4))
    zero = np.zeros((1, 4))
    fitted = LinearMaps(turn, zero, zero, "mean", 1, False)
    source, other = generator.normal(size=(2, 4))
    states = np.stack([source, other, source @ turn[0], np.zeros(4)])[None]
    scores = predictability(states, fitted)[0]
    assert scores[2, 0] == pytest.approx(HIGHEST)
    assert scores[0, 2] < 2
    assert scores[2, 1] < 2
    assert scores[2, 3] == pytest.approx(1), "a source that predicts the mean has R^2 = 0"
    assert scores[3].tolist() == [0, 0, 0, 0]


def test_graphs_and_refusals():
    model, traces = tiny_model("gpt2"), tiny_traces(3)
    fitted = fit_linear_maps(model, traces, [chain(trace) for trace in traces])
    graph = linear_predictability_graphs(model, traces, fitted, layer=1)[2]
    assert graph.method == "linear_predictability"
    assert graph.choice == "mean of state 1, ridge on 12 gold pairs"
    with pytest.raises(ValueError, match="one graph each"):
        fit_linear_maps(model, traces, [chain(traces[0])])
    with pytest.raises(ValueError, match="negative"):
        fit_linear_maps(model, traces, ridge=-1)
    with pytest.raises(ValueError, match="no pair"):
        fit_linear_maps(model, [])
    small = LinearMaps(fitted.weights[:2], *[fitted.source_mean[:2]] * 2, "mean", 1, False)
    with pytest.raises(ValueError, match="same model"):
        linear_predictability_scores(model, traces, small)
