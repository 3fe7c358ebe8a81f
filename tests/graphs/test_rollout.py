"""Rollout: against products of whole eager attention matrices, and by hand on a toy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import ARCHITECTURES, tiny_model, tiny_traces

from rg_helpers.graphs.rollout import (
    rank_agreement,
    roll_out,
    rollout_graphs,
    rollout_masses,
    rollout_scores,
)


@pytest.mark.parametrize("name", ["qwen3", "gpt2", "gemma3"])
def test_equals_the_product_of_eager_attention_between_tokens(name):
    model, trace = tiny_model(name), tiny_traces(1)[0]
    model.set_attn_implementation("eager")
    with torch.no_grad():
        outputs = model(torch.tensor([trace.token_ids]), output_attentions=True)
    model.set_attn_implementation("sdpa")
    rolled = np.eye(len(trace))
    (found,) = rollout_masses(model, [trace])
    for layer, attention in enumerate(outputs.attentions):
        rolled = (attention[0].mean(0).double().numpy() + np.eye(len(trace))) / 2 @ rolled
        for i, target in enumerate(trace.nodes):
            for j, source in enumerate(trace.nodes):
                block = rolled[target.start : target.end, source.start : source.end]
                assert found[layer, i, j] == pytest.approx(block.sum(1).mean(), abs=1e-5)
    assert found.std() > 0.05


@pytest.mark.parametrize("level", ["tokens", "steps"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name, level):
    model, traces = tiny_model(name), tiny_traces(3)
    batched = rollout_scores(model, traces, level=level)
    for trace, scores in zip(traces, batched, strict=True):
        nodes = len(trace.nodes)
        assert scores.shape == (2, nodes, nodes)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()
        assert not np.triu(scores).any()
        assert scores[:, 1:].sum() > 0
        assert scores.sum(-1).max() <= 1 + 1e-5
    alone = rollout_scores(model, traces, level=level, batch_size=1)
    for one, other in zip(alone, batched, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_two_layers_by_hand():
    first = [[1.0, 0, 0], [0.5, 0.5, 0], [0, 1, 0]]
    second = [[1.0, 0, 0], [0, 1, 0], [0, 0.5, 0.5]]
    mass = np.array([[first, first], [second, second]], dtype=np.float32)
    found = roll_out(mass)
    assert found[0, 2].tolist() == [0, 0.5, 0.5]
    # Node 2 keeps 3/4 of [0, 1/2, 1/2] and takes 1/4 of node 1's [1/4, 3/4, 0].
    assert found[1, 2] == pytest.approx([1 / 16, 3 / 16 + 3 / 8, 3 / 8])


def test_one_token_per_node_makes_both_levels_equal():
    model, trace = tiny_model("qwen3"), tiny_traces(1)[0]
    mass = np.zeros((2, 2, 3, 3), dtype=np.float32)
    assert rank_agreement(np.arange(9.0).reshape(3, 3), mass[0, 0]) != 1
    exact, steps = (rollout_scores(model, [trace], level=x)[0][-1] for x in ("tokens", "steps"))
    assert np.abs(exact - steps).max() > 1e-3, "the approximation is not told apart on this trace"
    single = type(trace)(
        trace.trace_id,
        trace.problem_id,
        trace.family,
        trace.prompt,
        trace.solution,
        trace.token_ids,
        0,
        [type(trace.nodes[0])("step", "x", t, t + 1) for t in range(len(trace))],
    )
    exact, steps = (rollout_scores(model, [single], level=x)[0] for x in ("tokens", "steps"))
    np.testing.assert_allclose(exact, steps, atol=1e-5)
    assert rank_agreement(exact[-1], steps[-1]) > 0.99


def test_graphs_say_how_they_were_drawn_and_refuse_the_impossible():
    model, traces = tiny_model("qwen3"), tiny_traces(2)
    graph = rollout_graphs(model, traces, layer=0)[1]
    assert (graph.method, graph.choice) == ("rollout", "tokens, layers 0 to 0")
    assert np.allclose(graph.weights[1:].sum(1), 1, atol=1e-4)
    gapped = rollout_graphs(model, traces, min_gap=2)[1]
    assert gapped.choice == "tokens, layers 0 to 1"
    assert not np.diag(gapped.weights, -1).any()
    with pytest.raises(ValueError, match="layer 2 does not exist"):
        rollout_graphs(model, traces, layer=2)
    with pytest.raises(ValueError, match="level"):
        rollout_masses(model, traces, level="words")
    assert np.isnan(rank_agreement(np.zeros((4, 4)), np.eye(4)))
