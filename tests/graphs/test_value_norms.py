"""Value norms: against eager attention times norms, token by token, on many architectures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import ARCHITECTURES, tiny_model, tiny_traces
from torch import nn

from rg_helpers.graphs.step_graph import normalise_rows
from rg_helpers.graphs.value_norms import (
    transformed_norms,
    value_norm_masses,
    value_norms_graphs,
    value_norms_scores,
)


def values_by_head(model, name, hidden, layer) -> list[torch.Tensor]:
    """Every query head's value vectors (tokens, width), split off the projection by hand."""
    if name == "gpt2":
        attention = model.transformer.h[layer].attn
        values = attention.c_attn(hidden)[:, 64:]
        return [values[:, 8 * head : 8 * head + 8] for head in range(4)]
    attention = model.model.layers[layer].self_attn
    values = attention.v_proj(hidden)
    return [values[:, 16 * (head // 2) : 16 * (head // 2) + 16] for head in range(4)]


def output_rows(model, name, layer, head) -> torch.Tensor:
    if name == "gpt2":
        return model.transformer.h[layer].attn.c_proj.weight[8 * head : 8 * head + 8]
    return model.model.layers[layer].self_attn.o_proj.weight.T[16 * head : 16 * head + 16]


@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_equals_the_norm_of_every_attended_vector(name):
    model, trace = tiny_model(name), tiny_traces(1)[0]
    entered: dict[int, torch.Tensor] = {}
    layers = model.transformer.h if name == "gpt2" else model.model.layers
    for number, layer in enumerate(layers):
        inner = layer.attn.c_attn if name == "gpt2" else layer.self_attn.v_proj
        inner.register_forward_pre_hook(
            lambda module, inputs, n=number: entered.update({n: inputs[0]})
        )
    model.set_attn_implementation("eager")
    with torch.no_grad():
        outputs = model(torch.tensor([trace.token_ids]), output_attentions=True)
        expected = np.zeros((2, 4, len(trace.nodes), len(trace.nodes)))
        for layer in range(2):
            hidden = entered[layer][0]
            vectors = values_by_head(model, name, hidden, layer)
            for head in range(4):
                attention = outputs.attentions[layer][0, head]
                carried = vectors[head] @ output_rows(model, name, layer, head)
                for i, target in enumerate(trace.nodes):
                    for j, source in enumerate(trace.nodes):
                        total = 0.0
                        for t in range(target.start, target.end):
                            for s in range(source.start, source.end):
                                total += float((attention[t, s] * carried[s]).norm())
                        expected[layer, head, i, j] = total / (target.end - target.start)
    model.set_attn_implementation("sdpa")
    (found,) = value_norm_masses(model, [trace])
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5 * expected.max()
    assert np.abs(found / found.sum(-1, keepdims=True)).std() > 0.05


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name):
    model, traces = tiny_model(name), tiny_traces(3)
    batched = value_norms_scores(model, traces)
    for trace, scores in zip(traces, batched, strict=True):
        nodes = len(trace.nodes)
        assert scores.shape == (2, 4, nodes, nodes)
        assert np.isfinite(scores).all()
        assert (scores >= 0).all()
        assert not np.triu(scores).any()
        assert scores[:, :, 1:].sum() > 0
    for one, other in zip(value_norms_scores(model, traces, batch_size=1), batched, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_chosen_layers_and_graphs():
    model, traces = tiny_model("qwen3"), tiny_traces(2)
    model.train()
    everything = value_norms_scores(model, traces)
    second = value_norms_scores(model, traces, layers=[-1])
    assert model.training
    np.testing.assert_allclose(second[1][0], everything[1][1], rtol=1e-5)
    graph = value_norms_graphs(model, traces, [(1, 2)])[1]
    assert (graph.method, graph.choice) == ("value_norms", "layer 1 head 2")
    np.testing.assert_allclose(graph.weights, normalise_rows(everything[1][1, 2]), atol=1e-5)


def test_the_bias_of_the_projection_carries_nothing():
    module = nn.Module()
    module.o_proj = nn.Linear(4, 3)
    value = torch.randn(1, 1, 5, 2, generator=torch.Generator().manual_seed(0))
    found = transformed_norms(module, value, heads=2)
    rows = module.o_proj.weight.T
    expected = torch.stack(
        [(value[0, 0] @ rows[:2]).norm(dim=-1), (value[0, 0] @ rows[2:]).norm(dim=-1)]
    )
    torch.testing.assert_close(found[0], expected)
    with pytest.raises(ValueError, match="output projection"):
        transformed_norms(nn.Module(), value, heads=2)
