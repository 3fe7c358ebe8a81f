"""The report on planted outcomes: an effect is found, chance is not, claims can be read again."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pandas
import pytest
from experiment_toys import PLAN, RECIPE, planted_records

from rg_helpers.artefacts import write_json
from rg_helpers.course.claims import Claim
from rg_helpers.course.commands import experiment as command
from rg_helpers.course.pointers import read_pointer
from rg_helpers.experiment.arms import ARMS, title_of
from rg_helpers.experiment.outcomes import outcome_array, outcome_table
from rg_helpers.experiment.plan import Plan, main_size
from rg_helpers.experiment.report import calibration_error, experiment_report
from rg_helpers.experiment.sweep import Given, Sweep

SIZES = (16, 64)
CHANCES = {
    ("base", 0): 0.1,
    **{("ce", n): c for n, c in zip(SIZES, (0.3, 0.5), strict=True)},
    **{("ce_equal_time", n): c for n, c in zip(SIZES, (0.3, 0.5), strict=True)},
    **{("alignment", n): c for n, c in zip(SIZES, (0.6, 0.75), strict=True)},
    **{("alignment_shuffled", n): c for n, c in zip(SIZES, (0.3, 0.5), strict=True)},
    ("koleo", 16): 0.3,
}
ORIGIN = {"command": "test", "seed": 0, "profile": "cpu", "device": "", "versions": {}, "date": ""}


@pytest.fixture(scope="module")
def plan():
    return Plan(
        families=("arithmetic",),
        arms=("base", "ce", "ce_equal_time", "alignment", "alignment_shuffled", "koleo"),
        ladder_arms=("ce", "ce_equal_time", "alignment", "alignment_shuffled"),
        sizes=SIZES,
        main_size=16,
        seeds=5,
        draws=300,
    )


@pytest.fixture(scope="module")
def records():
    return planted_records(CHANCES, seed=1)


@pytest.fixture(scope="module")
def reported(plan, records):
    chosen = {"arithmetic": {"learning_rate": 1e-3, "strengths": {}, "equal_time_steps": 3}}
    return experiment_report(Sweep(records, [], [], chosen), plan, RECIPE, ORIGIN)


def found(rows, **wanted):
    (row,) = [r for r in rows if all(r[key] == value for key, value in wanted.items())]
    return row


def test_a_planted_gain_is_found_and_no_other(reported, records):
    report, _ = reported
    asked = {"against": "ce_equal_time", "size": 16, "cell": "hardest"}
    gain = found(report["comparisons"], arm="alignment", **asked)
    assert gain["p"] <= gain["p_holm"] < 0.05
    assert 0 < gain["low"] < gain["value"] < gain["high"]
    assert gain["value"] > 0.15
    mine, theirs = (
        [[row["solved"] for row in record["rows"][arm] if row["cell"] == "hardest"]
         for record in records
         if record["unit"]["arm"] == arm and record["unit"]["size"] == 16]
        for arm in ("alignment", "ce_equal_time")
    )  # fmt: skip
    assert gain["value"] == pytest.approx(np.mean(mine) - np.mean(theirs))
    for arm in ("ce", "alignment_shuffled", "koleo"):
        assert found(report["comparisons"], arm=arm, **asked)["p_holm"] > 0.05, arm
    asked["against"] = "base"  # measured once, paired with every seed
    assert found(report["comparisons"], arm="ce", **asked)["p_holm"] < 0.05
    ratio = found(report["data_ratios"], arm="alignment")
    assert ratio["value"] == pytest.approx(16 / 64)  # better with 16 than the reference with 64
    assert found(report["data_ratios"], arm="alignment_shuffled")["value"] > 0.4


def test_rows_hold_what_was_planted(reported, records):
    report, table = reported
    row = found(report["rows"], arm="ce", size=64, cell="hardest")
    solved = [
        r["solved"] for record in records for r in record["rows"].get("ce", ())
        if record["unit"]["size"] == 64 and r["cell"] == "hardest"
    ]  # fmt: skip
    assert row["solved"]["value"] == pytest.approx(np.mean(solved))
    assert row["solved"]["low"] < np.mean(solved) < row["solved"]["high"]
    assert (row["solved"]["n"], row["solved"]["seeds"]) == (60, 5)
    wrong = len(solved) - sum(solved)
    assert row["first_errors"] == {"wrong operand": wrong}
    assert row["step_errors"] == {"wrong_operand": 2 * wrong}
    assert row["wrong_steps"] == pytest.approx(2 * wrong / (10 * len(solved)))
    assert row["length"] == pytest.approx(0.9)
    assert row["calibration_error"] < 0.15  # planted confidence is the planted chance
    truer = found(report["graphs"], arm="alignment", size=16, measure="attention")
    assert truer["gain"]["low"] > 0.1
    assert truer["gain"]["p_holm"] < 0.05
    same = found(report["graphs"], arm="koleo", size=16, measure="attention")
    assert same["gain"]["p_holm"] > 0.05
    assert found(report["graphs"], arm="ce", size=16, measure="intervention")["value"]["n"] == 3
    assert len(table) == sum(len(rows) for r in records for rows in r["rows"].values())
    json.dumps(report, allow_nan=False, default=str)


def test_calibration_error_by_hand():
    confidence = np.array([0.9] * 10 + [0.2] * 10)
    right = np.array([True] * 5 + [False] * 5 + [True] * 2 + [False] * 8)
    assert calibration_error(confidence, right) == pytest.approx(0.5 * 0.4 + 0.5 * 0.0)


def test_a_sweep_with_holes_is_refused(records):
    table = outcome_table(records)
    part = table[(table["arm"] == "ce") & (table["size"] == 16) & (table["cell"] == "easy")]
    assert outcome_array(part, "solved", 5).shape == (5, 60)
    with pytest.raises(ValueError, match="to its end"):
        outcome_array(part.iloc[1:], "solved", 5)
    with pytest.raises(ValueError, match="to its end"):
        outcome_array(part[part["seed"] < 4], "solved", 5)


def test_claims_read_the_written_report(reported, plan, tmp_path, monkeypatch):
    monkeypatch.setenv("RGH_REPOSITORY", str(tmp_path))
    (tmp_path / "pyproject.toml").write_text("")
    path = write_json(tmp_path / "data" / "results" / command.RESULT_NAME, reported[0])
    claims = {claim.id: claim for claim in command.claims_of(reported[0], path)}
    assert all(isinstance(claim, Claim) for claim in claims.values())
    gain = claims["train.alignment.arithmetic.gain_vs_ce_equal_time"]
    assert gain.target == command.LEAST_GAIN
    assert gain.target_met()
    assert read_pointer(path, gain.pointer)["value"] == gain.value
    assert claims["train.base.arithmetic.accuracy_hard"].value < 0.3
    assert "train.alignment.arithmetic.gain_vs_shuffled" in claims
    assert "train.koleo.arithmetic.gain_vs_shuffled" not in claims
    assert claims["train.alignment.arithmetic.data_ratio_at_equal_accuracy"].target_met()
    assert claims["train.ce.arithmetic.data_ratio_at_equal_accuracy"].target is None


def arguments(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(["graph-loss", *words])


def test_the_command_writes_everything(reported, records, plan, tmp_path, monkeypatch, capsys):
    chosen = reported[0]["chosen"]
    monkeypatch.setattr(command, "sweep", lambda *a: Sweep(records, [], [], chosen))
    monkeypatch.setattr(command, "Opening", _Closed)
    words = ["--families", "arithmetic", "--sizes", "64", "16", "--seeds", "5"]
    words += ["--arms", *plan.arms, "--output", str(tmp_path), "--set", "heads=4", "layers=1,2"]
    asked = arguments(*words)
    given = command.plan_of(asked)
    assert given[0].sizes == SIZES
    assert given[0].main_size == 16
    assert given[1].layers == (1, 2)
    assert command.run(asked) == 0
    shown = capsys.readouterr().out
    assert "CE + alignment" in shown
    report = json.loads((tmp_path / command.RESULT_NAME).read_text())
    assert report["provenance"]["command"].startswith("rgh experiment graph-loss --profile cpu")
    assert str(tmp_path) not in json.dumps(report)
    assert len(pandas.read_parquet(tmp_path / command.TABLE_NAME)) == len(reported[1])
    assert (tmp_path / command.FIGURE_NAME).stat().st_size > 5000
    beside = json.loads((tmp_path / command.FIGURE_NAME).with_suffix(".json").read_text())
    assert "CE + alignment" in beside["alt"]


class _Closed:
    """Stands for an opening: nothing is loaded."""

    def __init__(self, *given):
        self.folder, self.model_hash = "kept", "hash"

    def place(self):
        return self


def test_profiles_make_plans_and_slips_are_named():
    for profile in ("smoke", "cpu", "gpu", "hub"):
        plan, recipe = command.plan_of(arguments("--profile", profile))
        assert plan.main_size in plan.sizes
        assert set(plan.ladder_arms) <= set(plan.arms)
        assert command.unit_counts(plan, Given())["test"] == len(plan.families) * len(
            plan.measured()
        )
        assert recipe.operations[0] > 3 or profile == "smoke"
    assert main_size((16, 64, 256)) == 64
    cpu, _ = command.plan_of(arguments())
    assert cpu.seeds >= 5
    assert set(cpu.arms) == set(ARMS) - {"alignment_random_heads", "self_training_random"}
    with pytest.raises(ValueError, match="expected NAME=VALUE"):
        command.plan_of(arguments("--set", "head=4"))
    with pytest.raises(ValueError, match="is no int"):
        command.plan_of(arguments("--set", "heads=many"))
    with pytest.raises(ValueError, match="ARM=VALUE"):
        command._pairs(["alignment"])
    with pytest.raises(ValueError, match="at least 5 seeds"):
        command._check_recordable(arguments("--record"), PLAN)
    assert title_of("best_of_n_vote") == "no training, samples reranked by vote"


def test_the_estimate_counts_units_and_uses_kept_ones(records, tmp_path):
    plan, given = PLAN, Given()
    assert "run a pilot first" in command.estimate(plan, given, tmp_path, 2)
    for number, record in enumerate(records[:3]):
        write_json(tmp_path / "arithmetic" / f"test-ce-n8-s{number}-key.json", record)
    said = command.estimate(plan, given, tmp_path, 2)
    assert "6 units to tune, 11 to measure" in said
    assert "median 2 s, of which 2 s of CPU" in said
    assert f"about {17 * 2 / 2 / 60:.0f} minutes" in said
