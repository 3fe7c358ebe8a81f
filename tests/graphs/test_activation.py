"""Similarity and kernel alignment: by definition on small arrays, and on many architectures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import ARCHITECTURES, tiny_model, tiny_traces

from rg_helpers.graphs.activation import (
    Centre,
    cka_graphs,
    cka_scores,
    cosines,
    fit_centre,
    kernel_alignment,
    similarity_graphs,
    similarity_scores,
)


def states_by_hand(model, trace) -> list[np.ndarray]:
    with torch.no_grad():
        output = model(torch.tensor([trace.token_ids]), output_hidden_states=True)
    return [states[0].double().numpy() for states in output.hidden_states]


def cka_by_definition(one: np.ndarray, other: np.ndarray) -> float:
    """Kornblith et al. 2019, equation 4, with features in the place of examples."""
    width = one.shape[1]
    centring = np.eye(width) - np.ones((width, width)) / width
    kernels = [centring @ (states.T @ states) @ centring for states in (one, other)]

    def hsic(k, m):
        return np.trace(k @ centring @ m @ centring) / (width - 1) ** 2

    first, second = kernels
    return hsic(first, second) / np.sqrt(hsic(first, first) * hsic(second, second))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_against_the_definitions(name):
    model, traces = tiny_model(name), tiny_traces(2)
    model.train()
    centre = fit_centre(model, tiny_traces(2, seed=1))
    assert centre.states.shape == (3, 32)
    plain, centred = similarity_scores(model, traces), similarity_scores(model, traces, centre)
    aligned, around = cka_scores(model, traces), cka_scores(model, traces, centre)
    assert model.training
    model.eval()
    for number, trace in enumerate(traces):
        layers = states_by_hand(model, trace)
        for found in (plain, centred, aligned, around):
            assert found[number].shape == (3, len(trace.nodes), len(trace.nodes))
            assert found[number].dtype == np.float32
            assert np.isfinite(found[number]).all()
            assert not np.triu(found[number]).any()
            assert found[number].min() >= 0
            assert found[number].max() <= 1
            assert found[number][:, -1].sum() > 0
        for layer, states in enumerate(layers):
            shifted = states - centre.states[layer]
            for i, j in ((4, 1), (5, 4), (2, 0)):
                one, other = (trace.nodes[k] for k in (i, j))
                for kept, found, aligning in (
                    (states, plain, aligned),
                    (shifted, centred, around),
                ):
                    x, y = kept[one.start : one.end], kept[other.start : other.end]
                    a, b = x.mean(0), y.mean(0)
                    cosine = a @ b / np.sqrt((a @ a) * (b @ b))
                    assert found[number][layer, i, j] == pytest.approx(max(0, cosine), abs=2e-3)
                    expected = cka_by_definition(x, y)
                    assert aligning[number][layer, i, j] == pytest.approx(expected, abs=1e-3)


def test_the_centre_is_the_mean_over_all_node_tokens():
    model, traces = tiny_model("qwen3"), tiny_traces(2)
    centre = fit_centre(model, traces, layers=[1], batch_size=1)
    tokens = [
        states_by_hand(model, trace)[1][node.start : node.end]
        for trace in traces
        for node in trace.nodes
    ]
    pooled = np.concatenate(tokens)
    assert centre.tokens == len(pooled)
    np.testing.assert_allclose(centre.states[0], pooled.mean(0), rtol=1e-3, atol=1e-4)


def test_alignment_by_hand():
    # Node 0 holds one token, node 1 two in the same plane, node 2 one at right angles to both.
    states = torch.tensor([[1.0, -1, 0, 0], [1.0, -1, 0, 0], [0.0, 0, 2, -2], [1.0, 1, -1, -1]])
    member = torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]])
    found = kernel_alignment(states, member)
    # <K0, K1> = 2^2, |K0| = 2, |K1| = sqrt(2^2 + 8^2)
    assert found[0, 1] == pytest.approx(4 / (2 * np.sqrt(68)))
    assert found[0, 0] == pytest.approx(1)
    assert found[2, :2].tolist() == [0, 0]
    turned = states @ torch.eye(4)[[1, 0, 3, 2]] * 3  # features permuted, all scaled: invariant
    torch.testing.assert_close(kernel_alignment(turned, member), found)


def test_a_shared_direction_hides_everything_until_it_is_subtracted():
    generator = np.random.default_rng(0)
    states = generator.normal(size=(6, 40)).astype(np.float32)
    offset = 30 * generator.normal(size=40).astype(np.float32)
    hidden = cosines(states + offset)
    assert hidden.min() > 0.99
    np.testing.assert_allclose(cosines(states + offset - offset), cosines(states), atol=1e-4)
    assert cosines(np.zeros((2, 3))).tolist() == [[0, 0], [0, 0]]


def test_graphs_and_refusals():
    model, traces = tiny_model("gpt2"), tiny_traces(2)
    centre = fit_centre(model, traces)
    graph = similarity_graphs(model, traces, centre, layer=1)[1]
    assert (graph.method, graph.choice) == ("similarity", "mean of state 1, centred")
    graph = cka_graphs(model, traces, min_gap=2)[1]
    assert (graph.method, graph.choice) == ("cka", "state -1, not centred")
    assert not np.diag(graph.weights, -1).any()
    with pytest.raises(ValueError, match="the model has 3"):
        similarity_scores(model, traces, Centre(centre.states[:2], 9))
    with pytest.raises(ValueError, match="layer 3 does not exist"):
        similarity_graphs(model, traces, layer=3)
    with pytest.raises(ValueError, match="got none"):
        fit_centre(model, [])
