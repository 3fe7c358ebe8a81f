"""Transfer: what holds everywhere moves, what is a group's own does not."""

from __future__ import annotations

import numpy as np
import pytest

from rg_helpers.error_prediction.evaluation import Entrant
from rg_helpers.error_prediction.predictors import logistic
from rg_helpers.error_prediction.protocol import fit_and_score
from rg_helpers.error_prediction.transfer import difficulty_groups, transfer_matrix


def test_signals_move_or_do_not():
    generator = np.random.default_rng(0)
    ids = [f"p{i // 3}" for i in range(360)]
    groups = np.repeat(["here", "there"], 180)
    wrong = generator.random(360) < 0.4
    common = (wrong + generator.normal(0, 0.6, 360))[:, None]
    sign = np.where(groups == "here", 1, -1)[:, None]
    entrants = [
        Entrant("common", "graph", common, logistic()),
        Entrant("own", "graph", common * sign, logistic()),
        Entrant("layers", "graph", {"a": common * 0, "b": common}, logistic()),
    ]
    rows = transfer_matrix(entrants, wrong, ids, groups, draws=100)
    found = {(row["name"], row["train"], row["test"]): row for row in rows}
    assert len(found) == 12
    assert found["common", "here", "there"]["low"] > 0.7
    assert found["layers", "there", "here"]["low"] > 0.7
    assert found["own", "here", "here"]["low"] > 0.7
    assert found["own", "here", "there"]["high"] < 0.3
    assert found["common", "here", "there"]["n"] == 60
    assert found["common", "here", "there"]["traces_train"] == 180


def test_a_group_without_both_classes_says_so():
    ids = [f"p{i}" for i in range(60)]
    groups = np.repeat(["mixed", "right"], 30)
    wrong = np.array([i % 2 == 0 and i < 30 for i in range(60)])
    entrants = [Entrant("x", "graph", np.arange(60.0)[:, None], logistic())]
    rows = {(r["train"], r["test"]): r for r in transfer_matrix(entrants, wrong, ids, groups)}
    assert "value" in rows["mixed", "mixed"]
    assert "0 of 30" in rows["mixed", "right"]["skipped"]
    assert "skipped" in rows["right", "mixed"]


def test_a_problem_on_both_sides_is_refused():
    entrants = [Entrant("x", "graph", np.zeros((4, 1)), logistic())]
    with pytest.raises(ValueError, match="split by problem"):
        transfer_matrix(entrants, np.array([True, False] * 2), list("abab"), ["u", "u", "v", "v"])
    with pytest.raises(ValueError, match="fitted on and tested"):
        fit_and_score(logistic(), np.zeros((4, 1)), np.ones(4, bool), np.array([0, 1, 1, 2]),
                      np.array([0, 1]), np.array([2, 3]))  # fmt: skip


def test_difficulties_are_ranges_of_whole_numbers():
    operations = np.array([2, 2, 3, 4, 5, 6, 6, 8, np.nan])
    named = difficulty_groups(operations)
    assert named[-1] == "unknown"
    assert len(set(named[:-1].tolist())) == 3
    for value in (2, 6):
        assert len(set(named[operations == value].tolist())) == 1
    assert set(difficulty_groups(np.full(4, 3.0)).tolist()) == {"3 operations"}
