"""Receiver heads: kurtosis against SciPy, planted receivers and position-locked heads."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from tiny_models import ARCHITECTURES, tiny_model, tiny_traces

from rg_helpers.graphs.attention import attention_masses
from rg_helpers.graphs.receiver_heads import (
    fit_receiver_heads,
    kurtosis_table,
    received_attention,
    receiver_heads_graphs,
    receiver_heads_scores,
)
from rg_helpers.graphs.step_graph import normalise_rows


def test_received_by_hand():
    mass = np.array([[9.0, 0, 0, 0], [0.4, 9, 0, 0], [0.2, 0.3, 9, 0], [0.6, 0.5, 0.1, 9]])
    assert received_attention(mass, 1)[:3] == pytest.approx([0.4, 0.4, 0.1])
    found = received_attention(mass, 2)
    assert found[:2] == pytest.approx([0.4, 0.5])
    assert np.isnan(found[2:]).all()
    with pytest.raises(ValueError, match="min_gap"):
        received_attention(mass, 0)


def test_kurtosis_equals_scipy_without_control():
    traces = tiny_traces(3, nodes=9)
    masses = attention_masses(tiny_model("qwen3"), traces)
    found = kurtosis_table(traces, masses, min_gap=2, control="none")
    expected = np.mean(
        [scipy.stats.kurtosis(received_attention(m, 2)[..., :-2], axis=-1) for m in masses], axis=0
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def planted(count: int = 30):
    """Head 0 looks at one random step a trace, head 1 always at node 1, heads 2 and 3 evenly."""
    generator = np.random.default_rng(0)
    traces, masses = tiny_traces(count, nodes=9), []
    for trace in traces:
        nodes = len(trace.nodes)
        mass = generator.uniform(0.8, 1.2, (1, 4, nodes, nodes))
        mass[0, 0, :, generator.integers(2, nodes - 3)] += 20
        mass[0, 1, :, 1] += 20
        masses.append(mass)
    return traces, masses


def test_the_position_control_tells_a_receiver_from_a_place():
    traces, masses = planted()
    plain = kurtosis_table(traces, masses, control="none")[0]
    assert plain[:2].min() > plain[2:].max() + 2
    controlled = kurtosis_table(traces, masses, control="position")[0]
    assert controlled[0] > controlled[1:].max() + 2


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name):
    model, traces = tiny_model(name), tiny_traces(3, nodes=8)
    receivers = fit_receiver_heads(model, traces, most=2)
    assert len(receivers.heads) == 2
    assert receivers.kurtosis.shape == (2, 4)
    assert receivers.kurtosis[receivers.heads[0]] == receivers.kurtosis.max()
    for trace, scores in zip(traces, receiver_heads_scores(model, traces, receivers), strict=True):
        assert scores.shape == (len(trace.nodes),) * 2
        assert np.isfinite(scores).all()
        assert not np.triu(scores).any()
        assert scores.sum() > 0


def test_graphs_are_those_of_the_chosen_heads():
    model, traces = tiny_model("qwen3"), tiny_traces(3, nodes=8)
    receivers = fit_receiver_heads(model, traces[:2], most=2, control="none")
    graph = receiver_heads_graphs(model, traces, receivers)[2]
    (mass,) = attention_masses(model, traces[2:])
    expected = np.mean([normalise_rows(mass[pair]) for pair in receivers.heads], axis=0)
    np.testing.assert_allclose(graph.weights, normalise_rows(expected), atol=1e-5)
    assert graph.method == "receiver_heads"
    layer, head = receivers.heads[0]
    assert graph.choice.startswith(f"layer {layer} head {head}, ")


def test_impossible_fits_are_refused():
    model, traces = tiny_model("qwen3"), tiny_traces(1, nodes=5)
    with pytest.raises(ValueError, match="longer traces"):
        fit_receiver_heads(model, traces, min_gap=3)
    with pytest.raises(ValueError, match="at least one"):
        fit_receiver_heads(model, [])
    with pytest.raises(ValueError, match="most"):
        fit_receiver_heads(model, traces, most=0)
    with pytest.raises(ValueError, match="control"):
        kurtosis_table(traces, [np.zeros((1, 1, 5, 5))], control="rank")
