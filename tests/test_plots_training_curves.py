"""Training curves: every value at its place, the same look for a run in every panel."""

from __future__ import annotations

import pytest
from matplotlib.colors import to_hex

from rg_helpers.plots.style import png_bytes
from rg_helpers.plots.training_curves import LOOKS, MOST_MARKERS, draw_training_curves

PANELS = {
    "loss": {"plain": [(0, 2.0), (10, 1.0)], "with graph": [(0, 2.0), (10, 0.5)]},
    "alignment": {"with graph": [(0, 0.7), (10, 0.1)]},
}


def curves(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_values_stand_in_the_panel_of_their_quantity():
    figure = draw_training_curves(PANELS, title="two runs")
    first, second = figure.axes
    assert (first.get_title(loc="left") or first.get_title()) == "loss"
    assert list(curves(first)["with graph"].get_xydata().ravel()) == [0, 2.0, 10, 0.5]
    assert list(curves(second)) == ["with graph"]
    assert png_bytes(figure, dpi=40).startswith(b"\x89PNG")


def test_a_run_looks_the_same_in_every_panel_and_unlike_the_others():
    first, second = draw_training_curves(PANELS).axes

    def look(line):
        return to_hex(line.get_color()), line.get_marker(), line._dash_pattern

    assert look(curves(first)["with graph"]) == look(curves(second)["with graph"])
    mine, other = look(curves(first)["with graph"]), look(curves(first)["plain"])
    assert all(a != b for a, b in zip(mine, other))


def test_one_legend_names_every_run_once():
    figure = draw_training_curves({"second": PANELS["alignment"], "first": PANELS["loss"]})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["with graph", "plain"]


def test_levels_limits_and_empty_places():
    panels = dict.fromkeys("abcd", PANELS["loss"])
    figure = draw_training_curves(
        panels, levels={"b": {"guessing": 0.25}}, limits={"c": (0, None)}, columns=3
    )
    assert [text.get_text() for text in figure.axes[1].texts] == ["guessing"]
    assert figure.axes[1].lines[0].get_ydata()[0] == 0.25
    assert figure.axes[2].get_ylim()[0] == 0
    assert [axes.axison for axes in figure.axes] == [True] * 4 + [False] * 2
    below = [axes.get_xlabel() for axes in figure.axes[:4]]
    assert below == ["", "optimiser step", "optimiser step", "optimiser step"]


def test_long_curves_keep_few_markers():
    long = {"x": {"run": [(step, step) for step in range(600)]}}
    line = curves(draw_training_curves(long).axes[0])["run"]
    assert 600 / line.get_markevery() <= 2 * MOST_MARKERS


def test_nothing_and_too_much_are_refused():
    with pytest.raises(ValueError, match="0 runs"):
        draw_training_curves({})
    many = {"x": {str(run): [(0, 0)] for run in range(len(LOOKS) + 1)}}
    with pytest.raises(ValueError, match="several figures"):
        draw_training_curves(many)
