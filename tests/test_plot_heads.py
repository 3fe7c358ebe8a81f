"""Figures of all heads: what is drawn is what was given, and what does not fit is refused."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from rg_helpers import plots


def framed(axes, name: str) -> list[tuple[float, float]]:
    found = [patch for patch in axes.patches if str(patch.get_gid()).startswith(name)]
    return [patch.get_xy() for patch in found]


def test_every_head_gets_a_panel_with_the_gold_cells_outlined():
    graphs = np.random.default_rng(0).random((2, 3, 4, 4))
    gold = np.zeros((4, 4))
    gold[3, 0] = gold[2, 1] = 0.5
    figure = plots.draw_all_heads(graphs, gold, prompt_nodes=2)
    panels = figure.get_axes()
    titles = [panel.get_title() or panel.get_title(loc="left") for panel in panels]
    assert titles == [f"layer {layer} head {head}" for layer in range(2) for head in range(3)]
    for panel, graph in zip(panels, graphs.reshape(6, 4, 4), strict=True):
        np.testing.assert_array_equal(panel.images[0].get_array(), graph)
        # Row = target goes down, column = source to the right.
        assert sorted(framed(panel, "gold")) == [(-0.5, 2.5), (0.5, 1.5)]


def test_the_chosen_head_is_framed_in_its_own_family():
    values = {"a": np.array([[0.5, 0.9], [0.6, 0.7]]), "b": np.array([[0.8, 0.4], [0.3, 0.2]])}
    figure = plots.draw_head_scores(values, {"a": (0, 1), "b": (0, 0)})
    first, second = figure.get_axes()[:2]
    assert [text.get_text() for text in first.texts] == ["0.50", "0.90", "0.60", "0.70"]
    assert framed(first, "chosen") == [(0.54, -0.46)]
    assert framed(second, "chosen") == [(-0.46, -0.46)]


def test_parts_fill_the_whole_and_large_ones_carry_their_number():
    figure = plots.draw_parts([[0.02, 0.98], [0.5, 0.5]], ["x", "y"], ["few", "rest"])
    axes = figure.get_axes()[0]
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [round(bar.get_width(), 2) for bar in bars] == [0.02, 0.5, 0.98, 0.5]
    assert [round(bar.get_x(), 2) for bar in bars] == [0, 0, 0.02, 0.5]
    assert sorted(text.get_text() for text in axes.texts) == ["50", "50", "98"]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.draw_all_heads(np.ones((2, 4, 4)), np.ones((4, 4))), "do not fit"),
        (lambda: plots.draw_all_heads(np.ones((1, 1, 4, 4)), np.ones((3, 3))), "do not fit"),
        (lambda: plots.draw_head_scores({}, {}), "no scores"),
        (lambda: plots.draw_parts([[0.5, 0.4]], ["x"], ["a", "b"]), "sum to"),
        (lambda: plots.draw_parts([[1.0]], ["x", "y"], ["a"]), "do not fit"),
    ],
)
def test_what_does_not_fit_is_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
