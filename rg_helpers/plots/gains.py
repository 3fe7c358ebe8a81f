"""What figures of gains share: one row a title, an interval each, a band of what is too small."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rg_helpers.plots.style import INK, PALETTE

Row = Mapping[str, Any]


def titles_in_order(rows: Mapping[str, Sequence[Row]]) -> list[str]:
    """Return the titles of all families' rows, each once, in the order of their first row."""
    return list(dict.fromkeys(row["title"] for found in rows.values() for row in found))


def draw_gain(axes: Any, row: Row, y: int, look: tuple[str, str], sure: bool) -> None:
    """Draw one gain with its interval at height `y`, filled if `sure`; `look`: colour, marker.

    `row` has `title`, `value`, `low` and `high`.
    """
    colour, marker = look
    axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=1.6, zorder=2)
    axes.plot(
        [row["value"]],
        [y],
        marker,
        color=colour,
        markerfacecolor=colour if sure else "white",
        markersize=5,
        gid=f"gain {row['title']} {'filled' if sure else 'open'}",
        zorder=3,
    )


def draw_margin(axes: Any, margin: float) -> None:
    """Draw the zero line and the band of `margin` to either side of it."""
    axes.axvspan(-margin, margin, color=PALETTE["grey"], alpha=0.25, linewidth=0)
    axes.axvline(0, color=INK, linewidth=0.8)


def quiet_axes(axes: Any) -> None:
    """Leave a panel of rows its grid, without ticks or a line on the left."""
    axes.grid(axis="both", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def check_intervals(named: Iterable[tuple[str, Row]]) -> None:
    """Raise `ValueError` naming the first row whose interval does not hold its value."""
    for name, found in named:
        low, value, high = (float(found[key]) for key in ("low", "value", "high"))
        if not (np.isfinite([low, value, high]).all() and low - 1e-9 <= value <= high + 1e-9):
            raise ValueError(
                f"{name}: the interval [{low}, {high}] does not hold its value {value}"
            )
