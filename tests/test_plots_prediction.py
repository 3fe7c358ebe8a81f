"""The figure of the report: rows in order, hollow markers, refusals."""

from __future__ import annotations

import pytest

from rg_helpers.plots.prediction import draw_prediction
from rg_helpers.plots.style import png_bytes


def found(value, half=0.05):
    return {"value": value, "low": value - half, "high": value + half}


ROWS = {
    "arithmetic": [
        {"title": "length", "kind": "baseline", "auroc": found(0.6), "within_problem_auc": None},
        {"title": "attention", "kind": "graph", "auroc": found(0.8),
         "within_problem_auc": found(0.7)},
    ],
    "program": [
        {"title": "length", "kind": "baseline", "auroc": found(0.7), "within_problem_auc": None}
    ],
}  # fmt: skip
GAINS = {"arithmetic": [{"title": "all graphs", **found(0.08)}, {"title": "text", **found(0.01)}]}


def drawn(axes):
    return {line.get_gid(): line for line in axes.lines if line.get_gid()}


def test_rows_gains_and_markers():
    figure = draw_prediction(ROWS, GAINS, title="Which?")
    above, other, below, empty = figure.axes
    assert [label.get_text() for label in above.get_yticklabels()] == ["length", "attention"]
    marks = drawn(above)
    assert marks["graph attention"].get_xdata()[0] == 0.8
    assert marks["within attention"].get_markerfacecolor() == "white"
    assert "within length" not in marks
    assert set(drawn(other)) == {"baseline length"}
    assert set(drawn(below)) == {"gain all graphs filled", "gain text open"}
    assert drawn(empty) == {}
    assert len(png_bytes(figure)) > 5000


def test_bad_rows_are_refused():
    with pytest.raises(ValueError, match="no rows"):
        draw_prediction({"arithmetic": []}, {})
    bad = [{"title": "x", "kind": "graph", "auroc": {"value": 0.9, "low": 0.1, "high": 0.2}}]
    with pytest.raises(ValueError, match="does not hold its value"):
        draw_prediction({"arithmetic": bad}, {})
