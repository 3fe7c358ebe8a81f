"""Difficulty against error types: what goes wrong first, as problems grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.colors import to_rgba

from rg_helpers.plots.style import FAMILY_STYLES, INK, new_figure
from rg_helpers.problems import VERDICTS
from rg_helpers.sliders.slide import slide
from rg_helpers.statistics import wilson_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TYPES = tuple(verdict for verdict in VERDICTS if verdict != "right")


def difficulties(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the places of difficulties, 0 the easiest, which every family has.

    `rows` are those of `accuracy.measure_accuracy`, for each family from easy to hard. Raises
    `ValueError` without rows.
    """
    counts = [sum(row["family"] == family for row in rows) for family in _families(rows)]
    if not counts:
        raise ValueError("no accuracy rows: measure some with measure_accuracy")
    return list(range(min(counts)))


def draw_error_types(rows: Sequence[Mapping[str, Any]], difficulty: int) -> Figure:
    """Draw, for each family, the share of solutions whose first wrong step is of each type.

    The axis is the same at every difficulty, so that moving it shows growth; whiskers are 95 %
    Wilson intervals, as shares of all solutions. Raises `ValueError` for a difficulty that is not
    there.
    """
    known = difficulties(rows)
    if difficulty not in known:
        raise ValueError(f"difficulty {difficulty}: expected one of {known}")
    most = max(
        wilson_interval(count, row["n"]).high
        for row in rows
        for count in row["first_errors"].values() or [0]
    )
    families = _families(rows)
    figure = new_figure(3.0 * len(families) + 1.2, 3.3)
    panels = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
    for axes, family in zip(panels, families):
        row = _row(rows, family, difficulty)
        style = FAMILY_STYLES[family]
        for place, kind in enumerate(TYPES):
            count = row["first_errors"].get(kind, 0)
            share, interval = count / row["n"], wilson_interval(count, row["n"])
            fill = to_rgba(style.colour, 0.4)  # light, so that the whisker stands out on it
            axes.barh([-place], [share], height=0.6, color=fill, edgecolor=style.colour)
            axes.plot([interval.low, interval.high], [-place] * 2, color=INK, linewidth=1.4)
            axes.annotate(
                str(count),
                (interval.high, -place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
        axes.set_yticks([-place for place in range(len(TYPES))], TYPES)
        axes.set(xlim=(0, 1.18 * most), xlabel="share of solutions")
        axes.set_title(f"{family}: {row['solved']['value']:.0%} solved\n{_size(row)}", fontsize=10)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
    return figure


def slide_error_types(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Show the figure at the hardest difficulty that all families have; return its slider."""
    known = difficulties(rows)
    return slide(
        lambda difficulty: draw_error_types(rows, difficulty),
        lambda difficulty: describe_error_types(rows, difficulty),
        known,
        label="difficulty",
        start=known[-1],
        words=lambda difficulty: _size(_row(rows, _families(rows)[0], difficulty)),
    )


def describe_error_types(rows: Sequence[Mapping[str, Any]], difficulty: int) -> str:
    """Return the alt text of `draw_error_types`."""
    words = []
    for family in _families(rows):
        row = _row(rows, family, difficulty)
        found = sorted(row["first_errors"].items(), key=lambda pair: -pair[1])
        kinds = ", ".join(f"{kind} {count}" for kind, count in found) or "no error"
        words.append(f"{family} ({_size(row)}, {row['n']} solutions): {kinds}")
    return f"First wrong steps by type. {'; '.join(words)}."


def _families(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["family"] for row in rows))


def _row(rows: Sequence[Mapping[str, Any]], family: str, difficulty: int) -> Mapping[str, Any]:
    return [row for row in rows if row["family"] == family][difficulty]


def _size(row: Mapping[str, Any]) -> str:
    return f"{row['operations']} operations, {row['distractors']} distractors"
