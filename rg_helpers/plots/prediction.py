"""The report on error prediction in figures: every predictor, what graphs add, what risks mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from rg_helpers.plots.gains import (
    check_intervals,
    draw_gain,
    draw_margin,
    quiet_axes,
    titles_in_order,
)
from rg_helpers.plots.style import FAINT, FAMILY_STYLES, INK, PALETTE, new_figure

KIND_LOOKS = {  # colour and marker: never colour alone
    "baseline": (PALETTE["blue"], "o"),
    "graph": (PALETTE["vermilion"], "s"),
    "increment": (PALETTE["green"], "D"),
    "control": (FAINT, "X"),
}


def draw_prediction(
    families: Mapping[str, Sequence[Mapping[str, Any]]],
    gains: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    margin: float = 0.02,
    title: str = "",
) -> Figure:
    """Draw one column a family: AUROC of every predictor above, gains of the increments below.

    `families` maps a family to rows with `title`, `kind` ("baseline", "graph", "increment",
    "control"), `auroc` and `within_problem_auc` (objects with value, low, high; the latter may be
    None): filled markers with their interval, and hollow ones for the comparison within problems.
    `gains` maps it to rows with `title`, `value`, `low`, `high`: what graphs add to the AUROC; the
    band is `margin` to either side of nothing. Raises `ValueError` for no rows and for an interval
    that does not hold its value.
    """
    _check(families, gains)
    names = list(families)
    rows = titles_in_order(families)
    added = titles_in_order(gains)
    height = 0.2 * (len(rows) + len(added)) + 2.6
    figure = new_figure(3.6 + 2.5 * len(names), height)
    shares = [max(1, len(rows)), max(1, len(added)) + 1]
    panels = figure.subplots(
        2, len(names), sharey="row", sharex="row", height_ratios=shares, squeeze=False
    )
    for column, family in enumerate(names):
        style = FAMILY_STYLES.get(family)
        _draw_predictors(panels[0, column], families[family], rows)
        panels[0, column].set_title(family, color=style.colour if style else INK)
        _draw_gains(panels[1, column], gains.get(family, ()), added, margin)
    panels[0, 0].set_yticks(range(0, -len(rows), -1), rows, fontsize=7.5)
    panels[0, 0].set_ylim(-len(rows) + 0.3, 0.7)
    panels[1, 0].set_yticks(range(0, -len(added), -1), added, fontsize=7.5)
    panels[1, 0].set_ylim(-max(1, len(added)) + 0.3, 0.7)
    if title:
        figure.suptitle(title, fontweight="bold", fontsize=11)
    figure.supxlabel(
        "circle: baseline · square: graph · diamond: both · cross: control · hollow: within "
        "problems alone · band: too small to matter",
        fontsize=8,
        color=FAINT,
    )
    return figure


RELIABILITY_LOOKS = (
    (PALETTE["blue"], "o", "-"),
    (PALETTE["vermilion"], "s", (0, (5, 2))),
    (PALETTE["green"], "D", (0, (1.5, 1.5))),
    (INK, "^", "-."),
)


def draw_reliability(
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    *,
    base_rate: float | None = None,
    title: str = "",
) -> Figure:
    """Draw reliability diagrams: the share that was wrong against the risk that was predicted.

    `curves` maps a predictor's name to the rows of `error_prediction.metrics.reliability`; a marker
    is larger the more traces stand behind it. On the diagonal a risk means what it says; below it
    the predictor cries wolf, above it it is too trusting (Niculescu-Mizil & Caruana 2005).
    `base_rate` is drawn as a line. Raises `ValueError` for no curve, more than four, or shares
    outside 0 to 1.
    """
    if not 1 <= len(curves) <= len(RELIABILITY_LOOKS):
        raise ValueError(
            f"{len(curves)} reliability curves: give 1 to {len(RELIABILITY_LOOKS)}, more cannot be "
            "told apart"
        )
    most = max((row["n"] for rows in curves.values() for row in rows), default=0)
    figure = new_figure(5.4, 4.6)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, gid="diagonal")
    axes.annotate(
        "says what it means",
        (0.98, 0.98),
        ha="right",
        va="bottom",
        rotation=45,
        rotation_mode="anchor",
        fontsize=8,
        color=FAINT,
        xytext=(0, 3),
        textcoords="offset points",
    )
    if base_rate is not None:
        axes.axhline(base_rate, color=FAINT, linestyle=(0, (4, 3)), linewidth=1, zorder=0)
        axes.annotate(
            "share wrong", (1, base_rate), ha="right", va="bottom", fontsize=8, color=FAINT
        )
    for (name, rows), (colour, marker, dashes) in zip(curves.items(), RELIABILITY_LOOKS):
        predicted, observed = ([row[key] for row in rows] for key in ("predicted", "observed"))
        shares = [*predicted, *observed]
        if not rows or not all(0 <= share <= 1 for share in shares):
            raise ValueError(f"{name}: expected some rows with shares between 0 and 1")
        axes.plot(predicted, observed, color=colour, linestyle=dashes, linewidth=1.4, label=name)
        sizes = [18 + 50 * row["n"] / most for row in rows]
        axes.scatter(
            predicted,
            observed,
            sizes,
            color=colour,
            marker=marker,
            zorder=3,
            clip_on=False,
            gid=f"points {name}",
        )
        axes.lines[-1].set(marker=marker, markersize=4)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted risk", ylabel="share that was wrong")
    axes.set_aspect("equal")
    axes.grid(linewidth=0.5)
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", fontsize=8)
    if title:
        axes.set_title(title)
    return figure


def _draw_predictors(axes: Any, rows: Sequence[Mapping[str, Any]], order: Sequence[str]) -> None:
    for row in rows:
        y = -order.index(row["title"])
        colour, marker = KIND_LOOKS[row["kind"]]
        found, within = row["auroc"], row.get("within_problem_auc")
        axes.plot([found["low"], found["high"]], [y, y], color=colour, linewidth=1.6, zorder=2)
        name = f"{row['kind']} {row['title']}"
        axes.plot([found["value"]], [y], marker, color=colour, markersize=5, gid=name, zorder=3)
        if within is not None:
            axes.plot(
                [within["value"]],
                [y],
                marker,
                color=colour,
                markerfacecolor="white",
                markersize=4.5,
                gid=f"within {row['title']}",
                zorder=2.5,
            )
    axes.axvline(0.5, color=FAINT, linestyle=(0, (4, 3)), linewidth=1, zorder=0)
    axes.set_xlabel("AUROC, errors against right ones")
    quiet_axes(axes)


def _draw_gains(
    axes: Any, rows: Sequence[Mapping[str, Any]], order: Sequence[str], margin: float
) -> None:
    draw_margin(axes, margin)
    for row in rows:
        sure = row["low"] > 0 or row["high"] < 0
        draw_gain(axes, row, -order.index(row["title"]), KIND_LOOKS["increment"], sure)
    axes.set_xlabel("gain in AUROC by graphs")
    quiet_axes(axes)


def _check(
    families: Mapping[str, Sequence[Mapping[str, Any]]],
    gains: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    if not any(len(rows) for rows in families.values()):
        raise ValueError("no rows to draw: run `rgh predict` on more traces first")
    intervals = [(row["title"], row["auroc"]) for rows in families.values() for row in rows]
    intervals += [(row["title"], row) for rows in gains.values() for row in rows]
    check_intervals(intervals)
