"""Coefficients and correlations against closed forms, simulation and SciPy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

from rg_helpers.error_prediction.coefficient_table import coefficient_table, correlation_table
from rg_helpers.error_prediction.graph_columns import Columns


def drawn(problems=150, samples=4, seed=0, shared=0.0):
    """Wrong ~ 1.5 a - 1 b; c is noise that, like the problem, is the same for all samples."""
    generator = np.random.default_rng(seed)
    ids = np.repeat([f"p{i}" for i in range(problems)], samples)
    a, b = generator.normal(size=(2, len(ids)))
    c = np.repeat(generator.normal(size=problems), samples)
    hard = shared * np.repeat(generator.normal(size=problems), samples)
    wrong = generator.random(len(ids)) < 1 / (1 + np.exp(-(1.5 * a - b + hard)))
    return ids, np.column_stack([a, b, c]), wrong


def test_coefficients_are_those_of_maximum_likelihood():
    ids, values, wrong = drawn()
    found = coefficient_table(Columns(values, ("a", "b", "c")), wrong, ids)
    rows = {row["name"]: row for row in found["rows"]}
    scaled = (values - values.mean(0)) / values.std(0)
    plain = LogisticRegression(C=1e9, max_iter=1000, tol=1e-8).fit(scaled, wrong)
    assert [rows[n]["coefficient"] for n in "abc"] == pytest.approx(plain.coef_[0], abs=1e-3)
    assert rows["a"]["low"] > 1
    assert rows["b"]["high"] < -0.5
    assert rows["a"]["p_holm"] < 0.001 < rows["c"]["p_holm"]
    assert rows["a"]["odds_ratio"] == pytest.approx(np.exp(rows["a"]["coefficient"]))
    assert found["problems"] == 150
    assert found["left_out"] == []


def test_errors_know_that_samples_of_a_problem_are_alike():
    inside = 0
    for seed in range(40):
        ids, values, wrong = drawn(80, 6, seed, shared=2.0)
        found = coefficient_table(Columns(values[:, 2:], ("c",)), wrong, ids)["rows"][1]
        inside += found["low"] <= 0 <= found["high"]
    assert inside >= 34, "95 % intervals of a coefficient that is zero"
    naive = coefficient_table(Columns(values[:, 2:], ("c",)), wrong, np.arange(len(ids)))["rows"][1]
    assert found["standard_error"] > 1.3 * naive["standard_error"]


def test_repeated_and_constant_columns_are_left_out_by_name():
    ids, values, wrong = drawn()
    columns = np.column_stack([values, values[:, 0] + 2 * values[:, 1], np.full(len(ids), 3.0)])
    found = coefficient_table(Columns(columns, ("a", "b", "c", "again", "same")), wrong, ids)
    assert found["left_out"] == ["again", "same"]
    assert [row["name"] for row in found["rows"]] == ["intercept", "a", "b", "c"]


def test_what_cannot_be_fitted_is_refused():
    ids, values, wrong = drawn()
    with pytest.raises(ValueError, match="is a label among the columns"):
        coefficient_table(Columns(np.column_stack([wrong]) * 1.0, ("leak",)), wrong, ids)
    with pytest.raises(ValueError, match="expected at least 30 problems"):
        coefficient_table(Columns(values[:40], ("a", "b", "c")), wrong[:40], ids[:40])


def test_a_column_without_a_finite_coefficient_costs_no_other_its_place():
    ids, values, wrong = drawn()
    rare = np.zeros(len(ids))
    rare[np.flatnonzero(wrong)[:40]] = 1  # only ever with errors: its coefficient has no maximum
    columns = Columns(np.column_stack([values, rare]), ("a", "b", "c", "rare"))
    found = coefficient_table(columns, wrong, ids)
    assert found["separating"] == ["rare"]
    without = coefficient_table(Columns(values, ("a", "b", "c")), wrong, ids)
    assert found["rows"] == without["rows"]
    assert without["separating"] == []
    json.dumps(found, allow_nan=False)


def test_correlations_are_those_of_ranks():
    ids, values, wrong = drawn()
    columns = np.column_stack([values, np.ones(len(ids))])
    rows = correlation_table(Columns(columns, ("a", "b", "c", "one")), wrong, ids, draws=400)
    assert [row["name"] for row in rows][:2] == ["a", "b"]
    assert "one" not in {row["name"] for row in rows}
    for row in rows:
        column = "abc".index(row["name"])
        expected = stats.pearsonr(stats.rankdata(values[:, column]), wrong)[0]
        assert row["value"] == pytest.approx(expected, abs=1e-9)
        assert row["low"] < row["value"] < row["high"]
    by_name = {row["name"]: row for row in rows}
    assert by_name["a"]["p_holm"] < 1e-6
    assert by_name["c"]["p_holm"] > 0.05
    assert by_name["c"]["within"] is None, "it is the same for all samples of a problem"
    assert by_name["a"]["within"] > 0.3
