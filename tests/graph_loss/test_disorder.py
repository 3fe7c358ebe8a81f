"""Disorder: the target that right traces set, both sides of it, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from graph_toys import random_attention, random_kinds, toy_attention, toy_batch, trace_of

from rg_helpers.graph_loss import graph_batch
from rg_helpers.graph_loss.disorder import (
    LEAST_WIDTH,
    MEASURES,
    DisorderTarget,
    disorder,
    disorder_measures,
    fit_disorder_target,
    target_from_dict,
)


def target(centre, width, slope=0.0, log_written=0.0) -> DisorderTarget:
    """One head, one measure: the look-back distance."""
    return DisorderTarget(
        ((0, 0),), ("look_back_relative",), ((centre,),), ((slope,),), ((width,),), log_written, 9
    )


# By hand, over the steps of the toy (see test_soft_features).
LOOK_BACK = ((2 * 0.75 + 0.25) / 2 + (3 * 0.25 + 2 * 0.5 + 0.25) / 3 + 2.5 / 4 + 1 / 5) / 4


@pytest.mark.parametrize("side", [-1, 1])
def test_outside_the_band_by_hand_on_both_sides(side):
    """Three widths from the centre, band 1: x = 2, loss 4 / 3; band 0: x = 3, loss 9 / 4."""
    aim = target(LOOK_BACK + 3 * 0.05 * side, 0.05)
    attention, batch = toy_attention(), toy_batch()
    assert disorder(attention, batch, target=aim).item() == pytest.approx(4 / 3)
    assert disorder(attention, batch, target=aim, band=0).item() == pytest.approx(9 / 4)
    above = disorder(attention, batch, target=aim, sides="above").item()
    assert above == pytest.approx(0 if side > 0 else 4 / 3)


def test_inside_the_band_nothing_is_asked():
    attention = toy_attention().requires_grad_(True)
    loss = disorder(attention, toy_batch(), target=target(LOOK_BACK + 0.04, 0.05))
    loss.sum().backward()
    assert loss.item() == 0
    assert attention.grad.abs().max() == 0


def test_the_gradient_points_back_to_the_centre_from_either_side():
    """Moving attention of step 4 from its nearest source to the first one looks further back."""
    for side, sign in ((-1, 1), (1, -1)):
        attention = toy_attention().requires_grad_(True)
        aim = target(LOOK_BACK + 0.3 * side, 0.05)
        disorder(attention, toy_batch(), target=aim).sum().backward()
        further = attention.grad[0, 0, 0, 4, 0] - attention.grad[0, 0, 0, 4, 3]
        assert further.sign() == sign  # descent goes the other way


def test_the_centre_moves_with_length():
    short, long = trace_of(("premise", "step")), trace_of(("premise", *["step"] * 4), "long")
    batch = graph_batch([short, long])
    attention = torch.zeros(2, 1, 1, 5, 5)
    attention[..., 0] = 0.5  # all look at the premise: distance 1 relative to the nodes before
    aim = target(0.9, 0.1, slope=0.2, log_written=float(np.log(1)))
    z = [(1 - 0.9) / 0.1, (1 - 0.9 - 0.2 * np.log(4)) / 0.1]
    outside = [max(0, abs(value) - 0.5) for value in z]
    expected = [x * x / (1 + x) for x in outside]
    found = disorder(attention, batch, target=aim, band=0.5)
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def traces_and_masses(count=24, seed=0):
    """Heads of one model: head (0, 0) sharp on the node before, the others random."""
    rng = np.random.default_rng(seed)
    traces = [
        trace_of(random_kinds(rng, written=2 + number % 4), f"t{number}") for number in range(count)
    ]
    masses = []
    for number, trace in enumerate(traces):
        mass = random_attention([trace], seed * 100 + number)[0].numpy().astype(np.float32)
        mass[0, 0] = np.eye(len(trace.nodes), k=-1)
        masses.append(mass)
    return traces, masses


def test_fitting_gives_least_squares_over_right_traces_alone():
    traces, masses = traces_and_masses()
    wrong = [number % 3 == 0 for number in range(len(traces))]
    for number, bad in enumerate(wrong):
        if bad:
            masses[number] = masses[number] * 0  # would move every centre
    fitted = fit_disorder_target(traces, masses, wrong)
    right = [number for number, bad in enumerate(wrong) if not bad]
    logs = [np.log(sum(kind in ("step", "answer") for kind in traces[n].kinds)) for n in right]
    values = np.stack(
        [
            disorder_measures(
                torch.tensor(masses[n], dtype=torch.float64)[None], graph_batch([traces[n]])
            )[0].numpy()
            for n in right
        ]
    )
    assert fitted.traces == 16
    assert fitted.heads == tuple((i, j) for i in range(2) for j in range(3))
    for head in range(6):
        for number in range(len(MEASURES)):
            line = np.polyfit(np.array(logs) - np.mean(logs), values[:, head, number], 1)
            assert fitted.slope[head][number] == pytest.approx(line[0], abs=1e-6)
            assert fitted.centre[head][number] == pytest.approx(line[1], abs=1e-6)
            left = values[:, head, number] - np.polyval(line, np.array(logs) - np.mean(logs))
            spread = max(LEAST_WIDTH, left.std())
            assert fitted.width[head][number] == pytest.approx(spread, abs=1e-6)


def test_right_traces_pay_less_than_disturbed_ones():
    traces, masses = traces_and_masses(40)
    fitted = fit_disorder_target(traces, masses, heads=((0, 0), (1, 1)))
    batch = graph_batch(traces[:8])
    attention = torch.zeros(8, 2, 3, batch.nodes, batch.nodes)
    for row, mass in enumerate(masses[:8]):
        attention[row, :, :, : mass.shape[-1], : mass.shape[-1]] = torch.tensor(mass)
    usual = disorder(attention, batch, target=fitted)
    flat = torch.where(batch.eligible[:, None, None], 0.1, 0.0).expand_as(attention)
    assert disorder(flat, batch, target=fitted).min() > usual.max()


def test_the_target_survives_json_and_names_what_is_wrong():
    traces, masses = traces_and_masses(10)
    fitted = fit_disorder_target(traces, masses, by_length=False)
    assert np.abs(fitted.slope).max() == 0
    assert target_from_dict(json.loads(json.dumps(fitted.as_dict()))) == fitted
    with pytest.raises(ValueError, match="not a disorder target"):
        target_from_dict({"centre": []})
    with pytest.raises(ValueError, match="every width must be above 0"):
        target(0.5, 0.0)
    with pytest.raises(ValueError, match=r"\['chaos'\]: choose among"):
        DisorderTarget(((0, 0),), ("chaos",), ((0,),), ((0,),), ((1,),), 0.0, 9)
    with pytest.raises(ValueError, match=r"centre is \(1, 1\): expected 2 heads"):
        DisorderTarget(((0, 0), (0, 1)), ("look_back_relative",), ((0,),), ((0,),), ((1,),), 0.0, 9)


def test_too_few_right_traces_and_wrong_choices_are_refused():
    traces, masses = traces_and_masses(10)
    with pytest.raises(ValueError, match="7 of 10 traces are right"):
        fit_disorder_target(traces, masses, [True] * 3 + [False] * 7)
    with pytest.raises(ValueError, match="10 traces, 9 attention masses"):
        fit_disorder_target(traces, masses[:9])
    with pytest.raises(ValueError, match="sides='below'"):
        disorder(toy_attention(), toy_batch(), target=target(0, 1), sides="below")
    with pytest.raises(ValueError, match="band=-1"):
        disorder(toy_attention(), toy_batch(), target=target(0, 1), band=-1)
