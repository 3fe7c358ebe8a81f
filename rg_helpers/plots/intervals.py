"""Measured values with their intervals: never a bar without its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from rg_helpers.plots.style import FAINT, FAMILY_STYLES, INK, PALETTE, LineStyle, new_figure

# Groups beyond these repeat the styles; a figure with more than six groups should be split.
SERIES = (
    *FAMILY_STYLES.values(),
    LineStyle(PALETTE["brown"], "D", "-."),
    LineStyle(PALETTE["pink"], "v", "-"),
    LineStyle(INK, "P", ":"),
)


def draw_intervals(
    rows: Sequence[Mapping[str, Any]],
    *,
    label: str = "",
    reference: float | None = None,
    reference_label: str = "chance",
    limits: tuple[float, float] | None = None,
    digits: int = 2,
    title: str = "",
) -> Figure:
    """Draw values with confidence intervals, one line a row, first row on top.

    Each row holds `label`, `value`, `low`, `high` and, if wanted, `group`: rows of one group share
    marker and colour and the group is named where it begins. `reference` draws a vertical line
    (for example chance). The number stands beside every point. Raises `ValueError` for no rows or
    for an interval that does not hold its value.
    """
    _check(rows)
    groups = list(dict.fromkeys(row.get("group", "") for row in rows))
    named = any(groups)
    heights, y, previous = [], 0.0, None
    for row in rows:
        group = row.get("group", "")
        if named and group != previous:
            y -= 1.0 if previous is None else 1.25
            previous = group
        heights.append(y)
        y -= 1.0
    figure = new_figure(7.0, 0.29 * (heights[0] - heights[-1] + 2) + 0.9)
    axes = figure.subplots()
    if limits is None:
        found = [row[key] for row in rows for key in ("low", "high")] + (
            [] if reference is None else [reference]
        )
        margin = 0.06 * (max(found) - min(found) or 1)
        limits = (min(found) - margin, max(found) + margin)
    span = limits[1] - limits[0]
    for row, height in zip(rows, heights):
        group = row.get("group", "")
        style = FAMILY_STYLES.get(group) or SERIES[groups.index(group) % len(SERIES)]
        axes.plot(
            [row["low"], row["high"]],
            [height] * 2,
            color=style.colour,
            linewidth=2.2,
            solid_capstyle="butt",
            gid=f"interval {row['label']}",
        )
        axes.plot(
            [row["value"]],
            [height],
            style.marker,
            color=style.colour,
            markersize=7,
            markeredgecolor="white",
            markeredgewidth=0.8,
            clip_on=False,
            zorder=3,
        )
        axes.text(
            limits[1] + 0.02 * span,
            height,
            f"{row['value']:.{digits}f}  [{row['low']:.{digits}f}, {row['high']:.{digits}f}]",
            va="center",
            fontsize=9,
        )
    ticks, names = list(heights), [str(row["label"]) for row in rows]
    if named:
        for group in groups:
            first = next(i for i, row in enumerate(rows) if row.get("group", "") == group)
            axes.annotate(
                group,
                (0, heights[first] + 0.95),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="center",
                fontweight="bold",
                fontsize=9.5,
                xytext=(-4, 0),
                textcoords="offset points",
            )
    axes.set_yticks(ticks, names)
    axes.set(xlim=limits, ylim=(heights[-1] - 0.8, (heights[0] + 1.6) if named else 0.8))
    axes.set_xlabel(label)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    if reference is not None:
        axes.axvline(reference, color=FAINT, linestyle=(0, (4, 3)), linewidth=1.2, zorder=0)
        axes.annotate(
            reference_label,
            (reference, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, 2),
            textcoords="offset points",
            fontsize=8.5,
            color=FAINT,
        )
    if title:
        axes.set_title(title, pad=14 if reference is not None else 6)
    return figure


def draw_accuracy_by_operations(
    rows: Sequence[Mapping[str, Any]],
    *,
    live: Sequence[Mapping[str, Any]] = (),
    score: str = "solved",
    label: str = "share solved, every step right",
    title: str = "",
) -> Figure:
    """Draw accuracy against the number of operations, one line a family, with intervals.

    `rows` are those of `rg_helpers.accuracy.measure_accuracy`: `family`, `operations` and, under
    `score`, a mapping with `value`, `low`, `high`. `live` holds rows measured just now; they are
    drawn as hollow markers beside the lines. Each line carries its family's name at its end.
    Raises `ValueError` when there is nothing to draw.
    """
    if not rows and not live:
        raise ValueError("no accuracy rows to draw: measure some with measure_accuracy")
    figure = new_figure(7.2, 3.9)
    axes = figure.subplots()
    families = list(dict.fromkeys(row["family"] for row in [*rows, *live]))
    ends = []
    for place, family in enumerate(families):
        style = FAMILY_STYLES.get(family) or SERIES[place % len(SERIES)]
        dodge = 0.07 * (place - (len(families) - 1) / 2)
        for chosen, is_live in ((rows, False), (live, True)):
            points = sorted(
                ((r["operations"], r[score]) for r in chosen if r["family"] == family),
                key=lambda point: point[0],
            )
            if not points:
                continue
            x = [number + dodge + (0.03 if is_live else 0) for number, _ in points]
            y = [value["value"] for _, value in points]
            errors = [
                [max(0.0, v["value"] - v["low"]) for _, v in points],
                [max(0.0, v["high"] - v["value"]) for _, v in points],
            ]
            hollow = is_live and bool(rows)
            axes.errorbar(
                x,
                y,
                yerr=errors,
                color=style.colour,
                marker=style.marker,
                linestyle="" if hollow else style.dashes,
                capsize=2.5,
                elinewidth=0.9 if hollow else 1.4,
                markersize=8 if hollow else 6,
                markerfacecolor="white" if hollow else style.colour,
                label=f"{family} live" if is_live else family,
                zorder=3 if hollow else 2,
            )
            if not hollow:
                ends.append((y[-1], x[-1], family, style.colour))
    _label_ends(axes, ends)
    axes.set(ylim=(-0.03, 1.05), xlabel="operations", ylabel=label)
    numbers = sorted({row["operations"] for row in [*rows, *live]})
    axes.set_xticks(numbers)
    axes.set_xlim(numbers[0] - 0.3, numbers[-1] + 0.3)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    if rows and live:
        axes.annotate(
            "filled: committed table · hollow: measured here, just now",
            (1, 1),
            xycoords="axes fraction",
            ha="right",
            va="top",
            fontsize=8.5,
            color=FAINT,
        )
    if title:
        axes.set_title(title)
    return figure


def _label_ends(axes: Any, ends: list[tuple[float, float, str, str]]) -> None:
    """Write each line's name at its end, moved apart where lines end close together."""
    last = None
    right = max((x for _, x, _, _ in ends), default=0.0)
    for y, _, name, colour in sorted(ends):
        height = y if last is None else max(y, last + 0.065)
        last = height
        axes.annotate(
            name,
            (right, height),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontweight="bold",
            annotation_clip=False,
        )


def _check(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        raise ValueError("no rows to draw: give at least one with label, value, low, high")
    for row in rows:
        missing = {"label", "value", "low", "high"} - set(row)
        if missing:
            raise ValueError(f"row {dict(row)} lacks {', '.join(sorted(missing))}")
        if not row["low"] <= row["value"] <= row["high"]:
            raise ValueError(
                f"{row['label']}: the interval [{row['low']}, {row['high']}] does not hold the "
                f"value {row['value']}: give bounds, not distances from the value"
            )
