"""Step states: pooled by hand from one unpadded forward pass, on many architectures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import ARCHITECTURES, tiny_model, tiny_traces

from rg_helpers.graphs.step_states import step_states


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equals_states_pooled_by_hand(name):
    model, traces = tiny_model(name), tiny_traces(3)
    means, lasts = (step_states(model, traces, pooling) for pooling in ("mean", "last"))
    for number, trace in enumerate(traces):
        with torch.no_grad():
            output = model(torch.tensor([trace.token_ids]), output_hidden_states=True)
        assert means[number].dtype == np.float32
        assert means[number].shape == (3, len(trace.nodes), 32)
        for layer, states in enumerate(output.hidden_states):
            for i, node in enumerate(trace.nodes):
                part = states[0, node.start : node.end].numpy()
                np.testing.assert_allclose(
                    means[number][layer, i], part.mean(0), atol=2e-4 * np.abs(part).max()
                )
                np.testing.assert_allclose(
                    lasts[number][layer, i], part[-1], atol=2e-4 * np.abs(part).max()
                )


def test_chosen_states_and_refusals():
    model, traces = tiny_model("qwen3"), tiny_traces(2)
    model.train()
    everything = step_states(model, traces)
    chosen = step_states(model, traces, layers=[-1, 1], batch_size=1)
    assert model.training
    np.testing.assert_allclose(chosen[1], everything[1][[2, 1]], rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match=r"states 0 \(embeddings\) to 2"):
        step_states(model, traces, layers=[3])
    with pytest.raises(ValueError, match="name at least one"):
        step_states(model, traces, layers=[])
    with pytest.raises(ValueError, match="expected 'mean' or 'last'"):
        step_states(model, traces, "first")
    assert step_states(model, []) == []
