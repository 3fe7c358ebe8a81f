"""Every term: gradients by finite differences and into a model, padding, order, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from graph_toys import (
    planted_predictor,
    random_attention,
    random_batch,
    tapped_model,
    toy_attention,
    toy_batch,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from rg_helpers.graph_loss import TERMS, graph_batch, graph_term
from rg_helpers.graph_loss.disorder import MEASURES, DisorderTarget
from rg_helpers.graph_loss.targets import shuffled_targets

HEADS = ((0, 1), (1, 2))


def far_target() -> DisorderTarget:
    """Centres far from anything measured, so that every measure is outside its band."""
    centre = tuple((1.5,) * len(MEASURES) for _ in HEADS)
    flat = tuple((0.0,) * len(MEASURES) for _ in HEADS)
    width = tuple((0.2,) * len(MEASURES) for _ in HEADS)
    return DisorderTarget(HEADS, tuple(MEASURES), centre, flat, width, 1.0, 20)


def bound(layers=2, heads=3):
    """Every term, in every form, with choices that fit attention of 2 layers x 3 or more heads."""
    predictor = planted_predictor(layers, heads)
    return {
        "log_mass": graph_term("alignment", heads=HEADS),
        "kl": graph_term("alignment", heads=HEADS, form="kl"),
        "margin": graph_term("alignment", heads=HEADS, form="margin", margin=50.0),
        "sink": graph_term("alignment", heads="all", sink="keep", combine="pooled"),
        "disorder": graph_term("disorder", target=far_target()),
        "error_feedback": graph_term("error_feedback", predictor=predictor),
        "error_log": graph_term("error_feedback", predictor=predictor, form="log"),
        "koleo": graph_term("koleo", heads=HEADS),
        "entropy_only": graph_term("entropy_only", heads=HEADS),
    }


FORMS = tuple(bound())


def test_every_term_of_the_table_is_tested_here():
    assert {term.term.name for term in bound().values()} == set(TERMS)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_equal_finite_differences(form):
    traces, graphs = random_batch(1, traces=2)
    batch = graph_batch(traces, graphs)
    attention = random_attention(traces, 1).requires_grad_(True)
    term = bound()[form]
    if form.startswith("error"):
        term.choices["predictor"].double()
    assert torch.autograd.gradcheck(lambda a: term(a, batch), (attention,), eps=1e-7, atol=1e-5)


@pytest.fixture(scope="module")
def tapped():
    """The model is left as it is: tests here take gradients, or train a model of their own."""
    model, traces, graphs, run = tapped_model()
    return model, traces, graphs, run()


@pytest.mark.parametrize("form", FORMS)
def test_gradients_reach_the_attention_parameters_of_a_model(form, tapped):
    model, traces, graphs, attention = tapped
    loss = bound(2, 4)[form](attention, graph_batch(traces, graphs))
    assert loss.shape == (3,)
    assert loss.dtype == torch.float32
    parameters = [
        getattr(layer.self_attn, f"{part}_proj").weight
        for layer in model.model.layers
        for part in ("q", "k")
    ]
    gradients = torch.autograd.grad(loss.mean(), parameters, retain_graph=True)
    assert len(gradients) == 4
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert all(gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize("form", FORMS)
def test_a_few_steps_on_the_model_lower_the_term(form):
    model, traces, graphs, run = tapped_model()
    batch, term = graph_batch(traces, graphs), bound(2, 4)[form]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    losses = []
    for _ in range(6):
        losses.append(term(run(), batch).mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]


def test_shuffled_rows_pull_another_way(tapped):
    model, traces, graphs, attention = tapped
    batch, shuffled = (graph_batch(traces, rows) for rows in (graphs, shuffled_targets(graphs)))
    assert not torch.equal(shuffled.gold, batch.gold)
    assert torch.equal((shuffled.gold > 0).sum(-1), (batch.gold > 0).sum(-1))
    term = graph_term("alignment", heads=HEADS)
    weight = model.model.layers[0].self_attn.q_proj.weight
    one, other = (
        torch.autograd.grad(term(attention, rows).mean(), weight, retain_graph=True)[0].flatten()
        for rows in (batch, shuffled)
    )
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) < 0.9


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), extra=st.integers(0, 4))
def test_neither_padding_nor_order_changes_a_trace(form, seed, extra):
    traces, graphs = random_batch(seed, traces=4)
    width = max(len(trace.nodes) for trace in traces)
    attention = random_attention(traces, seed, nodes=width + extra)
    term = bound()[form]
    whole = term(attention, graph_batch(traces, graphs, nodes=width + extra))
    order = [2, 0, 3, 1]
    turned = graph_batch([traces[i] for i in order], [graphs[i] for i in order])
    again = term(attention[order][..., :width, :width], turned)
    assert torch.allclose(again, whole[order], atol=1e-6)
    if form == "koleo":  # a spread has no meaning for one trace; its embeddings are tested alone
        return
    for row, (trace, graph) in enumerate(zip(traces, graphs, strict=True)):
        size = len(trace.nodes)
        alone = term(
            attention[row : row + 1, ..., :size, :size].float(), graph_batch([trace], [graph])
        )
        assert alone.item() == pytest.approx(whole[row].item(), abs=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_autocast_changes_nothing(form):
    traces, graphs = random_batch(6)
    batch = graph_batch(traces, graphs)
    attention = random_attention(traces, 6, dtype=torch.float32)
    term = bound()[form]
    plain = term(attention, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(term(attention, batch), plain)


@pytest.mark.parametrize("form", FORMS)
def test_a_trace_whose_attention_is_not_finite_is_named(form):
    traces, graphs = random_batch(6)
    attention = random_attention(traces, 6, dtype=torch.float32)
    batch = graph_batch(traces, graphs)
    attention[1, :, :, len(traces[1].nodes) - 1, :2] = float("nan")
    with pytest.raises(ValueError, match=r"not finite for trace.*'trace 6 1'.*attention itself"):
        bound()[form](attention, batch)


def test_a_choice_that_is_not_finite_is_named_too():
    broken = replace(far_target(), centre=((float("nan"),) * len(MEASURES),) * 2)
    traces, _ = random_batch(6)
    with pytest.raises(ValueError, match=r"\(3 in all\): the attention is finite.*choices"):
        graph_term("disorder", target=broken)(random_attention(traces, 6), graph_batch(traces))


def test_no_gold_graph_for_a_chosen_loss():
    traces, _ = random_batch(6)
    attention = random_attention(traces, 6)
    for name, term in bound().items():
        if term.term.needs_gold:
            with pytest.raises(ValueError, match=r"needs a gold graph.*targets draws"):
                term(attention, graph_batch(traces))
        else:
            assert term(attention, graph_batch(traces)).isfinite().all(), name


def test_choices_are_checked_before_training_starts():
    with pytest.raises(ValueError, match="did you mean 'disorder'"):
        graph_term("disorders")
    with pytest.raises(ValueError, match="has no choice head: it has heads, form"):
        graph_term("alignment", head=3)
    for name, fitted in [
        ("alignment", "best_aligned_heads"),
        ("entropy_only", "best_aligned_heads"),
        ("disorder", "fit_disorder_target"),
        ("error_feedback", "fit_error_predictor"),
    ]:
        with pytest.raises(ValueError, match=f"fit it with .*{fitted} on training traces"):
            graph_term(name)
    assert all(len(term.meaning) > 20 and term.source for term in TERMS.values())


def test_a_choice_can_change_from_step_to_step():
    term = graph_term("alignment", heads=((0, 0),))
    kl = graph_term("alignment", heads=((0, 0),), form="kl")
    attention, batch = toy_attention(), toy_batch()
    assert term(attention, batch, form="kl") == kl(attention, batch)
    assert term(attention, replace(batch, trace_ids=())) == term(attention, batch)
