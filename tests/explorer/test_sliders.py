"""Figures behind sliders: numbers counted by hand, figures that show them, sliders that redraw."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from rg_helpers.artefacts import read_json
from rg_helpers.course.folders import results_folder
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.sliders import (
    draw_error_types,
    draw_strengths,
    draw_threshold,
    slide,
    slide_error_types,
    slide_strengths,
    slide_threshold,
    threshold_table,
)
from rg_helpers.sliders.error_types import TYPES
from rg_helpers.sliders.strength import strength_rows

KINDS = ("premise", "premise", "question", "step", "answer")


def graphs() -> tuple[StepGraph, StepGraph]:
    """Drawn weights and gold whose agreement can be counted by hand."""
    drawn, gold = np.zeros((5, 5)), np.zeros((5, 5))
    drawn[3, :3] = 0.6, 0.3, 0.1
    drawn[4, :4] = 0.1, 0.2, 0.3, 0.4
    gold[3, 0] = 1
    gold[4, [2, 3]] = 0.5
    texts = tuple("abcde")
    return StepGraph(drawn, KINDS, texts, "toy"), StepGraph(gold, KINDS, texts, "gold")


def texts_of(figure) -> str:
    return "\n".join(t.get_text() for t in figure.findobj() if hasattr(t, "get_text"))


def test_threshold_table_counts_by_hand():
    drawn, gold = graphs()
    rows = threshold_table([drawn], [gold], (0.05, 0.3, 0.5, 0.9))
    counted = [(row["hits"], row["extra"], row["missed"]) for row in rows]
    # at 0.3: 0.6 (gold), 0.3, 0.3 (gold), 0.4 (gold); at 0.5: only 0.6
    assert counted == [(3, 4, 0), (3, 1, 0), (1, 0, 2), (0, 0, 3)]
    assert rows[1]["F1"] == pytest.approx(6 / 7)
    assert rows[3]["precision"] is None
    short = StepGraph(np.zeros((4, 4)), KINDS[:4], "abcd", "short")
    with pytest.raises(ValueError, match="drawn graph 0"):
        threshold_table([short], [gold])


def test_threshold_figure_shows_the_chosen_row():
    drawn, gold = graphs()
    rows = threshold_table([drawn], [gold], (0.05, 0.3, 0.5))
    figure = draw_threshold(rows, 0.3)
    words = texts_of(figure)
    for expected in ("F1 0.86", "recall 1.00", "precision 0.75", "Edges at 0.30"):
        assert expected in words
    line = next(a for a in figure.findobj() if a.get_gid() == "threshold")
    assert line.get_xdata()[0] == 0.3
    with pytest.raises(ValueError, match=r"0\.05, 0\.3, 0\.5"):
        draw_threshold(rows, 0.4)


def test_strengths_are_those_of_the_committed_experiment():
    result = read_json(results_folder() / "graph_loss_experiment.json")
    rows = strength_rows(result)
    for row in rows:
        of_row = [
            tuned["solved"]
            for tuned in result["tuning"]
            if tuned["family"] == row["family"]
            and tuned["learning_rate"] == result["chosen"][row["family"]]["learning_rate"]
            and tuned["strengths"].get("alignment", 0.0) == row["strength"]
            and tuned["arm"] in (row["arm"], "ce")
        ]
        assert of_row == [row["solved"]]
        assert row["low"] <= row["solved"] <= row["high"]
    strongest = max(row["strength"] for row in rows)
    figure = draw_strengths(rows, strongest)
    for row in rows:
        if row["strength"] == strongest:
            assert f"{row['solved']:.3f}" in texts_of(figure)
    with pytest.raises(ValueError, match="was not tried"):
        draw_strengths(rows, 12.5)
    with pytest.raises(ValueError, match="no tuning of 'alignment_random_heads'"):
        strength_rows(result, "alignment_random_heads")


def test_error_types_are_drawn_as_shares_of_all_solutions():
    rows = [
        {
            "family": "arithmetic",
            "operations": 2 + place,
            "distractors": 1,
            "n": 50,
            "solved": {"value": 1 - errors / 50},
            "first_errors": {"missing step": errors} if errors else {},
        }
        for place, errors in enumerate((0, 5, 20))
    ]
    figures = [draw_error_types(rows, place) for place in range(3)]
    place = -TYPES.index("missing step")
    for figure, errors in zip(figures, (0, 5, 20), strict=True):
        found = {round(b.get_y() + b.get_height() / 2): b.get_width() for b in bar_list(figure)}
        assert found[place] == pytest.approx(errors / 50)
        assert sum(found.values()) == pytest.approx(errors / 50)
    assert len({figure.axes[0].get_xlim() for figure in figures}) == 1
    assert "60% solved" in texts_of(figures[2])
    with pytest.raises(ValueError, match="difficulty 3"):
        draw_error_types(rows, 3)
    with pytest.raises(ValueError, match="no accuracy rows"):
        draw_error_types([], 0)


def bar_list(figure) -> list:
    return [bar for axes in figure.axes for container in axes.containers for bar in container]


def test_slider_shows_the_figure_first_and_redraws_when_moved(monkeypatch):
    pytest.importorskip("ipywidgets")
    shown = []
    module = sys.modules[slide.__module__]
    monkeypatch.setattr(module, "show", lambda figure, alt: shown.append((figure, alt)))
    box = slide(lambda v: f"figure {v}", lambda v: f"alt {v}", [1, 2, 5], label="v", start=1)
    assert shown == [("figure 2", "alt 2")]
    box.children[0].value = 2
    assert shown[1:] == [("figure 5", "alt 5")]
    with pytest.raises(ValueError, match="start=3"):
        slide(str, str, [1, 2, 5], label="v", start=3)


def test_sliders_are_left_out_silently_without_ipywidgets(monkeypatch):
    shown = []
    module = sys.modules[slide.__module__]
    monkeypatch.setattr(module, "show", lambda figure, alt: shown.append(alt))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    drawn, gold = graphs()
    assert slide_threshold([drawn], [gold]) is None
    assert slide_strengths(read_json(results_folder() / "graph_loss_experiment.json")) is None
    rows = read_json(results_folder() / "base_accuracy.json")["rows"]
    assert slide_error_types(rows) is None
    assert len(shown) == 3
    assert all(len(alt) > 60 for alt in shown)
