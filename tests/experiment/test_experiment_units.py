"""Units of a toy sweep: equal data, resumed after a kill, time budgets, keys, every arm once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import transformers.trainer
from experiment_toys import (
    PLAN,
    RECIPE,
    opening,
    planted_predictor,
    reranked_names,
)

from rg_helpers.experiment import fitted_predictor, sweep, unit
from rg_helpers.experiment.arms import ARMS, COMBINED
from rg_helpers.experiment.plan import Plan, Recipe
from rg_helpers.experiment.problem_sets import (
    cell_problems,
    families_asked,
    fit_problems,
    training_problems,
    unlabelled_problems,
)
from rg_helpers.experiment.timing import equal_time_steps
from rg_helpers.experiment.training_inputs import training_inputs
from rg_helpers.experiment.unit import Unit, run_unit, unit_path
from rg_helpers.training.order import EpochOrder


@pytest.fixture(autouse=True)
def no_folder_taken_for_a_package(monkeypatch):
    """The Trainer looks for a package `datasets`, and would find a folder of tests of that name."""
    found = getattr(transformers.trainer, "datasets", None)
    if found is None or not hasattr(found, "Dataset"):
        monkeypatch.setattr(transformers.trainer, "is_datasets_available", lambda: False)


@pytest.fixture(scope="module")
def place(model_folder, tmp_path_factory):
    return opening(model_folder, tmp_path_factory.mktemp("runs")).place()


@pytest.fixture(scope="module")
def predictor(place):
    return planted_predictor(place, "arithmetic")


def inputs_of(place, predictor, name, strengths=(), size=8, seed=0, steps=2):
    return training_inputs(
        place, ARMS[name], "arithmetic", size, seed, 1e-3, dict(strengths), steps, predictor
    )


def test_all_arms_learn_from_the_same_data_in_the_same_order(place, predictor):
    plain = inputs_of(place, predictor, "ce")
    longer = inputs_of(place, predictor, "ce_equal_time", steps=5)
    for name in ("alignment", "disorder", "koleo", "error_feedback", "entropy_only"):
        other = inputs_of(place, predictor, name, {name: 0.1})
        assert other.data.fingerprint() == plain.data.fingerprint(), name
        assert other.settings == plain.settings
        assert [term.weight for term in other.terms] == [0.1]
    assert longer.data.fingerprint() == plain.data.fingerprint()
    orders = [list(EpochOrder(i.data.lengths, 4, i.settings.seed)) for i in (plain, longer)]
    assert orders[0] == orders[1]
    shuffled = inputs_of(place, predictor, "alignment_shuffled", {"alignment": 0.1})
    rows = zip(shuffled.data, plain.data, strict=True)
    differ = [not torch.equal(ours.gold, theirs.gold) for ours, theirs in rows]
    assert sum(differ) >= len(differ) - 1
    assert shuffled.heads == inputs_of(place, predictor, "alignment", {"alignment": 1.0}).heads
    for ours, theirs in zip(shuffled.data, plain.data, strict=True):
        assert torch.equal(ours.input_ids, theirs.input_ids)
        assert torch.equal(ours.labels, theirs.labels)
    weighted = inputs_of(place, predictor, "error_weights", {"error_weights": 3.0})
    assert weighted.terms == ()
    assert weighted.data.is_weighted
    assert not plain.data.is_weighted
    other_heads = inputs_of(place, predictor, "alignment_random_heads", {"alignment": 1.0})
    assert not set(other_heads.heads) & set(shuffled.heads)


def test_sets_of_problems_are_nested_and_never_shared():
    recipe = replace(RECIPE, operations=(2, 3))
    small = training_problems("arithmetic", 8, 1, recipe)
    large = training_problems("arithmetic", 20, 1, recipe)
    assert large[:8] == small
    assert training_problems("arithmetic", 8, 2, recipe) != small
    ids = {problem.problem_id for problem in large}
    assert not ids & {problem.problem_id for problem in fit_problems("arithmetic", recipe)}
    others = unlabelled_problems("arithmetic", 20, 1, recipe)
    assert len(others) == 20
    assert not ids & {problem.problem_id for problem in others}
    for cell in recipe.cells():
        for family in families_asked(cell, "arithmetic"):
            tested = cell_problems(cell, family)
            assert {problem.split for problem in tested} == {"test"}
            assert {problem.operations for problem in tested} == {cell.operations}
    hardest, easy = recipe.cells()[0], next(c for c in recipe.cells() if c.name == "easy")
    assert (hardest.operations, hardest.distractors) == (3, 1)
    assert easy.operations == 3
    full = {cell.name: cell for cell in Recipe().cells()}
    assert full["easy"].operations < Recipe().operations[0]  # what is forgotten was not trained on
    assert full["longer"].operations > full["hardest"].operations == Recipe().operations[1]
    validation = cell_problems(hardest, "arithmetic", "validation")
    assert {problem.split for problem in validation} == {"validation"}


def test_a_killed_sweep_goes_on_where_it_stopped(model_folder, tmp_path, monkeypatch):
    here = opening(model_folder, tmp_path)
    trained = []
    real = unit.train_with_graphs

    def dying(*args, **kwargs):
        if len(trained) == 5:
            raise KeyboardInterrupt
        trained.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(unit, "train_with_graphs", dying)
    with pytest.raises(KeyboardInterrupt):
        sweep.sweep(here, PLAN, progress=False)
    monkeypatch.setattr(
        unit, "train_with_graphs", lambda *a, **k: trained.append(a) or real(*a, **k)
    )
    found = sweep.sweep(here, PLAN, progress=False)
    counts = sweep.unit_counts(PLAN)
    assert counts == {"tuning": 6, "test": 11}
    # everything but the base model's unit trains once, killed or not
    assert len(trained) == counts["tuning"] + counts["test"] - 1
    assert [record["unit"]["arm"] for record in found.records[:2]] == ["base", "ce"]
    again = sweep.sweep(here, PLAN, progress=False)
    assert len(trained) == counts["tuning"] + counts["test"] - 1, "kept units were trained again"
    assert again.records == found.records
    assert again.chosen == found.chosen
    fewer = sweep.sweep(here, replace(PLAN, seeds=1), progress=False)
    assert fewer.records == found.records[: len(fewer.records)], "a pilot's units are the sweep's"
    # the wall-time arm did as many steps as the measured ratio says
    rows = found.timing
    slowest = max(row["against_ce"] for row in rows)
    steps = {r["unit"]["arm"]: r["training"]["steps"] for r in found.records if r["training"]}
    assert steps["ce_equal_time"] == equal_time_steps(RECIPE.steps, rows)
    assert steps["ce_equal_time"] >= max(1.0, slowest) * RECIPE.steps - 1e-9
    assert steps["ce"] == steps["alignment"] == RECIPE.steps
    assert {row["arm"] for row in rows} == {"ce", "alignment"}
    tried = {row["learning_rate"]: (row["solved"], -row["ce"]) for row in found.tuning[:2]}
    assert found.chosen["arithmetic"]["learning_rate"] == max(tried, key=tried.get)
    rates = {record["unit"]["learning_rate"] for record in found.records[1:]}
    assert rates == {0.0, max(tried, key=tried.get)} - {0.0}
    seconds = sweep.unit_seconds(here.place().folder)
    assert {name: part["units"] for name, part in seconds.items()} == counts


def test_the_time_budget_is_that_of_the_slowest_arm_and_never_shorter():
    rows = [
        {"arm": "ce", "against_ce": 1.0},
        {"arm": "alignment", "against_ce": 1.11},
        {"arm": "koleo", "against_ce": 1.32},
    ]
    assert equal_time_steps(80, rows) == 106
    assert equal_time_steps(80, [rows[0], {"arm": "alignment", "against_ce": 0.97}]) == 80
    assert equal_time_steps(80, []) == 80


def test_other_units_recipes_and_broken_files_are_made_anew(place, tmp_path):
    here = replace(place, folder=tmp_path)
    plain = Unit("arithmetic", "base", 0, 0, 0.0, (), 0)
    record = run_unit(here, plain)
    path = unit_path(here, plain)
    assert run_unit(here, plain) == record
    path.write_text(path.read_text()[:100])
    fresh = run_unit(here, plain)
    assert fresh["rows"] == record["rows"]
    others = [
        replace(plain, seed=1),
        replace(plain, strengths=(("alignment", 0.1),)),
        replace(plain, learning_rate=1.0),
        replace(plain, purpose="tuning"),
    ]
    paths = {unit_path(here, other) for other in others} | {path}
    paths.add(unit_path(replace(here, recipe=replace(RECIPE, steps=9)), plain))
    assert len(paths) == 6
    cells = {row["cell"] for row in record["rows"]["base"]}
    assert cells == {cell.name for cell in RECIPE.cells()}
    assert {row["family"] for row in record["rows"]["base"] if row["cell"] == "transfer"} == {
        "deduction",
        "program",
    }
    assert len(record["graphs"]) == RECIPE.graphs
    assert [row["intervention"] is None for row in record["graphs"]] == [False, True]


def test_every_other_arm_runs(model_folder, tmp_path, monkeypatch, predictor):
    """Arms that need a predictor, own solutions or reranking; what a random model writes is bad."""
    monkeypatch.setattr(fitted_predictor, "_fit", lambda place, family: predictor)
    here = opening(model_folder, tmp_path, replace(RECIPE, longest=4, hardest=2, steps=1))
    names = ("combination", "error_weights", "self_training", "ce_best_of_n", "best_of_n")
    plan = replace(PLAN, arms=names, ladder_arms=(), seeds=1, tries=1)
    found = sweep.sweep(here, plan, progress=False)
    rows = {name for record in found.records for name in record["rows"]}
    expected = {"combination", "error_weights", "self_training"}
    assert rows == expected | reranked_names("best_of_n") | reranked_names("ce_best_of_n")
    strengths = found.chosen["arithmetic"]["strengths"]
    assert set(strengths) == {*COMBINED, "error_weights", "combination"}
    scores = {row["arm"]: (row["solved"], -row["ce"]) for row in found.tuning}
    best = sorted(COMBINED, key=lambda name: scores[name])[-2:]
    assert set(strengths["combination"]) == set(best)
    assert scores.keys() == {*COMBINED, "combination"}  # one try needs none, but for the choice
    for name in best:  # and the middle factor
        assert strengths["combination"][name] == strengths[name][name]
    combined = next(r for r in found.records if r["unit"]["arm"] == "combination")
    assert dict(combined["unit"]["strengths"]) == strengths["combination"]
    given = sweep.sweep(
        here,
        replace(plan, arms=("error_weights",)),
        sweep.Given(1e-4, {"error_weights": 2.0}),
        progress=False,
    )
    assert given.tuning == []
    assert given.records[0]["unit"]["learning_rate"] == 1e-4
    assert given.records[0]["unit"]["strengths"] == [["error_weights", 2.0]]


def test_impossible_plans_are_refused():
    with pytest.raises(ValueError, match="did you mean 'alignment'"):
        Plan(arms=("alignmnt",))
    with pytest.raises(ValueError, match="main size"):
        Plan(sizes=(16, 64), main_size=32)
    with pytest.raises(ValueError, match="start_share < stop_share"):
        Recipe(start_share=0.5, stop_share=0.5)
    with pytest.raises(ValueError, match="no strength of ce"):
        sweep.Given(strengths={"ce": 1.0})
