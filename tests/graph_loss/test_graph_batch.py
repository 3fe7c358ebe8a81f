"""Batches: what is a target, what is eligible, what does not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from graph_toys import (
    TOY_PARENTS,
    graph_of,
    random_attention,
    random_batch,
    toy_attention,
    toy_batch,
    trace_of,
)

from rg_helpers.graph_loss import graph_batch
from rg_helpers.graph_loss.graph_batch import chosen_heads, eligible_rows
from rg_helpers.graphs.step_graph import normalise_rows


def test_toy_gold_rows_targets_and_padding():
    short = trace_of(("premise", "step"), "short")
    toy = trace_of(("premise", "premise", "step", "step", "step", "answer"))
    batch = graph_batch([toy, short], [graph_of(toy, TOY_PARENTS), graph_of(short, {1: (0,)})])
    expected = torch.zeros(2, 6, 6)
    expected[0, 2, 0] = expected[0, 4, 3] = expected[0, 5, 4] = 1
    expected[0, 3, 1] = expected[0, 3, 2] = 0.5
    expected[1, 1, 0] = 1
    assert torch.equal(batch.gold, expected)
    assert batch.is_node.tolist() == [[True] * 6, [True, True] + [False] * 4]
    assert batch.is_target.tolist() == [[False, False] + [True] * 4, [False, True] + [False] * 4]
    for row, size in enumerate((6, 2)):
        for target in range(6):
            for source in range(6):
                is_eligible = source < target < size
                assert bool(batch.eligible[row, target, source]) == is_eligible
    assert batch.to("cpu").trace_ids == ("toy", "short")


def test_a_step_in_front_of_everything_is_no_target():
    batch = graph_batch([trace_of(("step", "answer"))])
    assert batch.is_target.tolist() == [[False, True]]


def test_rows_of_premises_are_not_asked_for():
    """A drawn graph has rows for premises too; a target row must not."""
    trace = trace_of(("premise", "premise", "step"))
    graph = graph_of(trace, {1: (0,), 2: (0, 1)})
    assert graph.weights[1, 0] == 1
    assert graph_batch([trace], [graph]).gold[0].tolist() == [[0] * 3, [0] * 3, [0.5, 0.5, 0]]


def test_eligible_rows_equal_the_rows_of_a_step_graph():
    traces, _ = random_batch(5)
    batch = graph_batch(traces)
    attention = random_attention(traces, 5, dtype=torch.float32)
    rows = eligible_rows(attention, batch)
    for row, trace in enumerate(traces):
        size = len(trace.nodes)
        expected = normalise_rows(attention[row, :, :, :size, :size].numpy())
        assert np.allclose(rows[row, :, :, :size, :size].numpy(), expected, atol=1e-6)
        assert rows[row, :, :, size:].abs().max() == 0 if size < batch.nodes else True
        assert rows[row, ..., size:].abs().sum() == 0


def test_a_head_that_looks_nowhere_is_not_blown_up_and_noise_in_padding_is_not_read():
    batch = toy_batch()
    attention = toy_attention()
    attention[..., 4, :] = 0
    attention[..., 2, 0], attention[..., 2, 1] = 1e-12, -1e-9
    attention[..., 0, 3] = float("nan")  # above the diagonal: never eligible
    attention.requires_grad_(True)
    rows = eligible_rows(attention, batch)
    assert rows[0, 0, 0, 4].sum() == 0
    assert 0 < rows[0, 0, 0, 2].sum() < 1e-5
    rows.sum().backward()
    assert attention.grad.isfinite().all()


def test_half_precision_is_worked_out_in_float32():
    rows = eligible_rows(toy_attention().bfloat16(), toy_batch())
    assert rows.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("nodes", "has 2 nodes, the trace has 3.*draw it from this very trace"),
        ("kinds", "has a premise as node 1, the trace has a question"),
        ("texts", "says 'another' at node 0"),
        ("count", "2 traces but 1 graphs"),
        ("empty", "at least one trace"),
        ("no nodes", "'bare' has no nodes"),
        ("width", "has 3 nodes, more than nodes=2"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    first = trace_of(("premise", "question", "step"), "first")
    second = trace_of(("premise", "question", "step"), "second")
    good = graph_of(first, {2: (0,)})
    traces, graphs, nodes = [first, second], [good, good], None
    if change == "nodes":
        graphs[1] = graph_of(trace_of(("premise", "step"), "second"), {1: (0,)})
    elif change == "kinds":
        graphs[1] = graph_of(trace_of(("premise", "premise", "step"), "second"), {2: (0,)})
    elif change == "texts":
        graphs[1] = replace(good, texts=("another", *good.texts[1:]))
    elif change == "count":
        graphs.pop()
    elif change == "empty":
        traces, graphs = [], []
    elif change == "no nodes":
        traces[0] = replace(first, nodes=(), trace_id="bare")
    else:
        nodes = 2
    with pytest.raises(ValueError, match=message):
        graph_batch(traces, graphs, nodes=nodes)


def test_attention_of_other_traces_or_heads_is_refused():
    batch, attention = toy_batch(), toy_attention()
    with pytest.raises(ValueError, match="the batch has 1 traces"):
        eligible_rows(attention.repeat(2, 1, 1, 1, 1), batch)
    with pytest.raises(ValueError, match=r"tap_step_attention\(\.\.\., nodes=6\)"):
        eligible_rows(attention[..., :5, :5], batch)
    with pytest.raises(ValueError, match="layer 0 head 1 does not exist"):
        chosen_heads(attention, ((0, 1),))
    with pytest.raises(ValueError, match="heads is empty"):
        chosen_heads(attention, ())
    with pytest.raises(ValueError, match="expected \\(layer, head\\) pairs or 'all'"):
        chosen_heads(attention, "best")
    with pytest.raises(ValueError, match=r"expected \(batch, layers, heads, nodes, nodes\)"):
        chosen_heads(attention[0], "all")
