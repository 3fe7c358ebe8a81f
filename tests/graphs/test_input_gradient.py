"""Input x gradient and integrated gradients: plain autograd, finite differences, completeness."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from gradient_traces import TRACES, make_trace
from tiny_models import ARCHITECTURES, tiny_model
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from rg_helpers.graphs import graded_attention
from rg_helpers.graphs import target_gradients as target_module
from rg_helpers.graphs.input_gradient import (
    input_gradient_graphs,
    input_gradient_scores,
    integrated_gradients,
    integrated_gradients_graphs,
    integrated_gradients_scores,
    naive_input_gradient,
)
from rg_helpers.graphs.target_gradients import target_gradients

SMALL = [make_trace((2, 2, 1, 2, 2, 2), seed=3), make_trace((1, 2, 2, 3), seed=4)]
SPANS = [(node.start, node.end) for node in TRACES[0].nodes[3:]]


def close(found: np.ndarray, expected: np.ndarray, tolerance: float = 5e-5) -> bool:
    return np.abs(found - expected).max() <= tolerance * max(np.abs(expected).max(), 1e-6)


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    """Several blocks of rows even in traces of twenty tokens."""
    monkeypatch.setattr(graded_attention, "BLOCK_ROWS", 6)


def log_p(model, ids, embedded, span):
    with torch.no_grad():
        logits = model(inputs_embeds=embedded, use_cache=False).logits[0]
    start, end = span
    chosen = logits.log_softmax(-1)[range(start - 1, end - 1), ids[0, start:end]]
    return chosen.sum().item()


@pytest.mark.parametrize("name", [*ARCHITECTURES, "gemma2"])
def test_batched_targets_equal_one_backward_pass_each(name):
    model = tiny_model(name)
    for passes in (1, 3, None):
        scores = input_gradient_scores(model, TRACES, batch_size=passes)
        for trace, found in zip(TRACES, scores, strict=True):
            assert found.shape == (len(trace.nodes), len(trace.nodes))
            assert found.dtype == np.float32
            assert not np.triu(found).any()
            assert not found[:3].any(), "premises and question are not written"
            assert (found[3:].sum(1) > 0).all()
            assert close(found, naive_input_gradient(model, trace))


def test_against_finite_differences():
    model, trace = tiny_model("gpt2").double(), TRACES[0]  # no hidden casts to float32
    ids = torch.tensor([trace.token_ids])
    embedded = model.get_input_embeddings()(ids).detach()
    gradients, values = target_gradients(model, ids, embedded, SPANS)
    for token in (0, 2, 9, 15):
        for target, span in enumerate(SPANS):
            sides = []
            for by in (1e-4, -1e-4):
                moved = embedded.clone()
                moved[0, token] *= 1 + by
                with torch.no_grad():
                    logits = model(inputs_embeds=moved, use_cache=False).logits[0]
                start, end = span
                rows = logits.log_softmax(-1)[range(start - 1, end - 1), ids[0, start:end]]
                sides.append(rows.sum().item())
            expected = (sides[0] - sides[1]) / 2e-4
            found = (gradients[target, token] * embedded[0, token]).sum().item()
            assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)
    for value, span in zip(values, SPANS, strict=True):
        assert value.item() == pytest.approx(log_p(model, ids, embedded, span), rel=1e-4)


LIVE: dict[str, torch.Tensor] = {}


def attend_where_live(module, query, key, value, attention_mask, scaling=None, **rest):
    """Eager attention whose keys and values carry gradient along the live pairs alone."""
    del module, rest
    repeats = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(repeats, 1) for x in (key, value))
    live = LIVE["pairs"]
    scores = torch.where(live, query @ key.mT, query @ key.detach().mT) * scaling
    weights = (scores + attention_mask).softmax(-1)
    output = (weights * live) @ value + (weights * ~live) @ value.detach()
    return output.transpose(1, 2).contiguous(), weights


def direct_by_hand(model, trace) -> np.ndarray:
    """One forward and backward pass for every pair of target and source token."""
    AttentionInterface.register("where_live", attend_where_live)
    AttentionMaskInterface.register("where_live", eager_mask)
    ids, tokens = torch.tensor([trace.token_ids]), len(trace)
    scores = np.zeros((len(trace.nodes), len(trace.nodes)))
    model.set_attn_implementation("where_live")
    for i, target in enumerate(trace.nodes):
        if target.kind not in ("step", "answer"):
            continue
        writing = torch.zeros(tokens, dtype=torch.bool)
        writing[target.start - 1 : target.end - 1] = True
        for j, source in enumerate(trace.nodes[:i]):
            for token in range(source.start, source.end):
                offers = writing.clone()
                offers[token] = True
                LIVE["pairs"] = torch.eye(tokens, dtype=torch.bool) | (writing[:, None] & offers)
                embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
                logits = model(inputs_embeds=embedded, use_cache=False).logits[0]
                rows = logits.log_softmax(-1)[
                    range(target.start - 1, target.end - 1), ids[0, target.start : target.end]
                ]
                (gradient,) = torch.autograd.grad(rows.sum(), embedded)
                scores[i, j] += abs((gradient[0, token] * embedded[0, token]).sum().item())
    model.set_attn_implementation("sdpa")
    return scores


@pytest.mark.parametrize("name", ["qwen3", "gpt2", "gemma3"])
def test_direct_paths_equal_a_pass_for_every_pair(name):
    model = tiny_model(name)
    found = input_gradient_scores(model, SMALL, rule="direct", batch_size=2)
    for trace, scores in zip(SMALL, found, strict=True):
        assert close(scores, direct_by_hand(model, trace), 2e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_direct_and_integrated_serve_every_architecture(name):
    model = tiny_model(name)
    for scores in (
        input_gradient_scores(model, TRACES, rule="direct"),
        integrated_gradients_scores(model, TRACES, points=2),
    ):
        for trace, found in zip(TRACES, scores, strict=True):
            assert found.shape == (len(trace.nodes), len(trace.nodes))
            assert np.isfinite(found).all()
            assert (found >= 0).all()
            assert not np.triu(found).any()
            assert (found[3:].sum(1) > 0).all()


def test_relevance_adds_up_to_the_change_from_the_baseline():
    """The completeness axiom, with the change measured by two plain forward passes."""
    model = tiny_model("gpt2").double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    trace = TRACES[0]
    ids = torch.tensor([trace.token_ids])
    embedded = model.get_input_embeddings()(ids).detach()
    mean = model.get_input_embeddings().weight.detach().mean(0).expand_as(embedded)
    errors = []
    for points in (4, 48):
        signed, change = integrated_gradients(model, trace, points=points)
        for row, span in enumerate(SPANS):
            expected = log_p(model, ids, embedded, span) - log_p(model, ids, mean, span)
            assert change[row] == pytest.approx(expected, rel=1e-3)
        errors.append(np.abs(signed.sum(1) - change).max() / np.abs(change).max())
    assert errors[1] < 1e-3
    assert errors[1] < errors[0]


def test_one_point_from_zero_is_the_gradient_half_way():
    model, trace = tiny_model("llama"), TRACES[0]
    ids = torch.tensor([trace.token_ids])
    embedded = model.get_input_embeddings()(ids).detach()
    gradients, _ = target_gradients(model, ids, embedded / 2, SPANS)
    signed, _ = integrated_gradients(model, trace, points=1, baseline="zero")
    assert close(signed, (gradients * embedded).sum(-1).numpy(), 1e-5)


def test_the_graph_of_a_pass_is_let_go(monkeypatch):
    """Watcher and autograd graph hold each other; a long run would fill the memory."""
    made = []

    class Remembered(target_module._TopLayer):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(weakref.ref(self))

    monkeypatch.setattr(target_module, "_TopLayer", Remembered)
    gc.disable()
    try:
        input_gradient_scores(tiny_model("qwen3"), TRACES[:1])
        assert made
        assert all(reference() is None for reference in made)
    finally:
        gc.enable()


def test_graphs_and_the_model_left_as_it_was():
    model = tiny_model("qwen3").train()
    (exact,) = input_gradient_graphs(model, TRACES[:1])
    (direct,) = input_gradient_graphs(model, TRACES[:1], rule="direct")
    (integrated,) = integrated_gradients_graphs(model, TRACES[:1], points=1, baseline="zero")
    assert [g.method for g in (exact, direct)] == ["input_gradient"] * 2
    assert integrated.method == "integrated_gradients"
    assert (exact.choice, direct.choice) == ("all paths", "direct paths")
    assert np.allclose(exact.weights[3:].sum(1), 1, atol=1e-5)
    assert model.training
    assert model.config._attn_implementation == "sdpa"
    assert all(parameter.grad is None for parameter in model.parameters())


def test_impossible_requests_are_refused():
    model = tiny_model("qwen3")
    with pytest.raises(ValueError, match="'exact' or 'direct'"):
        input_gradient_scores(model, TRACES, rule="fast")
    with pytest.raises(ValueError, match="points"):
        integrated_gradients_scores(model, TRACES, points=0)
    with pytest.raises(ValueError, match="'mean' or 'zero'"):
        integrated_gradients_scores(model, TRACES, baseline="black")
    with pytest.raises(ValueError, match="batch_size"):
        input_gradient_scores(model, TRACES, batch_size=0)
    with pytest.raises(ValueError, match="at most 256 positions"):
        input_gradient_scores(tiny_model("gpt2"), [make_trace((300, 2, 2, 2, 2))])
