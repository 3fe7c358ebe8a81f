"""Error feedback: the predictor finds planted errors, stays frozen, and refuses a leak."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from graph_toys import (
    planted_predictor,
    random_attention,
    random_kinds,
    toy_attention,
    toy_batch,
    trace_of,
)

from rg_helpers.graph_loss import graph_batch
from rg_helpers.graph_loss.error_feedback import error_feedback, error_weights
from rg_helpers.graph_loss.error_predictor import (
    GraphErrorPredictor,
    fit_error_predictor,
    graph_columns,
    load_error_predictor,
    save_error_predictor,
)
from rg_helpers.graph_loss.graph_batch import GraphBatch
from rg_helpers.graph_loss.soft_features import soft_features, written_logs


def planted(count=120, seed=0, wrong_shows=True):
    """Two samples a problem; in wrong traces head (1, 1) looks at the first node instead."""
    rng = np.random.default_rng(seed)
    traces, masses, wrong = [], [], []
    for number in range(count):
        trace = trace_of(random_kinds(rng, 4), f"t{number}", problem=f"p{seed}-{number // 2}")
        mass = random_attention([trace], 1000 * seed + number)[0].numpy()
        bad = bool(rng.random() < 0.4)
        if bad and wrong_shows:
            mass[1, 1] = 0.3 * mass[1, 1]
            mass[1, 1, 1:, 0] += 0.5
        traces.append(trace)
        masses.append(mass.astype(np.float32))
        wrong.append(bad)
    return traces, masses, wrong


@pytest.fixture(scope="module")
def fitted() -> GraphErrorPredictor:
    return fit_error_predictor(*planted(), epochs=150)


def stacked(traces, masses):
    batch = graph_batch(traces)
    attention = torch.zeros(len(traces), 2, 3, batch.nodes, batch.nodes)
    for row, mass in enumerate(masses):
        attention[row, :, :, : mass.shape[-1], : mass.shape[-1]] = torch.tensor(mass)
    return attention, batch


def test_errors_that_show_are_found_on_other_problems(fitted):
    assert fitted.record.auroc > 0.85
    assert fitted.record.folds == 5
    traces, masses, wrong = planted(60, seed=7)
    attention, batch = stacked(traces, masses)
    risk = error_feedback(attention, batch, predictor=fitted)
    assert risk[wrong].mean() > risk[[not bad for bad in wrong]].mean() + 0.3
    assert ((risk > 0) & (risk < 1)).all()


def test_the_measured_quality_is_chance_where_nothing_shows():
    """Labels without any trace in the attention: only problems seen in fitting could help."""
    record = fit_error_predictor(*planted(wrong_shows=False), epochs=60).record
    assert 0.3 < record.auroc < 0.7


def test_the_risk_by_hand():
    """Every operation of the network in NumPy, on one trace."""
    predictor = planted_predictor(1, 1)
    predictor.mean.fill_(0.2)
    predictor.scale.fill_(0.5)
    batch, attention = toy_batch(), toy_attention()
    rows = attention[0, :, :, :, :].clone()
    for target in range(6):
        rows[..., target, target:] = 0
    rows = rows / rows.sum(-1, keepdim=True).clamp(min=1e-6)
    features = soft_features(rows, batch)[0, 0].numpy()
    x = (np.append(features, np.log(4)) - 0.2) / 0.5
    w = {name: value.double().numpy() for name, value in predictor.state_dict().items()}
    hidden = np.tanh(w["hidden.weight"] @ x + w["hidden.bias"])
    logit = w["linear.weight"] @ x + w["linear.bias"] + w["leave.weight"] @ hidden
    risk = 1 / (1 + np.exp(-logit[0]))
    found = error_feedback(attention, batch, predictor=predictor)
    assert found.item() == pytest.approx(risk, abs=1e-5)
    log_form = error_feedback(attention, batch, predictor=predictor, form="log")
    assert log_form.item() == pytest.approx(-np.log(1 - risk), abs=1e-5)
    weights = error_weights(attention, batch, predictor=predictor, beta=2.0)
    assert weights.item() == pytest.approx(1 + 2 * risk, abs=1e-5)


def test_weights_carry_no_gradient_and_may_keep_the_size_of_the_step(fitted):
    traces, masses, _ = planted(8, seed=9)
    attention, batch = stacked(traces, masses)
    attention.requires_grad_(True)
    weights = error_weights(attention, batch, predictor=fitted, beta=3.0)
    assert not weights.requires_grad
    assert weights.min() >= 1
    assert weights.max() <= 4
    even = error_weights(attention, batch, predictor=fitted, beta=3.0, mean_one=True)
    assert even.mean().item() == pytest.approx(1)
    assert torch.allclose(even / even[0], weights / weights[0])
    assert error_weights(attention, batch, predictor=fitted, beta=0).tolist() == [1] * 8
    with pytest.raises(ValueError, match="beta=-1"):
        error_weights(attention, batch, predictor=fitted, beta=-1)


def test_the_predictor_stays_as_it_was_fitted(fitted):
    traces, masses, _ = planted(8, seed=9)
    attention, batch = stacked(traces, masses)
    before = {name: value.clone() for name, value in fitted.state_dict().items()}
    attention.requires_grad_(True)
    error_feedback(attention, batch, predictor=fitted).sum().backward()
    assert attention.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in fitted.parameters())
    assert not fitted.training
    assert all(torch.equal(before[name], value) for name, value in fitted.state_dict().items())


def test_a_training_problem_of_the_predictor_is_refused(fitted):
    traces, masses, _ = planted(8, seed=9)
    known = replace(traces[3], problem_id="p0-5")
    attention, batch = stacked([*traces[:3], known], masses[:4])
    for use in (error_feedback, error_weights):
        with pytest.raises(ValueError, match=r"1 training problem.*p0-5.*other problems"):
            use(attention, batch, predictor=fitted)
    nameless = GraphBatch(batch.kinds, None, batch.trace_ids)
    with pytest.raises(ValueError, match="does not say which problems"):
        error_feedback(attention, nameless, predictor=fitted)


def test_attention_of_another_model_is_refused(fitted):
    with pytest.raises(ValueError, match=r"has \(1, 1\) layers and heads.*fitted on \(2, 3\)"):
        error_feedback(toy_attention(), toy_batch(), predictor=fitted)


def test_same_seed_same_weights_and_columns_do_not_hide_the_length():
    traces, masses, wrong = planted(40)
    first, second = (
        fit_error_predictor(traces, masses, wrong, epochs=5, folds=2).state_dict() for _ in "ab"
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    batch = graph_batch(traces[:1])
    columns = graph_columns(torch.tensor(masses[0])[None], batch, "all", ["look_back_relative"])
    assert columns.shape == (1, 7)
    assert columns[0, -1] == written_logs(batch)[0] == torch.tensor(4.0).log()


def test_it_is_read_back_as_it_was_saved(fitted, tmp_path):
    path = save_error_predictor(tmp_path / "predictor.safetensors", fitted)
    again = load_error_predictor(path)
    assert again.record == fitted.record
    assert not any(parameter.requires_grad for parameter in again.parameters())
    traces, masses, _ = planted(8, seed=9)
    attention, batch = stacked(traces, masses)
    assert torch.equal(again(attention, batch), fitted(attention, batch))
    linear = planted_predictor(width=0)
    save_error_predictor(path, linear)
    assert load_error_predictor(path).hidden is None


def test_a_file_that_is_something_else_is_named(tmp_path):
    path = tmp_path / "predictor.safetensors"
    with pytest.raises(FileNotFoundError, match="fit an error predictor"):
        load_error_predictor(path)
    for content in (b"", b"not a predictor at all", b"\x02\0\0\0\0\0\0\0{}"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is not a graph error predictor"):
            load_error_predictor(path)


def test_labels_of_one_class_and_missing_masses_are_refused():
    traces, masses, _ = planted(12)
    with pytest.raises(ValueError, match="2 of 12 traces are wrong"):
        fit_error_predictor(traces, masses, [True] * 2 + [False] * 10)
    with pytest.raises(ValueError, match="12 traces, 11 attention masses"):
        fit_error_predictor(traces, masses[:-1], [True] * 12)
    with pytest.raises(ValueError, match="form='logit'"):
        error_feedback(
            toy_attention(), toy_batch(), predictor=planted_predictor(1, 1), form="logit"
        )
