"""Alignment: hand-worked values on the toy, against a naive loop, and its choices."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
import torch
from graph_toys import graph_of, random_attention, random_batch, toy_attention, toy_batch, trace_of

from rg_helpers.graph_loss import graph_batch
from rg_helpers.graph_loss.alignment import alignment

ONE = ((0, 0),)


def test_log_mass_by_hand():
    """Shares on parents: step 2 has 3/4, step 3 1/2 + 1/4, step 4 1/4, the answer 1."""
    expected = -(log(3 / 4) + log(3 / 4) + log(1 / 4) + log(1)) / 4
    assert alignment(toy_attention(), toy_batch(), heads=ONE).item() == pytest.approx(expected)


def test_mass_on_bos_counts_where_the_sink_is_kept():
    """Attention on parents itself: 0.6, 0.2 + 0.1, 0.1 and 0.5."""
    expected = -(log(0.6) + log(0.3) + log(0.1) + log(0.5)) / 4
    found = alignment(toy_attention(), toy_batch(), heads=ONE, sink="keep")
    assert found.item() == pytest.approx(expected)


def test_kl_by_hand():
    """Only step 3 has two parents: log(1/2) twice over 1/2 and 1/4."""
    step_3 = 0.5 * log(0.5 / 0.5) + 0.5 * log(0.5 / 0.25)
    expected = (-log(3 / 4) + step_3 - log(1 / 4) - log(1)) / 4
    found = alignment(toy_attention(), toy_batch(), heads=ONE, form="kl")
    assert found.item() == pytest.approx(expected)


def test_margin_by_hand():
    """Step 2: parent 3 times as much as the other; step 3: other 1/4 against parents 1/2 and 1/4;
    step 4: parent and others equal; the answer: the others have nothing, no loss."""
    margin = log(2)
    rows = [0, 0.5 * 0 + 0.5 * margin, margin, 0]
    found = alignment(toy_attention(), toy_batch(), heads=ONE, form="margin", margin=margin)
    assert found.item() == pytest.approx(sum(rows) / 4)


def test_margin_has_nothing_to_say_where_all_earlier_nodes_are_parents():
    trace = trace_of(("premise", "premise", "step"))
    batch = graph_batch([trace], [graph_of(trace, {2: (0, 1)})])
    attention = torch.full((1, 1, 1, 3, 3), 0.2)
    assert alignment(attention, batch, heads=ONE, form="margin").item() == 0


def naive(attention, graph, form, sink):
    """Loops over rows and parents of one head's attention (nodes, nodes)."""
    losses = []
    for target, row in enumerate(graph.weights):
        parents = [source for source in range(target) if row[source] > 0]
        if not parents:
            continue
        earlier = [float(attention[target, source]) for source in range(target)]
        whole = sum(earlier) if sink == "drop" else 1.0
        share = [value / whole for value in earlier]
        if form == "log_mass":
            losses.append(-log(sum(share[j] for j in parents)))
        elif form == "kl":
            losses.append(sum(row[j] * log(row[j] / share[j]) for j in parents))
        else:
            others = [share[k] for k in range(target) if k not in parents]
            losses.append(
                sum(row[j] * max(0, 1 - log(share[j]) + log(max(others))) for j in parents)
                if others
                else 0
            )
    return np.mean(losses)


@pytest.mark.parametrize("sink", ["drop", "keep"])
@pytest.mark.parametrize("form", ["log_mass", "kl", "margin"])
def test_equals_loops_over_rows_and_parents(form, sink):
    traces, graphs = random_batch(2, traces=4)
    attention = random_attention(traces, 2)
    heads = ((1, 2), (0, 1))
    found = alignment(attention, graph_batch(traces, graphs), heads=heads, form=form, sink=sink)
    for row, (trace, graph) in enumerate(zip(traces, graphs, strict=True)):
        size = len(trace.nodes)
        each = [naive(attention[row, i, j, :size, :size], graph, form, sink) for i, j in heads]
        assert found[row].item() == pytest.approx(np.mean(each), abs=1e-5)


def test_pooled_heads_may_share_the_parents_out():
    trace = trace_of(("premise", "premise", "question", "step"))
    batch = graph_batch([trace], [graph_of(trace, {3: (0, 1)})])
    attention = torch.zeros(1, 1, 2, 4, 4, dtype=torch.float64)
    attention[0, 0, 0, 3, 0] = attention[0, 0, 1, 3, 1] = 1  # one parent each
    each = alignment(attention, batch, heads="all", form="kl")
    pooled = alignment(attention, batch, heads="all", form="kl", combine="pooled")
    assert pooled.item() == pytest.approx(0, abs=1e-6)
    assert each.item() > 1


def test_gradient_steps_lead_to_the_parents():
    """Plain descent on the scores of one head: it must end on the gold parents and nowhere else."""
    batch = toy_batch()
    for form in ("log_mass", "kl", "margin"):
        scores = torch.zeros(1, 1, 1, 6, 6, requires_grad=True)
        optimizer = torch.optim.SGD([scores], 0.25)
        for _ in range(600):
            optimizer.zero_grad()
            alignment(scores.softmax(-1), batch, heads=ONE, form=form).sum().backward()
            optimizer.step()
        rows = scores.detach().softmax(-1)[0, 0, 0].tril(-1)
        shares = rows / rows.sum(-1, keepdim=True).clamp(min=1e-9)
        on_parents = (shares * (batch.gold[0] > 0)).sum(-1)[2:]
        if form != "margin":
            assert on_parents.min() > 0.95
            continue
        for target in range(2, 6):  # it stops as soon as each parent is e times as strong
            is_parent = batch.gold[0, target, :target] > 0
            weakest = shares[target, :target][is_parent].min()
            ahead = weakest / shares[target, :target][~is_parent].max()
            assert exp(1) * 0.99 <= ahead < exp(1) * 1.25


def test_no_gold_graph_and_unknown_choices_are_refused():
    batch, attention = toy_batch(), toy_attention()
    with pytest.raises(ValueError, match=r"needs a gold graph.*'toy' has none.*graph_batch"):
        alignment(attention, graph_batch([trace_of(["premise"] * 6)]), heads=ONE)
    with pytest.raises(ValueError, match="form='cosine'"):
        alignment(attention, batch, heads=ONE, form="cosine")
    with pytest.raises(ValueError, match="expected sink 'drop' or 'keep'"):
        alignment(attention, batch, heads=ONE, sink="both")


def test_a_trace_without_target_rows_costs_nothing_and_keeps_its_gradient():
    trace = trace_of(("premise", "question", "step"))
    batch = graph_batch([trace], [graph_of(trace, {})])
    attention = torch.rand(1, 1, 1, 3, 3, requires_grad=True)
    loss = alignment(attention, batch, heads=ONE)
    loss.sum().backward()
    assert loss.item() == 0
    assert attention.grad.abs().max() == 0
