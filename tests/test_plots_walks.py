"""Figures of walks and alignments: what is drawn is what was given."""

from __future__ import annotations

import numpy as np
import pytest

from rg_helpers.plots.walks import draw_alignment, draw_walk


def named(axes, start: str) -> set[str]:
    return {str(p.get_gid()) for p in axes.patches if str(p.get_gid()).startswith(start)}


def test_a_walk_shows_every_step_and_every_move_once():
    figure = draw_walk((4, 4, 0, 4, 0), list("abcde"), names={4: "plan"}, title="walk")
    rows, ring = figure.get_axes()
    assert rows.collections[0].get_offsets().tolist() == [[0, 0], [0, 1], [1, 2], [0, 3], [1, 4]]
    assert [t.get_text() for t in rows.get_xticklabels()] == ["plan", "0"]
    assert [t.get_text() for t in rows.get_yticklabels()] == list("abcde")
    assert named(ring, "move") == {"move 4 0", "move 0 4"}
    assert named(ring, "loop") == {"loop 4"}
    assert sorted(t.get_text() for t in ring.texts) == ["0", "2", "plan"]  # 4 -> 0 is taken twice
    assert rows.get_title(loc="left") or rows.get_title()


def test_a_walk_that_stays_is_drawn_too():
    _, ring = draw_walk((3,), ["only"]).get_axes()
    assert named(ring, "move") == named(ring, "loop") == set()
    with pytest.raises(ValueError, match="one a step"):
        draw_walk((1, 2), ["a"])
    with pytest.raises(ValueError, match="0 clusters"):
        draw_walk((), [])


def test_pairs_are_framed_in_their_cells():
    similarities = np.array([[0.9, 0.1, 0.2], [0.0, -0.3, 0.8]])
    figure = draw_alignment(similarities, [(0, 0), (1, 2)], ["a", "b"], ["x", "y", "z"])
    axes = figure.get_axes()[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), similarities)
    frames = {patch.get_gid(): patch.get_xy() for patch in axes.patches}
    assert frames == {"pair 0 0": (-0.46, -0.46), "pair 1 2": (1.54, 0.54)}
    with pytest.raises(ValueError, match="reference steps"):
        draw_alignment(similarities, [], ["a"], ["x", "y", "z"])
