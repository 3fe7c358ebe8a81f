"""Shared neurons: activations worked out from the weights by hand, sets by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import ARCHITECTURES, tiny_model, tiny_traces
from torch import nn

from rg_helpers.graphs import shared_neurons
from rg_helpers.graphs.shared_neurons import (
    NeuronThresholds,
    fit_neurons,
    jaccard,
    last_projections,
    neuron_strengths,
    shared_neurons_graphs,
    shared_neurons_scores,
)


def blocks(model, name):
    """Every layer's feed-forward module, and its neurons as a function of what enters it."""
    if name == "gpt2":
        layers = [layer.mlp for layer in model.transformer.h]
        return [(mlp, lambda x, m=mlp: m.act(m.c_fc(x))) for mlp in layers]
    if name == "gpt_neox":
        layers = [layer.mlp for layer in model.gpt_neox.layers]
        return [(mlp, lambda x, m=mlp: m.act(m.dense_h_to_4h(x))) for mlp in layers]
    layers = [layer.mlp for layer in model.model.layers]
    return [(mlp, lambda x, m=mlp: m.act_fn(m.gate_proj(x)) * m.up_proj(x)) for mlp in layers]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_strengths_are_mean_absolute_activations(name):
    model, traces = tiny_model(name), tiny_traces(2)
    model.train()
    found = neuron_strengths(model, traces)
    assert model.training
    model.eval()
    entered: dict[int, torch.Tensor] = {}
    made = blocks(model, name)
    hooks = [
        mlp.register_forward_pre_hook(lambda module, inputs, n=n: entered.update({n: inputs[0]}))
        for n, (mlp, _) in enumerate(made)
    ]
    for number, trace in enumerate(traces):
        with torch.no_grad():
            model(torch.tensor([trace.token_ids]))
            for layer, (_, neurons) in enumerate(made):
                activation = neurons(entered[layer])[0].abs().numpy()
                for i, node in enumerate(trace.nodes):
                    expected = activation[node.start : node.end].mean(0)
                    np.testing.assert_allclose(
                        found[number][layer, i], expected, rtol=2e-3, atol=1e-3 * expected.max()
                    )
    for hook in hooks:
        hook.remove()
    assert not any(module._forward_pre_hooks for module in last_projections(model))

    fitted = fit_neurons(model, tiny_traces(3, seed=1), quantile=0.7)
    for trace, scores in zip(traces, shared_neurons_scores(model, traces, fitted), strict=True):
        assert scores.shape == (2, len(trace.nodes), len(trace.nodes))
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()
        assert not np.triu(scores).any()
        assert 0 < scores.max() <= 1


def test_sets_by_hand():
    active = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=bool)
    expected = [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]]
    np.testing.assert_allclose(jaccard(active), expected, rtol=1e-6)


def test_every_neuron_is_active_in_its_own_share_of_nodes(monkeypatch):
    model, fit = tiny_model("qwen3"), tiny_traces(6, nodes=9)
    fitted = fit_neurons(model, fit, quantile=0.8)
    pooled = np.concatenate(neuron_strengths(model, fit), axis=1)
    assert fitted.nodes == pooled.shape[1] == sum(len(trace.nodes) for trace in fit)
    shares = (pooled > fitted.thresholds[:, None]).mean(1)
    assert np.abs(shares - 0.2).max() <= 1 / pooled.shape[1] + 1e-6
    (scores,) = shared_neurons_scores(model, fit[:1], fitted)
    active = neuron_strengths(model, fit[:1])[0] > fitted.thresholds[:, None]
    one, other = set(np.flatnonzero(active[1, 5])), set(np.flatnonzero(active[1, 2]))
    assert scores[1, 5, 2] == pytest.approx(len(one & other) / len(one | other), abs=1e-6)
    monkeypatch.setattr(shared_neurons, "MOST_NODES", 20)
    assert fit_neurons(model, fit).nodes <= 20 + len(fit)


def test_graphs_and_refusals():
    model, traces = tiny_model("gpt2"), tiny_traces(2)
    fitted = fit_neurons(model, traces)
    graph = shared_neurons_graphs(model, traces, fitted, layer=0)[0]
    assert graph.method == "shared_neurons"
    assert graph.choice == "layer 0, above quantile 0.9 of 13 nodes"
    with pytest.raises(ValueError, match="same model"):
        shared_neurons_scores(model, traces, NeuronThresholds(fitted.thresholds[:, 1:], 0.9, 1))
    with pytest.raises(ValueError, match="quantile"):
        fit_neurons(model, traces, quantile=1.0)
    model.transformer.h[1].mlp = nn.Identity()
    with pytest.raises(ValueError, match="found in 1 of them"):
        fit_neurons(model, traces)
