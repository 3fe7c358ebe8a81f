"""Attention x gradient: one pass against a backward pass per target, and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gradient_traces import TRACES, make_trace
from tiny_models import ARCHITECTURES, tiny_model
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from rg_helpers.graphs import graded_attention
from rg_helpers.graphs.graded_attention import Watcher, token_log_probabilities, watched_backward
from rg_helpers.graphs.gradient import (
    attention_gradient_graphs,
    attention_gradient_scores,
    naive_attention_gradient,
    reduce_layers,
    relevance_scores,
)


def close(found: np.ndarray, expected: np.ndarray, tolerance: float = 2e-5) -> bool:
    return np.abs(found - expected).max() <= tolerance * max(np.abs(expected).max(), 1e-6)


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    """Several blocks of rows even in traces of twenty tokens."""
    monkeypatch.setattr(graded_attention, "BLOCK_ROWS", 6)


@pytest.mark.parametrize("name", [*ARCHITECTURES, "gemma2"])
def test_one_pass_equals_a_backward_pass_per_target(name):
    model = tiny_model(name)
    for part in ("positive", "absolute"):
        by_head = attention_gradient_scores(model, TRACES, part=part, by_head=True, batch_size=2)
        pooled = attention_gradient_scores(model, TRACES, part=part, batch_size=1)
        for trace, heads, mean in zip(TRACES, by_head, pooled, strict=True):
            expected = naive_attention_gradient(model, trace, part)
            nodes = len(trace.nodes)
            assert heads.shape == (2, 4, nodes, nodes)
            assert heads.dtype == mean.dtype == np.float32
            assert np.isfinite(heads).all()
            assert (heads >= 0).all()
            assert not np.triu(heads).any()
            assert (heads[:, :, 3:].sum((0, 1, 3)) > 0).all(), "a written node without any source"
            assert not heads[:, :, :3].any(), "premises and question are not written"
            assert close(heads, expected)
            assert close(mean, expected.mean(1))


def test_against_finite_differences_of_one_attention_weight():
    """Nodes 4 and 5 are one token each, so their entry is a single |A * dA|."""
    model, trace = tiny_model("gpt2").double(), TRACES[0]  # no hidden casts to float32
    scores = attention_gradient_scores(model, [trace], part="absolute", by_head=True)[0]
    ids = torch.tensor([trace.token_ids])
    target, source = trace.nodes[5], trace.nodes[4]
    push: dict = {}

    def attend(module, query, key, value, attention_mask, scaling=None, **rest):
        repeats = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(repeats, 1) for x in (key, value))
        weights = (query @ key.mT * scaling + attention_mask).softmax(-1)
        if module.layer_idx == push["layer"]:
            where = (0, push["head"], target.start - 1, source.start)
            push["weight"] = weights[where].item()
            weights[where] += push["by"]
        return (weights @ value).transpose(1, 2).contiguous(), weights

    AttentionInterface.register("pushed", attend)
    AttentionMaskInterface.register("pushed", eager_mask)
    model.set_attn_implementation("pushed")

    def log_p(layer, head, by):
        push.update(layer=layer, head=head, by=by)
        with torch.no_grad():
            logits = model(ids, use_cache=False).logits[0, target.start - 1]
        return logits.log_softmax(-1)[trace.token_ids[target.start]].item()

    for layer in range(2):
        for head in range(4):
            slope = (log_p(layer, head, 1e-5) - log_p(layer, head, -1e-5)) / 2e-5
            expected = abs(push["weight"] * slope)
            assert scores[layer, head, 5, 4] == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_without_the_cut_later_targets_leak_into_earlier_rows():
    """The reason for the cut: plain backward of the sum gives other rows, save the last one's."""
    model, trace = tiny_model("llama"), TRACES[0]
    node_ids = torch.tensor([trace.node_ids()])

    class Spent(Watcher):
        """Adds up |A * dA| of every row of the bottom layer."""

        def see(self, layer, block, step):
            if layer == 0:
                values = (step.probabilities * step.gradient).abs().sum((1, 3))[0]
                self.rows = torch.cat([getattr(self, "rows", values[:0]), values])

    found = {}
    for passes in ("own", "all"):
        watcher = Spent(graded_attention.written_nodes(node_ids), passes)
        ids = torch.tensor([trace.token_ids])
        watched_backward(model, ids, torch.ones_like(ids), node_ids, watcher)
        found[passes] = watcher.rows
    last, early = (slice(trace.nodes[i].start - 1, trace.nodes[i].end - 1) for i in (-1, 3))
    assert torch.allclose(found["own"][last], found["all"][last], rtol=1e-4)
    assert not torch.allclose(found["own"][early], found["all"][early], rtol=0.01)


