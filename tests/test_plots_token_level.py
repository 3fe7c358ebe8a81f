"""Figures of token-level scores: they hold the values, names and marks that they were given."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from rg_helpers.plots import PALETTE, token_level
from rg_helpers.plots.style import png_bytes
from rg_helpers.statistics import wilson_interval


def words(figure):
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    found += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return [word.strip() for word in found]


def title(axes):
    return axes.get_title() or axes.get_title(loc="left")


def test_surprise_has_a_bar_a_token_and_marks_the_wrong_step():
    figure = token_level.draw_token_surprise([0.1, 2.0, 0.5], [1, 3], marked={1}, wrong_step=1)
    bars = figure.axes[0].patches
    assert [bar.get_height() for bar in bars] == [0.1, 2.0, 0.5]
    assert [bool(bar.get_hatch()) for bar in bars] == [False, True, False]
    assert words(figure) == ["1", "2 ✗"]
    with pytest.raises(ValueError, match="there are 3 tokens"):
        token_level.draw_token_surprise([0.1, 2.0, 0.5], [4])


def test_before_and_after_stand_at_their_values():
    before, after = wilson_interval(2, 10), wilson_interval(9, 10)
    cells = {family: {"easy": (before, after)} for family in ("arithmetic", "program")}
    figure = token_level.draw_before_after(cells, label="solved", below="operations")
    assert [title(axes) for axes in figure.axes] == ["arithmetic", "program"]
    lines = figure.axes[0].lines
    assert [lines[0].get_ydata()[0], lines[3].get_ydata()[0]] == [0.2, 0.9]
    assert words(figure) == ["before", "after"]


def test_compounding_draws_powers_of_the_accuracy():
    rows = [
        {"family": "program", "when": when, "token_accuracy": p, "tokens": 100, "solved": solved}
        for when, p, solved in (("before", 0.99, 0.4), ("after", 0.995, 0.6))
    ]
    figure = token_level.draw_compounding(rows)
    curve = figure.axes[0].lines[-1]
    assert np.allclose(curve.get_ydata(), curve.get_xdata() ** 100)
    assert words(figure) == ["100 tokens"] * 2 + ["program, before", "program, after"]
    assert figure.axes[0].lines[0].get_markerfacecolor() == "white"


def test_distributions_of_unequal_groups_each_sum_to_one():
    right, wrong = {"a": [1.0] * 30, "b": [0.0] * 30}, {"a": [0.2] * 4, "b": [3.0] * 4}
    figure = token_level.draw_score_distributions(right, wrong, {"a": "A", "b": "B"})
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert sum(heights) == pytest.approx(2.0)
    assert title(figure.axes[1]) == "B"
    empty = token_level.draw_score_distributions({"a": []}, {"a": [1.0, 2.0]}, {"a": "A"})
    assert sum(bar.get_height() for bar in empty.axes[0].patches) == pytest.approx(1.0)


def test_every_kind_of_pair_keeps_its_marker():
    figure = token_level.draw_pairs(
        {"mean": [("slip", 1, 2), ("gap", 2, 3)], "largest": [("gap", 1, 1), ("slip", 5, 6)]},
        below="right",
        beside="broken",
    )
    first, second = (
        {line.get_label(): line.get_marker() for line in axes.lines[:2]} for axes in figure.axes
    )
    assert first == second == {"slip": "o", "gap": "s"}
    assert words(figure) == ["slip", "gap"]


def test_curves_are_named_at_their_ends():
    figure = token_level.draw_losses({"careless": [3, 1], "careful": [1, 0.5]}, label="nats")
    note = figure.axes[0].texts[0]
    assert (note.get_text(), note.xy) == ("careless", (1, 1))
    assert to_hex(note.get_color()) == PALETTE["vermilion"]
    evaluations = [{"step": 0, "loss": 2.0, "token_accuracy": 0.5}]
    drawn = token_level.draw_fine_tuning([2.0, 1.5], evaluations)
    assert drawn.axes[0].lines[0].get_ydata().tolist() == [2.0, 1.5]
    assert png_bytes(drawn).startswith(b"\x89PNG")
