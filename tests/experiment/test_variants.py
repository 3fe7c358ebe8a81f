"""Variants of the alignment term: each differs in what it says, and is paired with plain CE."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from experiment_toys import RECIPE, opening

from rg_helpers.experiment import variants
from rg_helpers.experiment.plan import TUNING_SEED, Recipe
from rg_helpers.experiment.variants import VARIANTS, Variant, variant_rows


def test_every_variant_changes_fields_that_the_recipe_has_and_no_two_are_the_same():
    usual = asdict(Recipe())
    seen = set()
    for variant in VARIANTS:
        assert set(variant.changes) <= set(usual)
        assert all(usual[name] != value for name, value in variant.changes.items())
        Recipe(**variant.changes)
        seen.add((variant.arm, variant.strength, repr(variant.changes)))
    assert len(seen) == len(VARIANTS) == len({variant.name for variant in VARIANTS})


def test_rows_are_paired_by_seed_and_problem(monkeypatch):
    """Planted outcomes: the gain is the mean difference to plain CE of the same family."""
    asked = []

    def planted(given, task):
        place, unit = task
        asked.append((place.recipe.heads, unit))
        generator = np.random.default_rng(unit.seed)
        solved = generator.random(40) < 0.5
        if unit.arm == "alignment":
            solved[:10] = True
        return {"validation": {"each": solved.tolist(), "ce": 0.5}}

    monkeypatch.setattr(variants, "_run", planted)
    chosen = [VARIANTS[0], Variant("wide", {"heads": 1}, 0.5)]
    given = opening("nowhere", "nowhere")
    rows = variant_rows(given, ["arithmetic", "program"], 8, 3, 1, chosen, progress=False)
    assert [(r["family"], r["variant"]) for r in rows] == [
        (family, name) for family in ("arithmetic", "program") for name in (chosen[0].name, "wide")
    ]
    plain = [np.random.default_rng(TUNING_SEED + s).random(40) < 0.5 for s in range(3)]
    expected = np.mean([(~one[:10]).sum() / 40 for one in plain])
    assert rows[1]["gain"]["value"] == pytest.approx(expected)
    assert rows[0]["gain"]["value"] == 0
    assert "p_holm" not in rows[0]["gain"]
    assert {heads for heads, unit in asked if unit.arm == "alignment"} == {1}
    assert {unit.purpose for _, unit in asked} == {"tuning"}


def test_aligning_to_the_next_step_trains_another_model(model_folder, tmp_path):
    place = opening(model_folder, tmp_path, RECIPE)
    chosen = [VARIANTS[0], Variant("own", {}, 5.0), Variant("next", {"targets": "next"}, 5.0)]
    rows = variant_rows(place, ["arithmetic"], 8, 1, 1, chosen, progress=False)
    plain, own, ahead = (row["ce"] for row in rows)
    assert len({plain, own, ahead}) == 3
    again = variant_rows(place, ["arithmetic"], 8, 1, 1, chosen, progress=False)
    assert again == rows
