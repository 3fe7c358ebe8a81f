"""Colours that notebooks choose themselves: from the palette, told apart by everybody, and never
the only sign."""

from __future__ import annotations

import itertools
from pathlib import Path

import nbformat
import pytest
from colour_vision import DEFICIENCIES, contrast, difference
from notebook_colours import colour_tables, figure_colours, raw_colours

from rg_helpers.plots.style import FAMILY_STYLES, FILLS, PALETTE

ROOT = Path(__file__).resolve().parents[1]
LEAST_DIFFERENCE = 15  # in CIELAB, as for the figures of rg_helpers.plots
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOURCES = {
    path.stem[:2]: {
        place: cell.source
        for place, cell in enumerate(nbformat.read(path, as_version=4).cells)
        if cell.cell_type == "code"
    }
    for path in NOTEBOOKS
}
FIGURES = {
    f"{name}, cell {place}": colours
    for name, sources in SOURCES.items()
    for place, colours in figure_colours(sources).items()
}
TABLES = {
    f"{name}, cell {place}, {table}": found
    for name, sources in SOURCES.items()
    for place, source in sources.items()
    for table, found in colour_tables(source).items()
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_notebook_names_no_colour_outside_the_palette(name):
    raw = {place: found for place, s in SOURCES[name].items() if (found := raw_colours(s))}
    assert not raw, f"cell: colours {raw}; take plots.PALETTE[...] or plots.style.INK"


@pytest.mark.parametrize("seen", [None, *DEFICIENCIES])
@pytest.mark.parametrize("figure", FIGURES)
def test_two_colours_of_one_figure_differ_for_everybody(figure, seen):
    for first, second in itertools.combinations(FIGURES[figure], 2):
        far = difference(PALETTE[first], PALETTE[second], seen)
        assert far >= LEAST_DIFFERENCE, f"{first} and {second} are {far:.1f} apart"


@pytest.mark.parametrize("figure", FIGURES)
def test_a_colour_stands_out_from_the_page(figure):
    for name in FIGURES[figure]:
        assert contrast(PALETTE[name]) >= 3, f"{name} is for {FILLS} of areas with an outline"


@pytest.mark.parametrize("table", TABLES)
def test_nothing_is_told_by_colour_alone(table):
    found = TABLES[table]
    assert len(set(found.names)) == len(found.names), "two rows share a colour"
    assert len(found.signs) == len(found.names), "give every row a marker or dashes"
    assert len(set(found.signs)) == len(found.signs), "two rows share marker and dashes"


def test_the_tables_and_figures_of_the_course_are_found():
    assert {name[:2] for name in TABLES} >= {"05", "11"}
    assert {name[:2] for name in FIGURES} >= {"04", "05", "06", "11"}
    families = {style.colour for style in FAMILY_STYLES.values()}
    assert any({PALETTE[n] for n in names} == families for names in FIGURES.values())


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("panel.axhline(0, color='black')", ["black"]),
        ("bar(x, color=[plots.PALETTE['grey'] if a else 'tomato' for a in b])", ["tomato"]),
        ("look = {'color': 'red', 'label': 'green'}", ["red"]),
        ("panel.plot(x, y, 'ro--')", ["ro--"]),
        ("shades = ['#00ff00', 'C1', 'tab:blue']", ["#00ff00", "C1", "tab:blue"]),
        ("scatter(x, y, c='k', edgecolors='none')", ["k"]),
        ("panel.plot(x, y, 'o--', color=plots.PALETTE['blue'])", []),
        ("graphs = {'gold': 1}\nplot(x, color=plots.PALETTE[look('tan')])", []),
        ("draw(color=looks['red'] if kind == 'blue' else plots.style.INK)", []),
    ],
)
def test_colours_without_the_palette_are_found(source, found):
    assert raw_colours(source) == found


def test_what_stands_in_one_figure_is_collected():
    sources = {
        3: 'LOOKS = {"a": ("words", "blue", "-", "o"), "b": ("more", "orange", (0, (1, 1)), "o")}',
        5: 'for n in LOOKS:\n    plot(color=P[LOOKS[n][1]])\naxhline(color=plots.PALETTE["grey"])',
        7: 'plot(color=plots.PALETTE["sky"])',
        9: 'MARKS = dict(zip(n, ("s:", "o-")))\nTINTS = dict(zip(n, ("pink", "green")))',
    }
    assert figure_colours(sources) == {
        3: ("blue", "orange"),
        5: ("blue", "grey", "orange"),
        9: ("green", "pink"),
    }
    (looks,) = colour_tables(sources[3]).values()
    assert looks.signs == ("- o", "o (0, (1, 1))")
    assert colour_tables(sources[9])["TINTS"].signs == ("s:", "o-")
    assert colour_tables('x = ("pink", "green")')["x"].signs == ()
