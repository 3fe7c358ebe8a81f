"""The experiment's figure: what is drawn where, filled where sure, and what is refused."""

from __future__ import annotations

import pytest

from rg_helpers.plots.experiment import draw_experiment
from rg_helpers.plots.style import png_bytes

GAINS = {
    "arithmetic": [
        {"title": "CE + alignment", "kind": "graph", "value": 0.1, "low": 0.02, "high": 0.18,
         "sure": True},
        {"title": "shuffled", "kind": "control", "value": 0.0, "low": -0.1, "high": 0.1,
         "sure": False},
    ],
    "program": [
        {"title": "CE + alignment", "kind": "graph", "value": -0.05, "low": -0.1, "high": 0.0,
         "sure": False},
    ],
}  # fmt: skip


def points(sizes):
    return [
        {"title": title, "size": size, "value": 0.1 + size / 1000, "low": 0.05, "high": 0.6}
        for title in ("cross-entropy", "CE + alignment")
        for size in sizes
    ]


def marks(figure, word):
    return {
        line.get_gid(): line for axes in figure.axes for line in axes.lines
        if str(line.get_gid()).startswith(word)
    }  # fmt: skip


def test_gains_stand_where_they_are_and_are_filled_where_sure():
    figure = draw_experiment(GAINS, {"arithmetic": points((16, 64))}, title="Does it help?")
    drawn = marks(figure, "gain")
    assert set(drawn) == {
        "gain CE + alignment filled", "gain CE + alignment open", "gain shuffled open",
    }  # fmt: skip
    assert drawn["gain CE + alignment filled"].get_xdata()[0] == 0.1
    assert drawn["gain CE + alignment filled"].get_markerfacecolor() != "white"
    assert drawn["gain shuffled open"].get_markerfacecolor() == "white"
    assert len(figure.axes) == 4
    curves = marks(figure, "curve")
    assert list(curves["curve cross-entropy"].get_ydata()) == pytest.approx([0.116, 0.164])
    looks = {(c.get_marker(), str(c.get_linestyle()), c.get_color()) for c in curves.values()}
    assert len(looks) == len(curves) == 2
    assert len(png_bytes(figure)) > 5000


def test_one_size_has_no_curves_and_bad_rows_are_refused():
    figure = draw_experiment(GAINS, {"arithmetic": points((16,))})
    assert len(figure.axes) == 2
    with pytest.raises(ValueError, match="no gains"):
        draw_experiment({"arithmetic": []}, {})
    outside = [{**GAINS["arithmetic"][0], "low": 0.5, "high": 0.6}]
    with pytest.raises(ValueError, match="does not hold"):
        draw_experiment({"arithmetic": outside}, {})
    many = [{**point, "title": str(n)} for n in range(7) for point in points((16, 64))[:2]]
    with pytest.raises(ValueError, match="at most 6"):
        draw_experiment(GAINS, {"arithmetic": many})
