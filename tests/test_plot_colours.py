"""Colours of figures: seen against the page, told apart by everybody, and never the only sign."""

from __future__ import annotations

import itertools
from pathlib import Path

import nbformat
import pytest
from colour_vision import DEFICIENCIES, contrast, difference

from rg_helpers import plots
from rg_helpers.artefacts import read_json
from rg_helpers.plots import experiment, intervals, prediction, training_curves
from rg_helpers.plots.style import FAINT, FILLS, INK, PALETTE, SHORTEST_ALT

ROOT = Path(__file__).resolve().parents[1]
LEAST_DIFFERENCE = 15  # in CIELAB; about 2 is just noticeable
FIGURES = {  # every set of marks that stands in one figure: (colour, marker, dashes)
    "families": [(s.colour, s.marker, s.dashes) for s in plots.FAMILY_STYLES.values()],
    "edges": [(s.colour, None, s.dashes) for n, s in plots.EDGE_STYLES.items() if n != "plain"],
    "edges beside gold": [
        (s.colour, None, s.dashes) for n, s in plots.EDGE_STYLES.items() if n != "both"
    ],
    "intervals": [(s.colour, s.marker, s.dashes) for s in intervals.SERIES],
    "predictors": [(*look, None) for look in prediction.KIND_LOOKS.values()],
    "reliability": list(prediction.RELIABILITY_LOOKS),
    "arms": [(*look, None) for look in experiment.ARM_LOOKS.values()],
    "learning curves": list(experiment.CURVE_LOOKS),
    "training curves": [
        (PALETTE[c], marker, dashes) for c, marker, dashes in training_curves.LOOKS
    ],
}


@pytest.mark.parametrize(
    ("first", "second", "deficiency", "expected"),
    [  # worked out with colorspacious 1.1.2, CIELAB under D65
        ("#0173b2", "#d55e00", "protanopia", 91.36),
        ("#0173b2", "#d55e00", "deuteranopia", 107.87),
        ("#0173b2", "#d55e00", "tritanopia", 101.72),
        ("#029e73", "#d55e00", "protanopia", 37.18),
        ("white", "black", "grey", 100.0),
    ],
)
def test_differences_are_those_of_colorspacious(first, second, deficiency, expected):
    assert difference(first, second, deficiency) == pytest.approx(expected, abs=0.05)


def test_contrast_is_that_of_the_guidelines():
    assert contrast("black") == pytest.approx(21)
    assert contrast("#767676") == pytest.approx(
        4.54, abs=0.01
    )  # the guidelines' lightest text grey
    assert contrast("red", "red") == 1


@pytest.mark.parametrize("name", [name for name in PALETTE if name not in FILLS])
def test_a_line_stands_out_from_the_page(name):
    assert contrast(PALETTE[name]) >= 3, f"{name}: WCAG 2.2 asks for 3 : 1 (1.4.11)"


def test_words_can_be_read():
    for name in ("blue", "vermilion", "green"):  # also the colours of names and verdicts
        assert contrast(PALETTE[name]) >= 4.5, f"{name}: WCAG 2.2 asks for 4.5 : 1 (1.4.3)"
    assert contrast(FAINT) >= 4.5
    for kind, style in plots.KIND_STYLES.items():
        assert contrast(INK, style.fill) >= 7, f"a number on a {kind}"


@pytest.mark.parametrize("seen", [None, *DEFICIENCIES])
@pytest.mark.parametrize("figure", FIGURES)
def test_two_marks_of_one_figure_differ_for_everybody(figure, seen):
    for (first, *_), (second, *_) in itertools.combinations(FIGURES[figure], 2):
        assert difference(first, second, seen) >= LEAST_DIFFERENCE, f"{first} and {second}"


@pytest.mark.parametrize("figure", FIGURES)
def test_nothing_is_told_by_colour_alone(figure):
    signs = [(marker, str(dashes)) for _, marker, dashes in FIGURES[figure]]
    assert len(set(signs)) == len(signs), f"{figure}: two marks share marker and dashes"


def test_kinds_of_nodes_differ_in_shape():
    assert len({style.marker for style in plots.KIND_STYLES.values()}) == len(plots.KIND_STYLES)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_every_figure_of_a_notebook_can_be_read_aloud(path):
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        for output in cell.get("outputs", []):
            for kind in output.get("data", {}):
                if kind.startswith("image/"):
                    alt = output.get("metadata", {}).get(kind, {}).get("alt", "")
                    assert len(alt) >= SHORTEST_ALT, f"cell {number}: display it with plots.show"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "data/figures").glob("*.png")), ids=lambda p: p.stem
)
def test_every_picture_file_has_its_text_beside_it(path):
    record = read_json(path.with_suffix(".json"))
    assert len(record.get("alt", "")) >= SHORTEST_ALT, f"write alt text into {path.stem}.json"
    assert record["provenance"]["command"].startswith("rgh ")
