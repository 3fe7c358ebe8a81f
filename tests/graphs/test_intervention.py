"""Interventions: against one eager forward pass for every cut, with masks written out by loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import ARCHITECTURES, tiny_model, tiny_traces

from rg_helpers.graphs.intervention import (
    intervention_graphs,
    intervention_scores,
    writing_positions,
)

WINDOWS = {"mistral": {"all": 5}, "gemma3": {"sliding_attention": 7, "full_attention": None}}


def predictions(model, name, trace, cut) -> np.ndarray:
    """Eager log-probabilities (tokens, vocabulary); `cut(q, k)` says which looks are forbidden."""
    tokens = len(trace)
    masks = {}
    for kind, window in WINDOWS.get(name, {"all": None}).items():
        mask = torch.full((1, 1, tokens, tokens), torch.finfo(torch.float32).min)
        for q in range(tokens):
            for k in range(q + 1):
                if not cut(q, k) and (window is None or q - k < window):
                    mask[0, 0, q, k] = 0
        masks[kind] = mask
    with torch.no_grad():
        given = masks if name == "gemma3" else masks["all"]
        logits = model(
            torch.tensor([trace.token_ids]), attention_mask=given, use_cache=False
        ).logits
    return torch.log_softmax(logits[0].double(), -1).numpy()


def naive_effects(model, name, trace, effect) -> np.ndarray:
    """One forward pass a source ("total") or a pair ("direct")."""
    model.set_attn_implementation("eager")
    base = predictions(model, name, trace, lambda q, k: False)
    scores = np.zeros((len(trace.nodes),) * 2)
    for j, source in enumerate(trace.nodes):
        for i, target in enumerate(trace.nodes):
            if i <= j or target.kind not in ("step", "answer"):
                continue
            writing = range(target.start - 1, target.end - 1)

            def cut(q, k):
                late = q >= source.end if effect == "total" else q >= source.end and q in writing  # noqa: B023
                return late and source.start <= k < source.end  # noqa: B023

            changed = predictions(model, name, trace, cut)
            scores[i, j] = np.mean(
                [(np.exp(base[q]) * (base[q] - changed[q])).sum() for q in writing]
            )
    model.set_attn_implementation("sdpa")
    return scores


@pytest.mark.parametrize("effect", ["direct", "total"])
@pytest.mark.parametrize("name", ["qwen3", "gpt2", "gemma3", "mistral", "gpt_neox"])
def test_equals_one_forward_pass_a_cut(name, effect):
    model, trace = tiny_model(name), tiny_traces(1, seed=3)[0]
    (found,) = intervention_scores(model, [trace], effect=effect)
    expected = naive_effects(model, name, trace, effect)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-5)
    assert found.max() > 1e-3


@pytest.mark.parametrize("effect", ["direct", "total"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name, effect):
    model, traces = tiny_model(name), tiny_traces(3)
    model.train()
    found = intervention_scores(model, traces, effect=effect)
    assert model.training
    assert model.config._attn_implementation == "sdpa"
    for trace, scores in zip(traces, found, strict=True):
        assert scores.shape == (len(trace.nodes),) * 2
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()
        assert (scores >= 0).all()
        assert not np.triu(scores).any()
        assert not scores[:3].any(), "premises and the question are given, not written"
        assert scores[3:].sum() > 0
    for one, other in zip(
        intervention_scores(model, traces, effect=effect, batch_size=2), found, strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_effects_differ_only_where_a_step_lies_between():
    model, trace = tiny_model("qwen3"), tiny_traces(1)[0]
    direct, total = (
        intervention_scores(model, [trace], effect=effect)[0] for effect in ("direct", "total")
    )
    assert np.abs(direct - total).max() > 1e-3
    # Nothing stands between the question and the first step, so there is nothing to carry it.
    first_written = 3
    np.testing.assert_allclose(
        direct[first_written, 2], total[first_written, 2], rtol=1e-3, atol=1e-6
    )


def test_graphs_and_refusals():
    model, traces = tiny_model("gpt2"), tiny_traces(2)
    graph = intervention_graphs(model, traces)[1]
    assert graph.method == "intervention"
    assert graph.choice.startswith("total effect")
    assert np.allclose(graph.weights[3:].sum(1), 1, atol=1e-4)
    with pytest.raises(ValueError, match="'total' or 'direct'"):
        intervention_scores(model, traces, effect="indirect")
    with pytest.raises(ValueError, match="batch_size"):
        intervention_scores(model, traces, batch_size=0)
    first = traces[0].nodes[3]
    assert writing_positions(traces[0])[0] == (first.start - 1, 3)
