"""Lightweight graphs: the same numbers as the full ones, from fewer layers, heads and rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import ARCHITECTURES, tiny_model, tiny_traces

from rg_helpers.edge_recovery import GraphSet
from rg_helpers.graphs.attention import attention_graph, attention_masses
from rg_helpers.graphs.gold import gold_graph
from rg_helpers.graphs.lightweight import (
    Lightweight,
    choose_lightweight,
    fit_lightweight,
    lightweight_curve,
    lightweight_graphs,
    lightweight_scores,
    sampled_rows,
)
from rg_helpers.language_model import new_course_model
from rg_helpers.problems import generate_problems
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import gold_trace

HEADS = ((1, 2), (0, 3), (1, 0))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_gives_the_numbers_of_the_full_graph(name):
    model, traces = tiny_model(name), tiny_traces(3)
    masses = attention_masses(model, traces)
    for heads in (HEADS, HEADS[1:2]):
        graphs = lightweight_graphs(model, traces, Lightweight(heads, 0.0))
        for trace, mass, graph in zip(traces, masses, graphs, strict=True):
            full = attention_graph(trace, mass, heads, sink="drop")
            np.testing.assert_allclose(graph.weights, full.weights, atol=2e-5)
            assert (graph.method, graph.choice) == ("lightweight", full.choice)
            assert graph.weights.std() > 0.05


@pytest.mark.parametrize("name", ["qwen3", "gpt2", "gemma3", "mistral"])
def test_sampled_rows_are_the_last_tokens_of_eager_attention(name):
    model, trace = tiny_model(name), tiny_traces(1)[0]
    model.set_attn_implementation("eager")
    with torch.no_grad():
        outputs = model(torch.tensor([trace.token_ids]), output_attentions=True)
    model.set_attn_implementation("sdpa")
    attention = torch.stack(outputs.attentions)[:, 0].numpy()
    nodes = len(trace.nodes)
    expected = np.zeros((nodes, nodes))
    for layer, head in HEADS:
        mass = np.zeros((nodes, nodes))
        for i, target in enumerate(trace.nodes):
            asked = range(max(target.start, target.end - 2), target.end)
            for j, source in enumerate(trace.nodes[:i]):
                block = attention[layer, head][list(asked), source.start : source.end]
                mass[i, j] = block.sum(1).mean()
        expected += mass / np.maximum(mass.sum(1, keepdims=True), 1e-30) / len(HEADS)
    chosen = Lightweight(HEADS, 0.0, rows=2)
    # Beside a longer trace, so that padding and its mask are in the way.
    found = lightweight_scores(model, [*tiny_traces(3)[1:], trace], chosen)[-1]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    alone = lightweight_scores(model, [trace], chosen)[0]
    np.testing.assert_allclose(alone, expected, atol=1e-5)


def test_asking_all_tokens_is_asking_every_row():
    model, traces = tiny_model("qwen3"), tiny_traces(3)
    exact = lightweight_scores(model, traces, Lightweight(HEADS, 0.0))
    many = lightweight_scores(model, traces, Lightweight(HEADS, 0.0, rows=99))
    for one, other in zip(exact, many, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_positions_of_sampled_rows():
    ids = torch.tensor([[-1, 0, 0, 0, 1, -1, 2, 2], [-1, 0, 1, 1, 1, 1, -1, -1]])
    assert sampled_rows(ids, 1).tolist() == [[3, 4, 7], [1, 5, -1]]
    assert sampled_rows(ids, 2).tolist() == [[2, 3, 4, 6, 7], [1, 4, 5, -1, -1]]


def test_what_is_not_needed_does_not_run():
    model, traces = tiny_model("llama"), tiny_traces(2)
    ran: list[str] = []
    for name, module in model.named_modules():
        if name.endswith(("mlp", "o_proj", "q_proj", "lm_head")):
            module.register_forward_hook(lambda module, inputs, output, name=name: ran.append(name))
    model.train()
    lightweight_scores(model, traces, Lightweight(((0, 1),), 0.0))
    assert set(ran) == {"model.layers.0.self_attn.q_proj"}
    assert model.training
    assert model.config._attn_implementation == "sdpa"
    ran.clear()
    lightweight_scores(model, traces, Lightweight(((1, 1),), 0.0))
    assert "model.layers.0.mlp" in ran
    assert not {"model.layers.1.mlp", "model.layers.1.self_attn.o_proj", "lm_head"} & set(ran)
    with torch.no_grad():  # the model is as it was
        assert model(torch.tensor([traces[0].token_ids])).logits.isfinite().all()


def planted() -> GraphSet:
    """Layer 0 holds a fair head, layer 1 a better one and layer 2 the best, but hardly better."""
    generator = np.random.default_rng(0)
    problems = generate_problems("arithmetic", 20, seed=3)
    gold = [gold_graph(problem) for problem in problems]
    masses = []
    for graph in gold:
        noise = generator.random((3, 2, *graph.weights.shape))
        for layer, strength in enumerate((0.3, 1.0, 1.05)):
            noise[layer, 1] += strength * (graph.weights > 0)
        masses.append(np.tril(noise, k=-1))
    return GraphSet(gold, masses, [problem.problem_id for problem in problems])


def test_the_curve_rises_with_depth_and_the_cheapest_good_one_is_taken():
    curve = lightweight_curve(planted(), most_heads=2)
    first = {option.depth: option for option in curve if len(option.heads) == 1}
    assert [first[depth].heads for depth in (1, 2, 3)] == [((0, 1),), ((1, 1),), ((2, 1),)]
    assert first[1].fit_auroc < first[2].fit_auroc < first[3].fit_auroc
    single = [first[1], first[2], first[3]]
    assert choose_lightweight(single, keep=0.95) == first[2]
    assert choose_lightweight(single, keep=1.0) == first[3]
    assert choose_lightweight(single, keep=0.01) == first[1]


def test_fitting_on_a_model():
    model = new_course_model(0, hidden_size=16, layers=2, heads=2, intermediate_size=32)
    problems = generate_problems("deduction", 6, seed=1)
    tokenizer = build_tokenizer()
    traces = [gold_trace(problem, tokenizer) for problem in problems]
    gold = [gold_graph(problem) for problem in problems]
    chosen = fit_lightweight(model, traces, gold, most_heads=2, rows=1)
    assert 1 <= chosen.depth <= 2
    assert chosen.rows == 1
    assert chosen.choice.endswith("; last 1 tokens of a node")
    assert len(lightweight_graphs(model, traces, chosen)) == 6
    with pytest.raises(ValueError, match="keep"):
        fit_lightweight(model, traces, gold, keep=0)
    with pytest.raises(ValueError, match="at least one"):
        Lightweight((), 0.5)
    with pytest.raises(ValueError, match="layer 7 does not exist"):
        lightweight_graphs(model, traces, Lightweight(((7, 0),), 0.5))
    with pytest.raises(ValueError, match=r"heads 0 to 1, but \[5\]"):
        lightweight_graphs(model, traces, Lightweight(((0, 5),), 0.5))
    assert model.config._attn_implementation == "sdpa"
