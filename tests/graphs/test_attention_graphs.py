"""Attention graphs: masses against eager attention summed by hand, reductions on toys."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rg_helpers.graphs.attention import (
    attention_graph,
    attention_graphs,
    attention_masses,
    attention_scores,
    reduce_masses,
)
from rg_helpers.language_model import new_course_model
from rg_helpers.problems import FAMILIES, generate_problems
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import gold_trace, trace_from_text

TOKENIZER = build_tokenizer()
TRACES = [
    gold_trace(problem, TOKENIZER)
    for family in FAMILIES
    for problem in generate_problems(family, 3, seed=6)
]


@pytest.fixture(scope="module")
def model():
    return new_course_model(0, hidden_size=16, layers=2, heads=2, intermediate_size=32).eval()


def summed_by_hand(model, trace) -> np.ndarray:
    """Eager attention of one trace, added up with explicit loops over nodes."""
    model.set_attn_implementation("eager")
    with torch.no_grad():
        output = model(torch.tensor([trace.token_ids]), output_attentions=True)
    model.set_attn_implementation("sdpa")
    attention = torch.stack(output.attentions)[:, 0].numpy()
    nodes = len(trace.nodes)
    mass = np.zeros((*attention.shape[:2], nodes, nodes), dtype=np.float32)
    for i, target in enumerate(trace.nodes):
        for j, source in enumerate(trace.nodes):
            block = attention[:, :, target.start : target.end, source.start : source.end]
            mass[:, :, i, j] = block.sum(axis=3).mean(axis=2)
    return mass


def test_masses_equal_eager_attention_summed_by_hand(model):
    masses = attention_masses(model, TRACES, batch_size=4)
    for trace, mass in zip(TRACES, masses, strict=True):
        assert mass.dtype == np.float32
        assert np.abs(mass - summed_by_hand(model, trace)).max() < 1e-5


def test_masses_do_not_depend_on_the_batch(model):
    alone = attention_masses(model, TRACES, batch_size=1)
    for one, other in zip(alone, attention_masses(model, TRACES), strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).max() < 1e-5


def test_chosen_layers_are_the_same_numbers(model):
    (everything,) = attention_masses(model, TRACES[:1])
    (second,) = attention_masses(model, TRACES[:1], layers=[1])
    assert np.abs(second[0] - everything[1]).max() < 1e-6


MASS = np.zeros((1, 2, 3, 3), dtype=np.float32)
MASS[0, 0, 1:] = [[0.04, 0.5, 0], [0.03, 0.01, 0.5]]  # a head that rests on BOS
MASS[0, 1, 1:] = [[0.20, 0.1, 0], [0.10, 0.30, 0.1]]


@pytest.mark.parametrize(
    ("reduction", "sink", "last_row"),
    [
        ("mean", "keep", [0.13 / 0.44, 0.31 / 0.44]),
        ("max", "keep", [0.10 / 0.40, 0.30 / 0.40]),
        ("mean", "drop", [0.5, 0.5]),
        ("max", "drop", [0.5, 0.5]),
        ([(0, 0)], "keep", [0.75, 0.25]),
        ([(0, 1)], "drop", [0.25, 0.75]),
        ([(0, 0), (0, 1)], "keep", [0.13 / 0.44, 0.31 / 0.44]),
    ],
)
def test_reductions_by_hand(reduction, sink, last_row):
    weights = reduce_masses(MASS, reduction, sink=sink)
    assert weights[2] == pytest.approx([*last_row, 0], abs=1e-6)
    assert weights[1] == pytest.approx([1, 0, 0])
    assert weights[0].sum() == 0


def test_min_gap_leaves_out_near_sources():
    assert reduce_masses(MASS, "mean", min_gap=2).tolist() == [[0, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_scores_are_the_masses_between_different_nodes(model):
    for mass, scores in zip(
        attention_masses(model, TRACES[:3]), attention_scores(model, TRACES[:3]), strict=True
    ):
        rows, columns = np.indices(mass.shape[-2:])
        assert np.array_equal(scores, np.where(columns < rows, mass, 0))
        assert scores.any()


def test_graphs_carry_texts_and_the_choice(model):
    graph = attention_graphs(model, TRACES[:2], reduction=[(1, 0)])[1]
    assert graph.texts == TRACES[1].texts
    assert graph.kinds == TRACES[1].kinds
    assert (graph.method, graph.choice) == ("attention", "layer 1 head 0")
    assert graph.trace_id == TRACES[1].trace_id
    assert np.allclose(graph.weights[1:].sum(axis=1), 1, atol=1e-5)


def test_impossible_choices_are_refused(model):
    trace = TRACES[0]
    mass = np.zeros((2, 2, len(trace.nodes), len(trace.nodes)), dtype=np.float32)
    with pytest.raises(ValueError, match="no layer 2 head 0"):
        attention_graph(trace, mass, [(2, 0)])
    with pytest.raises(ValueError, match="median"):
        attention_graph(trace, mass, "median")
    with pytest.raises(ValueError, match="sink"):
        attention_graph(trace, mass, sink="flush")
    with pytest.raises(ValueError, match="batch_size"):
        attention_masses(model, [trace], batch_size=0)


def test_traces_that_cannot_be_drawn_are_refused(model):
    long = trace_from_text(TOKENIZER, "Ana has 2 pens.", "Ana has 2. " * 5000)
    with pytest.raises(ValueError, match=r"has \d+ tokens but .* at most 2048 positions"):
        attention_masses(model, [TRACES[0], long])
    assert attention_masses(model, []) == []
