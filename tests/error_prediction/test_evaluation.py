"""Predictors side by side: planted signals are found, noise and redundancy add nothing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from rg_helpers.error_prediction.evaluation import (
    Entrant,
    evaluate,
    increments,
    joined,
    matched_by,
    shuffled_within_problems,
)
from rg_helpers.error_prediction.predictors import boosting, logistic, probe
from rg_helpers.error_prediction.side_by_side import side_by_side


@pytest.fixture(scope="module")
def study():
    generator = np.random.default_rng(0)
    problems, samples = 120, 5
    ids = [f"p{i}" for i in range(problems) for _ in range(samples)]
    hard = np.repeat(generator.normal(size=problems), samples)
    slip = generator.normal(size=problems * samples)
    wrong = hard + slip > 0.2
    length = (hard + generator.normal(0, 0.3, len(hard)))[:, None]
    graph = (slip + generator.normal(0, 0.5, len(slip)))[:, None]
    noise = generator.normal(size=(len(slip), 4))
    entrants = [
        Entrant("length", "baseline", length, logistic()),
        Entrant("graph", "graph", graph, logistic()),
        Entrant("noise", "graph", noise, boosting()),
        Entrant("length + graph", "increment", joined(length, graph), logistic(), "length"),
        Entrant("length + noise", "increment", joined(length, noise), logistic(), "length"),
        Entrant("length again", "increment", joined(length, 2 * length), logistic(), "length"),
    ]
    return ids, wrong, length, evaluate(entrants, wrong, ids, draws=500, progress=False)


def test_difficulty_and_slips_are_told_apart(study):
    _, wrong, _, found = study
    length, graph = found["length"].quality, found["graph"].quality
    assert length.auroc.value > 0.7
    assert graph.auroc.value > 0.7
    assert abs(length.within_problem_auc.value - 0.5) < 0.08, "length knows the problem alone"
    assert graph.within_problem_auc.value > 0.8
    assert abs(found["noise"].quality.auroc.value - 0.5) < 0.08
    assert graph.auroc.value == pytest.approx(roc_auc_score(wrong, found["graph"].scores))


def test_increments_find_what_adds_and_say_what_does_not(study):
    rows = increments(study[3])
    assert rows.keys() == {"length + graph", "length + noise", "length again"}
    gain = rows["length + graph"]
    assert gain["low"] > 0.05
    assert gain["p_holm"] < 0.05
    assert gain["p_equivalent"] > 0.9
    assert gain["within_problem"]["low"] > 0.1
    again = rows["length again"]
    assert again["low"] <= 0 <= again["high"]
    assert again["p_equivalent"] < 0.05, "adds nothing, shown and not just not refuted"
    assert again["p_holm"] > 0.05


def test_shuffling_within_problems_keeps_each_problems_share_and_kills_slips(study):
    ids, wrong, length, found = study
    dealt = shuffled_within_problems(wrong, ids, 1)
    for problem in set(ids):
        inside = np.array(ids) == problem
        assert dealt[inside].sum() == wrong[inside].sum()
    entrants = [Entrant("graph", "control", found["graph"].entrant.features, logistic()),
                Entrant("length", "control", length, logistic())]  # fmt: skip
    shuffled = evaluate(entrants, dealt, ids, draws=200, progress=False)
    assert abs(shuffled["graph"].quality.within_problem_auc.value - 0.5) < 0.08
    assert shuffled["length"].quality.auroc.value > 0.7


def test_matching_makes_length_useless(study):
    _, wrong, length, _ = study
    sizes = np.round(length[:, 0] * 2)
    kept = matched_by(sizes, wrong)
    for size in np.unique(sizes):
        inside = sizes[kept] == size
        assert wrong[kept][inside].sum() * 2 == inside.sum()
    assert roc_auc_score(wrong[kept], sizes[kept]) == 0.5
    assert len(set(kept.tolist())) == len(kept)


def test_layers_stay_a_choice_when_joined():
    layers = {"layer 0": np.zeros((3, 2)), "layer 1": np.ones((3, 2))}
    both = joined(np.full((3, 1), 5.0), layers)
    assert both["layer 1"].tolist() == [[5, 1, 1]] * 3
    assert joined(np.zeros((3, 1)), np.ones((3, 2))).shape == (3, 3)
    with pytest.raises(ValueError, match="only one choice"):
        joined(layers, layers)


def test_missing_values_are_filled_from_training_rows():
    features = np.array([[1.0, np.nan], [2.0, 5.0], [3.0, np.nan], [np.nan, 6.0]] * 5)
    wrong = np.array([False, False, True, True] * 5)
    for predictor in (logistic(), probe(), boosting()):
        assert np.isfinite(predictor.fit(features, wrong).predict_proba(features)).all()
    empty = np.column_stack([features[:, 0], np.full(20, np.nan)])
    assert np.isfinite(logistic().fit(empty, wrong).predict_proba(empty)).all()


def test_names_must_be_clear():
    entrant = Entrant("a", "baseline", np.zeros((4, 1)), logistic())
    with pytest.raises(ValueError, match=r"named twice: \['a'\]"):
        evaluate([entrant, entrant], np.array([True, False] * 2), list("aabb"))
    lost = Entrant("b", "increment", np.zeros((4, 1)), logistic(), over="c")
    with pytest.raises(ValueError, match=r"unknown ones: \['c'\]"):
        evaluate([entrant, lost], np.array([True, False] * 2), list("aabb"))


def test_several_processes_give_the_same_in_the_same_order(study):
    ids, wrong, _, alone = study
    entrants = [one.entrant for one in alone.values()]
    shared = evaluate(entrants, wrong, ids, draws=500, progress=False, jobs=2)
    assert list(shared) == list(alone)
    for name, one in shared.items():
        np.testing.assert_allclose(one.scores, alone[name].scores, rtol=1e-9)
        assert one.chosen == alone[name].chosen
        assert one.quality.auroc.value == pytest.approx(alone[name].quality.auroc.value)


def test_what_a_fit_raises_in_another_process_is_raised_here():
    with pytest.raises(ZeroDivisionError):
        side_by_side(divmod, [(4, 2), (1, 0)], jobs=2)
