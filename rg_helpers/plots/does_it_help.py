"""Figures of notebook 10: who solved what, what an experiment could see, how data are saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from rg_helpers.plots.intervals import SERIES
from rg_helpers.plots.style import FAINT, INK, PALETTE, new_figure

Curve = Sequence[tuple[float, float]]


def draw_solved_grid(solved: Mapping[str, np.ndarray], *, title: str = "") -> Figure:
    """Draw who solved what: a block an arm, a row a seed, a column a problem, dark = solved.

    `solved` maps an arm's title to bool (seeds, problems), the same problems in all; columns are
    ordered from the problem solved most often to the one solved least. Each row's share stands at
    its end. Raises `ValueError` for nothing to draw and for other shapes.
    """
    blocks = {name: np.asarray(part, dtype=bool) for name, part in solved.items()}
    shapes = {part.shape for part in blocks.values()}
    columns = {shape[-1] for shape in shapes if len(shape) == 2}
    if not blocks or len(columns) != 1 or any(len(shape) != 2 for shape in shapes):
        raise ValueError(
            f"outcomes of shapes {sorted(shapes)}: give each arm (seeds, problems), the same "
            "problems in all"
        )
    order = np.argsort(-np.concatenate(list(blocks.values())).mean(0), kind="stable")
    heights = [len(part) for part in blocks.values()]
    figure = new_figure(7.6, 0.8 + 0.24 * sum(heights) + 0.3 * len(blocks))
    panels = figure.subplots(len(blocks), 1, sharex=True, height_ratios=heights, squeeze=False)
    for axes, (name, part) in zip(panels[:, 0], blocks.items()):
        axes.pcolormesh(
            part[:, order], cmap=ListedColormap(["#ececec", PALETTE["blue"]]), vmin=0, vmax=1,
            edgecolors="white", linewidth=0.4, gid=f"solved {name}",
        )  # fmt: skip
        axes.invert_yaxis()
        seeds = np.arange(len(part))
        axes.set_yticks(seeds + 0.5, [f"seed {number}" for number in seeds], fontsize=8)
        for number, row in enumerate(part):
            axes.annotate(
                f"{row.mean():.0%}", (1, number + 0.5), xycoords=("axes fraction", "data"),
                xytext=(5, 0), textcoords="offset points", va="center", fontsize=8.5,
            )  # fmt: skip
        axes.set_title(name, fontsize=9.5, pad=3)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xticks([])
    panels[-1, 0].set_xlabel("problems, from solved most often to solved least")
    if title:
        figure.suptitle(title, fontweight="bold", fontsize=11)
    return figure


def draw_power(
    curves: Mapping[str, Curve], *, margin: float, level: float = 0.8, title: str = ""
) -> Figure:
    """Draw the chance of seeing a gain against the gain: one curve a design,
    named beside it.

    `curves` maps a design to (gain, power) pairs; `margin` is drawn as a vertical line. Raises
    `ValueError` for nothing to draw and for more curves than can be told apart.
    """
    _few(curves)
    figure = new_figure(7.2, 3.7)
    axes = figure.subplots()
    axes.axhline(level, color=FAINT, linestyle=(0, (4, 3)), linewidth=1)
    axes.axvline(margin, color=FAINT, linestyle=":", linewidth=1.2)
    _note(axes, f"seen in {level:.0%}", (1, level), ("axes fraction", "data"), (4, -3))
    _note(axes, "smallest gain that matters", (margin, 1), ("data", "axes fraction"), (0, 4))
    heights = np.linspace(0.25, 0.65, len(curves))  # of the names, apart even where curves are not
    for place, (name, curve) in enumerate(curves.items()):
        style = SERIES[place]
        gains, powers = np.array(sorted(curve), dtype=float).T
        axes.plot(
            gains, powers, color=style.colour, linestyle=style.dashes, marker=style.marker,
            markevery=max(1, len(gains) // 8), markersize=4.5, gid=f"power {name}",
        )  # fmt: skip
        reached = np.maximum.accumulate(powers)
        at = float(np.interp(heights[place], reached, gains))
        axes.annotate(
            name, (at, min(heights[place], reached[-1])), xytext=(9, -4),
            textcoords="offset points", color=style.colour, fontweight="bold", fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85}, zorder=4,
        )  # fmt: skip
    axes.set(ylim=(0, 1.02), xlabel="true gain in the share solved", ylabel="chance of seeing it")
    axes.set_xlim(left=0)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    if title:
        axes.set_title(title, pad=18)
    return figure


def draw_data_ratio(
    curves: Mapping[str, Curve], *, target: float, reached: Mapping[str, float], title: str = ""
) -> Figure:
    """Draw learning curves and where each reaches the target, over the number of problems.

    `curves` maps an arm to (training problems, share solved); `reached` an arm to the number of
    problems at which its curve meets `target`. Raises `ValueError` as `draw_power` does.
    """
    _few(curves)
    figure = new_figure(6.8, 3.5)
    axes = figure.subplots()
    sizes = sorted({size for curve in curves.values() for size, _ in curve})
    axes.plot(
        [sizes[0], sizes[-1]], [target] * 2, color=FAINT, linestyle=(0, (4, 3)), linewidth=1,
        gid="target",
    )  # fmt: skip
    _note(axes, "accuracy to reach", (sizes[0], target), "data", (0, 3))
    for place, (name, curve) in enumerate(curves.items()):
        style = SERIES[place]
        x, y = np.array(sorted(curve), dtype=float).T
        axes.plot(
            x,
            y,
            color=style.colour,
            linestyle=style.dashes,
            marker=style.marker,
            gid=f"curve {name}",
        )
        axes.annotate(
            name, (x[-1], y[-1]), xytext=(8, 0), textcoords="offset points", va="center",
            color=style.colour, fontweight="bold", fontsize=9, annotation_clip=False,
        )  # fmt: skip
        if name in reached:
            axes.plot([reached[name]] * 2, [0, target], color=style.colour, linestyle=":")
            _note(axes, f"{reached[name]:.0f}", (reached[name], 0), "data", (4, 4), INK)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.minorticks_off()
    axes.set(xlabel="training problems, logarithmic", ylabel="share solved")
    axes.set_ylim(bottom=0)
    if title:
        axes.set_title(title)
    return figure


def _note(
    axes: Any,
    text: str,
    at: tuple[float, float],
    coordinates: Any,
    offset: tuple[int, int],
    colour: str = FAINT,
) -> None:
    axes.annotate(
        text, at, xycoords=coordinates, xytext=offset, textcoords="offset points", fontsize=8.5,
        color=colour, annotation_clip=False,
    )  # fmt: skip


def _few(curves: Mapping[str, Curve]) -> None:
    if not 1 <= len(curves) <= len(SERIES):
        raise ValueError(
            f"{len(curves)} curves: expected 1 to {len(SERIES)}, which can be told apart"
        )