def test_log_probabilities_keep_their_gradient_where_the_model_is_sure():
    logits = torch.zeros(1, 3, 5)
    logits[0, 0, 2], logits[0, 1, 3] = 30.0, 1.0
    logits.requires_grad_()
    ids = torch.tensor([[0, 2, 4]])
    found = token_log_probabilities(logits, ids)
    assert torch.allclose(found, logits.log_softmax(-1)[:, [0, 1], [2, 4]], atol=1e-6)
    found.sum().backward()
    exact = logits.detach().double()[0, :2].softmax(-1)
    for position, token in enumerate((2, 4)):
        rest = exact[position].clone()
        rest[token] = 0
        own = logits.grad[0, position, token].item()
        assert own == pytest.approx(rest.sum().item(), rel=1e-4), "1 - p was rounded away"
    assert logits.grad[0, 2].abs().max() == 0


def chefer(model, trace, own_targets: bool) -> np.ndarray:
    """Equation 6 with eager attention, every matrix written out; rows of E by `own_targets`."""
    model.set_attn_implementation("eager")
    ids = torch.tensor([trace.token_ids])
    embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
    output = model(inputs_embeds=embedded, output_attentions=True, use_cache=False)
    model.set_attn_implementation("sdpa")
    chosen = token_log_probabilities(output.logits, ids)[0]
    worth = []
    for node in trace.nodes:
        log_p = chosen[node.start - 1 : node.end - 1].sum()
        gradients = torch.autograd.grad(log_p, output.attentions, retain_graph=True)
        pairs = zip(output.attentions, gradients, strict=True)
        worth.append(torch.stack([(a * g).clamp(min=0).mean(1)[0] for a, g in pairs]).detach())
    tokens = len(trace)
    scores = np.zeros((len(trace.nodes), len(trace.nodes)))
    for i, target in enumerate(trace.nodes):
        relevance = torch.eye(tokens)
        for layer in range(2):
            E = worth[i][layer]
            if own_targets:
                E = torch.zeros(tokens, tokens)
                for number, node in enumerate(trace.nodes):
                    rows = slice(node.start - 1, node.end - 1)
                    E[rows] = worth[number][layer][rows]
            relevance = relevance + E @ relevance
        relevance = (relevance - torch.eye(tokens))[target.start - 1 : target.end - 1].sum(0)
        for j, source in enumerate(trace.nodes[:i]):
            scores[i, j] = relevance[source.start : source.end].sum()
    scores[:3] = 0
    return scores


@pytest.mark.parametrize("name", ["qwen3", "gpt2", "gemma3"])
def test_relevance_is_the_update_rule_written_out(name):
    model = tiny_model(name)
    one_pass = relevance_scores(model, TRACES, batch_size=2)
    per_target = relevance_scores(model, TRACES, per_target=True, batch_size=3)
    for trace, own, each in zip(TRACES, one_pass, per_target, strict=True):
        assert close(own, chefer(model, trace, own_targets=True), 1e-4)
        assert close(each, chefer(model, trace, own_targets=False), 1e-4)
        assert not np.triu(own).any()


def test_low_precision_stays_near():
    exact = attention_gradient_scores(tiny_model("llama"), TRACES[:1])[0].sum(0)
    rough = attention_gradient_scores(tiny_model("llama").bfloat16(), TRACES[:1])[0].sum(0)
    assert np.isfinite(rough).all()
    rows = np.tril_indices(len(exact), -1)
    assert np.corrcoef(exact[rows], rough[rows])[0, 1] > 0.8


def test_the_model_is_left_as_it_was():
    model = tiny_model("qwen3").train()
    attention_gradient_scores(model, TRACES[:1])
    assert model.training
    assert model.config._attn_implementation == "sdpa"
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_graphs_carry_the_choice_and_reduce_layers():
    model = tiny_model("qwen3")
    (scores,) = attention_gradient_scores(model, TRACES[:1])
    (graph,) = attention_gradient_graphs(model, TRACES[:1], layers=[1])
    expected = scores[1] / np.maximum(scores[1].sum(1, keepdims=True), 1e-30)
    assert np.abs(graph.weights - expected).max() < 1e-5
    assert graph.method == "attention_gradient"
    assert "layers 1" in graph.choice
    (relevance,) = attention_gradient_graphs(model, TRACES[:1], rule="relevance")
    assert "relevance" in relevance.choice
    assert np.array_equal(reduce_layers(scores), scores.sum(0))
    assert attention_gradient_scores(model, []) == []


def test_impossible_requests_are_refused():
    model = tiny_model("qwen3")
    with pytest.raises(ValueError, match="'positive', 'absolute'"):
        attention_gradient_scores(model, TRACES, part="negative")
    with pytest.raises(ValueError, match="layers 0 to 1"):
        attention_gradient_graphs(model, TRACES[:1], layers=[2])
    with pytest.raises(ValueError, match="every layer"):
        attention_gradient_graphs(model, TRACES[:1], layers=[0], rule="relevance")
    with pytest.raises(ValueError, match="'direct' or 'relevance'"):
        attention_gradient_graphs(model, TRACES[:1], rule="rollout")
    with pytest.raises(ValueError, match="at most 256 positions"):
        attention_gradient_scores(tiny_model("gpt2"), [make_trace((300, 2, 2, 2, 2))])
