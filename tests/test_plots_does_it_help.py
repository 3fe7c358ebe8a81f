"""Figures of notebook 10: everything at its place, told apart without colour, bad input refused."""

from __future__ import annotations

import numpy as np
import pytest

from rg_helpers.plots.does_it_help import draw_data_ratio, draw_power, draw_solved_grid
from rg_helpers.plots.intervals import SERIES
from rg_helpers.plots.style import png_bytes

POWER = {"3 seeds": [(0.0, 0.02), (0.1, 0.5), (0.2, 0.9)], "9 seeds": [(0.0, 0.02), (0.2, 1.0)]}
CURVES = {"plain": [(16, 0.1), (64, 0.2), (256, 0.3)], "graph": [(256, 0.4), (16, 0.1), (64, 0.2)]}


def drawn(axes, word):
    return {
        line.get_gid(): line for line in axes.lines if str(line.get_gid()).startswith(word)
    }  # fmt: skip


def test_the_grid_orders_problems_alike_in_all_arms_and_names_shares():
    plain = np.array([[True, False, True], [False, False, True]])
    graph = np.array([[True, False, True], [True, False, True]])
    figure = draw_solved_grid({"plain": plain, "graph": graph}, title="who solved what")
    for axes, wanted in zip(figure.axes, (plain, graph)):
        (mesh,) = axes.collections
        # the last problem is solved by all, the first by three of four, the middle one by none
        assert mesh.get_array().reshape(2, 3).tolist() == wanted[:, [2, 0, 1]].tolist()
        assert [text.get_text() for text in axes.texts] == [f"{row.mean():.0%}" for row in wanted]
    assert figure.axes[0].get_ylim() == (2, 0)  # seed 0 on top
    assert len(png_bytes(figure, dpi=50)) > 1000


def test_power_curves_keep_their_values_and_differ_in_more_than_colour():
    axes = draw_power(POWER, margin=0.05, title="power").axes[0]
    curves = drawn(axes, "power")
    assert curves["power 3 seeds"].get_xydata().tolist() == [
        list(pair) for pair in POWER["3 seeds"]
    ]
    looks = {(line.get_marker(), line.get_linestyle()) for line in curves.values()}
    assert len(looks) == 2
    (vertical,) = (line for line in axes.lines if list(line.get_xdata()) == [0.05, 0.05])
    assert vertical.get_linestyle() == ":"
    named = {text.get_text(): text.xy for text in axes.texts}
    x, y = named["3 seeds"]
    assert y == pytest.approx(np.interp(x, *np.array(POWER["3 seeds"]).T))  # beside its curve
    assert named["9 seeds"][1] != y
    assert "seen in 80%" in named


def test_the_data_ratio_figure_marks_where_the_target_is_reached():
    figure = draw_data_ratio(CURVES, target=0.3, reached={"graph": 128.0})
    axes = figure.axes[0]
    assert drawn(axes, "curve")["curve graph"].get_xdata().tolist() == [16, 64, 256]
    assert [line for line in axes.lines if list(line.get_xdata()) == [128.0, 128.0]]
    assert set(drawn(axes, "target")["target"].get_ydata()) == {0.3}
    texts = [text.get_text() for text in axes.texts]
    assert {"plain", "graph", "128", "accuracy to reach"} <= set(texts)
    assert axes.get_xscale() == "log"
    assert len(png_bytes(figure, dpi=50)) > 1000


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="same problems"):
        draw_solved_grid({"a": np.ones((2, 3)), "b": np.ones((2, 4))})
    with pytest.raises(ValueError, match="same problems"):
        draw_solved_grid({})
    with pytest.raises(ValueError, match="same problems"):
        draw_solved_grid({"a": np.ones(3)})
    with pytest.raises(ValueError, match="0 curves"):
        draw_power({}, margin=0.05)
    with pytest.raises(ValueError, match="told apart"):
        draw_data_ratio(
            {str(n): [(1, 0.1)] for n in range(len(SERIES) + 1)}, target=0.1, reached={}
        )
