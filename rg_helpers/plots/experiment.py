"""The experiment in one figure: gains over cross-entropy, accuracy by training problems."""

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

ARM_LOOKS = {  # colour and marker by kind of arm: never colour alone
    "graph": (PALETTE["blue"], "o"),
    "control": (PALETTE["vermilion"], "X"),
    "practice": (PALETTE["green"], "D"),
    "reference": (FAINT, "s"),
}
CURVE_LOOKS = (
    (INK, "s", "-"),
    (PALETTE["blue"], "o", "-"),
    (PALETTE["vermilion"], "X", (0, (5, 2))),
    (PALETTE["green"], "D", (0, (1.5, 1.5))),
    (PALETTE["orange"], "^", "-."),
    (PALETTE["pink"], "v", (0, (3, 1, 1, 1))),
)


def draw_experiment(
    gains: Mapping[str, Sequence[Mapping[str, Any]]],
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    margin: float = 0.05,
    rival: str = "cross-entropy at equal time",
    title: str = "",
) -> Figure:
    """Draw one column a family: gains of every arm over `rival` above, learning curves below.

    `gains` maps a family to rows with `title`, `kind` ("graph", "control", "practice",
    "reference"), `value`, `low`, `high` and `sure` (the adjusted p-value is small: filled, else
    hollow); the band is `margin` to either side of nothing. `curves` maps it to rows with `title`,
    `size` (training problems), `value`, `low`, `high`; with fewer than two sizes the lower panels
    are left out. Raises `ValueError` for no rows, more curves than can be told apart, and for an
    interval that does not hold its value.
    """
    _check(gains, curves)
    families = list(gains)
    arms = titles_in_order(gains)
    names = titles_in_order(curves)
    sizes = {row["size"] for rows in curves.values() for row in rows}
    panels_down = 2 if len(sizes) > 1 else 1
    height = 0.26 * len(arms) + 1.9 + (2.6 if panels_down == 2 else 0)
    figure = new_figure(3.4 + 2.6 * len(families), height)
    shares = [max(3, 0.26 * len(arms) + 1), 2.8][:panels_down]
    panels = figure.subplots(
        panels_down, len(families), sharey="row", sharex="row", height_ratios=shares, squeeze=False
    )
    for column, family in enumerate(families):
        style = FAMILY_STYLES.get(family)
        _draw_gains(panels[0, column], gains[family], arms, margin, rival)
        panels[0, column].set_title(family, color=style.colour if style else INK)
        if panels_down == 2:
            _draw_curves(panels[1, column], curves.get(family, ()), names, sorted(sizes))
    panels[0, 0].set_yticks(range(0, -len(arms), -1), arms, fontsize=7.5)
    panels[0, 0].set_ylim(-len(arms) + 0.3, 0.7)
    if panels_down == 2:
        panels[1, 0].set_ylabel("solved")
        panels[1, 0].set_ylim(bottom=0)  # once all panels are drawn, which share their height
        shown: dict[str, Any] = {}
        for axes in panels[1]:
            handles, labels = axes.get_legend_handles_labels()
            shown |= dict(zip(labels, handles, strict=True))
        legend = [shown[name] for name in names]
        figure.legend(legend, names, loc="outside lower center", ncols=3, fontsize=7.5)
    if title:
        figure.suptitle(title, fontweight="bold", fontsize=11)
    return figure


def _draw_gains(
    axes: Any,
    rows: Sequence[Mapping[str, Any]],
    order: Sequence[str],
    margin: float,
    rival: str,
) -> None:
    draw_margin(axes, margin)
    for row in rows:
        draw_gain(axes, row, -order.index(row["title"]), ARM_LOOKS[row["kind"]], row["sure"])
    axes.set_xlabel(f"share solved, minus that of\n{rival}", fontsize=8)
    quiet_axes(axes)


def _draw_curves(
    axes: Any, rows: Sequence[Mapping[str, Any]], order: Sequence[str], sizes: Sequence[int]
) -> None:
    for name in order:
        mine = sorted((row for row in rows if row["title"] == name), key=lambda row: row["size"])
        if not mine:
            continue
        colour, marker, dashes = CURVE_LOOKS[order.index(name)]
        # Curves stand a little apart, so that their intervals do not hide each other.
        shift = 2 ** (0.1 * (order.index(name) - (len(order) - 1) / 2))
        x = [row["size"] * shift for row in mine]
        axes.plot(
            x,
            [row["value"] for row in mine],
            color=colour,
            marker=marker,
            linestyle=dashes,
            markersize=4.5,
            linewidth=1.4,
            label=name,
            gid=f"curve {name}",
        )
        for place, row in zip(x, mine, strict=True):
            axes.plot([place] * 2, [row["low"], row["high"]], color=colour, linewidth=0.9)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("training problems")
    axes.grid(linewidth=0.5)
    axes.set_axisbelow(True)


def _check(
    gains: Mapping[str, Sequence[Mapping[str, Any]]],
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    if not any(len(rows) for rows in gains.values()):
        raise ValueError("no gains to draw: run the experiment with more arms than the reference")
    count = len(titles_in_order(curves))
    if count > len(CURVE_LOOKS):
        raise ValueError(f"{count} learning curves: at most {len(CURVE_LOOKS)} can be told apart")
    shown = (*gains.values(), *curves.values())
    check_intervals((row["title"], row) for rows in shown for row in rows)
