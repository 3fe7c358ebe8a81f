"""Soft features: by hand on the toy, equal to the NumPy features, in bounds."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch
from graph_toys import random_attention, random_batch, toy_attention, toy_batch, trace_of
from hypothesis import given, settings
from hypothesis import strategies as st

from rg_helpers.features import FEATURES, graph_features
from rg_helpers.graph_loss import graph_batch
from rg_helpers.graph_loss.entropy_only import entropy_only
from rg_helpers.graph_loss.graph_batch import chosen_heads, eligible_rows
from rg_helpers.graph_loss.soft_features import SOFT_FEATURES, soft_features, written_logs
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows


def of_toy(name: str) -> float:
    batch = toy_batch()
    rows = eligible_rows(chosen_heads(toy_attention(), "all"), batch)
    return soft_features(rows, batch, [name]).item()


def test_features_by_hand():
    step_2 = -(0.75 * log(0.75) + 0.25 * log(0.25))
    step_3 = -(0.5 * log(0.25) + 0.5 * log(0.5))
    entropies = [step_2 / log(2), step_3 / log(3), 1, 0]
    assert of_toy("row_entropy_normalised") == pytest.approx(sum(entropies) / 4)
    assert of_toy("answer_entropy_normalised") == 0
    assert of_toy("strongest_source_mean") == pytest.approx((3 / 4 + 1 / 2 + 1 / 4 + 1) / 4)
    look_back = [(2 * 0.75 + 0.25) / 2, (3 * 0.25 + 2 * 0.5 + 0.25) / 3, 2.5 / 4, 1 / 5]
    assert of_toy("look_back_relative") == pytest.approx(sum(look_back) / 4)
    # Chance that steps 2, 3, 4 (shares 3/4, 1/4, 1/4) all pass premise 0 by, and so on.
    unused = [1 / 4 * 3 / 4 * 3 / 4, 3 / 4 * 1 / 2 * 3 / 4]
    assert of_toy("unused_premise_chance") == pytest.approx(sum(unused) / 2)
    dead_ends = [3 / 4 * 3 / 4, 3 / 4, 0]
    assert of_toy("dead_end_chance") == pytest.approx(sum(dead_ends) / 3, abs=1e-5)
    assert of_toy("mass_on_premises") == pytest.approx((1 + 3 / 4 + 1 / 2 + 0) / 4)
    assert of_toy("mass_on_question") == 0
    assert of_toy("mass_on_steps") == pytest.approx((0 + 1 / 4 + 1 / 2 + 1) / 4)
    assert of_toy("mass_on_previous") == pytest.approx((1 / 4 + 1 / 4 + 1 / 4 + 1) / 4)
    # The walk: 5 -> 4 surely, 4 -> 3 with 1/4, then 3 -> 2 with 1/4; 2 also from 4 with 1/4.
    flow = {4: 1, 3: 1 / 4, 2: 1 / 4 + 1 / 16}
    assert of_toy("flow_step_mean") == pytest.approx(sum(flow.values()) / 3)
    assert of_toy("flow_from_premises") == pytest.approx(1)
    received = np.array([1.25, 1.0, 0.5, 0.25, 1]) / 4
    entropy = -(received * np.log(received)).sum() / log(5)
    assert of_toy("received_entropy_normalised") == pytest.approx(entropy)


SHARED = [name for name in SOFT_FEATURES if name in FEATURES]


def test_the_same_numbers_as_the_features_of_the_same_name():
    assert len(SHARED) >= 8
    traces, _ = random_batch(11, traces=6)
    attention = random_attention(traces, 11, layers=1, heads=2)
    batch = graph_batch(traces)
    ours = soft_features(eligible_rows(chosen_heads(attention, "all"), batch), batch, SHARED)
    for head in range(2):
        graphs = [
            StepGraph(
                normalise_rows(attention[row, 0, head, : len(t.nodes), : len(t.nodes)].numpy()),
                t.kinds, t.texts, "attention", "", t.trace_id,
            )
            for row, t in enumerate(traces)
        ]  # fmt: skip
        table = graph_features(graphs, sets="dag", top_k=None, progress=False)
        assert np.allclose(ours[:, head].numpy(), table[SHARED].to_numpy(), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_all_lie_between_zero_and_one(seed):
    traces, _ = random_batch(seed)
    batch = graph_batch(traces)
    values = soft_features(eligible_rows(random_attention(traces, seed)[:, 0], batch), batch)
    assert values.min() >= -1e-9
    assert values.max() <= 1 + 1e-9


def test_traces_without_premises_or_steps_have_values_too():
    batch = graph_batch([trace_of(("question", "answer")), trace_of(("premise",))])
    attention = torch.full((2, 1, 1, 2, 2), 0.3, requires_grad=True)
    values = soft_features(eligible_rows(chosen_heads(attention, "all"), batch), batch)
    values.sum().backward()
    assert values.isfinite().all()
    assert attention.grad.isfinite().all()
    assert written_logs(batch).tolist() == [0, 0]


def test_unknown_features_are_refused():
    batch = toy_batch()
    with pytest.raises(ValueError, match=r"\['depth'\]: use row_entropy"):
        soft_features(eligible_rows(toy_attention()[:, 0], batch), batch, ["depth"])


def test_entropy_only_is_the_mean_row_entropy_of_its_heads():
    traces, _ = random_batch(4)
    batch, attention = graph_batch(traces), random_attention(traces, 4)
    heads = ((0, 2), (1, 1))
    rows = eligible_rows(chosen_heads(attention, heads), batch)
    expected = soft_features(rows, batch, ["row_entropy_normalised"])[..., 0].mean(1)
    assert torch.allclose(entropy_only(attention, batch, heads=heads), expected)
    flat = torch.full_like(attention, 0.1)
    decided = torch.zeros_like(attention)
    decided[..., 0] = 1.0
    most = [
        np.mean([k > 1 for k in range(1, len(t.nodes)) if t.kinds[k] in ("step", "answer")])
        for t in traces
    ]
    assert entropy_only(flat, batch, heads=heads).tolist() == pytest.approx(most)
    assert entropy_only(decided, batch, heads=heads).abs().max() == 0
