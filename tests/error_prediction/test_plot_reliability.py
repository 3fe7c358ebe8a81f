"""The reliability diagram: points lie where the shares say, and nothing impossible is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from rg_helpers.error_prediction.metrics import reliability
from rg_helpers.plots.prediction import draw_reliability
from rg_helpers.plots.style import png_bytes


def points(axes, name):
    (found,) = [one for one in axes.collections if one.get_gid() == f"points {name}"]
    return found


def test_points_lie_at_predicted_and_observed_shares():
    rows = [
        {"predicted": 0.1, "observed": 0.2, "n": 10},
        {"predicted": 0.8, "observed": 0.6, "n": 40},
    ]
    (axes,) = draw_reliability({"probe": rows}, base_rate=0.3, title="t").axes
    drawn = points(axes, "probe")
    assert drawn.get_offsets().tolist() == [[0.1, 0.2], [0.8, 0.6]]
    small, large = drawn.get_sizes()
    assert small < large
    assert axes.get_xlim() == axes.get_ylim() == (0, 1)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["probe"]


def test_a_calibrated_predictor_lies_near_the_diagonal_and_a_boaster_does_not():
    generator = np.random.default_rng(0)
    risk = generator.random(4000)
    wrong = generator.random(4000) < risk
    boaster = np.clip(0.5 + 2 * (risk - 0.5), 0, 1)
    curves = {"fair": reliability(risk, wrong), "boaster": reliability(boaster, wrong)}
    figure = draw_reliability(curves)
    off = {}
    for name in curves:
        offsets = np.asarray(points(figure.axes[0], name).get_offsets())
        off[name] = np.abs(offsets[:, 0] - offsets[:, 1]).mean()
    assert off["fair"] < 0.05 < off["boaster"]
    assert len(png_bytes(figure)) > 5000


def test_curves_differ_in_greyscale_and_impossible_ones_are_refused():
    row = [{"predicted": 0.5, "observed": 0.5, "n": 3}]
    (axes,) = draw_reliability({str(i): row for i in range(4)}).axes
    lines = [line for line in axes.lines if line.get_gid() != "diagonal"]
    assert len({line.get_marker() for line in lines if line.get_marker() != "None"}) == 4
    with pytest.raises(ValueError, match="5 reliability curves"):
        draw_reliability({str(i): row for i in range(5)})
    with pytest.raises(ValueError, match="0 reliability curves"):
        draw_reliability({})
    with pytest.raises(ValueError, match="between 0 and 1"):
        draw_reliability({"a": [{"predicted": 1.5, "observed": 0.5, "n": 3}]})
    with pytest.raises(ValueError, match="expected some rows"):
        draw_reliability({"a": row, "b": []})
