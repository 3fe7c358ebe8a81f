"""The comparison's figures: rows in order, filled markers, costs, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from rg_helpers import plots
from rg_helpers.plots.style import PALETTE, png_bytes


def row(method, family, value, **more):
    return {"method": method, "family": family, "value": value} | {
        "low": value - 0.05,
        "high": value + 0.05,
    } | more  # fmt: skip


ROWS = [
    row("flow", "arithmetic", 0.6, control=0.8, above=False),
    row("rollout", "arithmetic", 0.9, control=0.8, above=True),
    row("random", "arithmetic", 0.5),
    row("flow", "program", 0.7, control=0.6, above=True),
    row("rollout", "program", 0.8, control=0.82, above=False),
    row("random", "program", 0.5),
]


def lines(axes):
    return {line.get_gid(): line for line in axes.lines if line.get_gid()}


def test_best_method_on_top_and_filled_only_above_the_control():
    figure = plots.draw_comparison(ROWS, costs={"flow": 30.0, "rollout": 8.0, "unknown": 1.0})
    arithmetic, program, cost = figure.axes
    names = [label.get_text() for label in arithmetic.get_yticklabels()]
    assert names == ["rollout", "flow", "random"]
    drawn = {**lines(arithmetic), **lines(program)}
    assert drawn["arithmetic rollout filled"].get_markerfacecolor() == PALETTE["blue"]
    assert drawn["arithmetic flow open"].get_markerfacecolor() == "white"
    assert drawn["program flow filled"].get_ydata()[0] == -1
    assert drawn["program random open"].get_marker() == "x"
    assert set(lines(cost)) == {"cost flow", "cost rollout"}
    assert cost.get_xscale() == "log"
    assert len(png_bytes(figure)) > 1000


def test_limits_hold_every_interval_and_control():
    axes = plots.draw_comparison([row("flow", "program", 0.3, control=0.2, above=True)]).axes[0]
    low, high = axes.get_xlim()
    assert low < 0.2
    assert high > 1


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "no rows"),
        ([{"method": "flow", "family": "program", "value": 0.5}], "lacks low, high"),
        ([row("flow", "program", 0.5, low=0.6)], "does not hold"),
    ],
)
def test_rows_that_cannot_be_drawn_are_refused(rows, words):
    with pytest.raises(ValueError, match=words):
        plots.draw_comparison(rows)


def test_agreement_writes_every_number_once():
    values = np.array([[1, 0.25, np.nan], [0.25, 1, -0.1], [np.nan, -0.1, 1]])
    figure = plots.draw_agreement(values, ["a_b", "c", "d"], label="Spearman")
    axes = figure.axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert sorted(texts) == sorted(["1.00"] * 3 + [".25"] * 2 + ["-.10"] * 2)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a b", "c", "d"]
    with pytest.raises(ValueError, match="not a square"):
        plots.draw_agreement(values, ["a", "b"])
