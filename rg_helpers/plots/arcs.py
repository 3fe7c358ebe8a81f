"""Two graphs over one text: the lines in reading order, one graph's arcs on each side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path

from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.plots.style import EDGE_STYLES, FAINT, INK, KIND_STYLES, PALETTE, new_figure

ROW = 0.29  # inches a line of text
LARGEST_BULGE = 1.9  # inches that the longest arc swings out
CHARACTER = 0.076  # inches, on the wide side


def draw_mirrored_arcs(
    drawn: StepGraph,
    gold: StepGraph,
    *,
    wrong: Mapping[int, str] | None = None,
    title: str = "",
    headings: tuple[str, str] = ("", ""),
    names: tuple[str, str] = ("attention", "gold"),
) -> Figure:
    """Draw a text with the arcs of `drawn` on its left and of `gold` on its right.

    An arc runs from source to target, thicker for more weight. On the left, arcs that gold has too
    are solid blue and the others dotted grey; on the right, arcs that `drawn` lacks are dashed
    vermilion. Written lines carry a tick, those in `wrong` (node -> reason) a cross. `headings`
    stand above the two sides, `names` in the legend. Raises `ValueError` if the graphs are not
    over the same nodes.
    """
    if drawn.kinds != gold.kinds:
        raise ValueError(
            f"{names[0]} has {len(drawn)} nodes and {names[1]} {len(gold)}: both graphs must be "
            "over the same text"
        )
    wrong = wrong or {}
    nodes = len(drawn)
    half = CHARACTER * max((len(text) for text in drawn.texts), default=0) / 2 + 0.45
    # A gap parts what was given from what was written.
    given = sum(kind in ("premise", "question") for kind in drawn.kinds)
    y = [-ROW * (node + (0.8 if node >= given else 0)) for node in range(nodes)]
    width, height = half + LARGEST_BULGE + 0.25, -y[-1] if nodes else 0.0
    figure = new_figure(2 * width, height + 2.0)
    axes = figure.subplots()
    axes.set(xlim=(-width, width), ylim=(-height - 0.95, 1.0), aspect="equal")
    axes.axis("off")
    in_both = (drawn.weights > 0) & (gold.weights > 0)
    _draw_side(axes, drawn.weights, in_both, y, -half, "extra")
    _draw_side(axes, gold.weights, in_both, y, half, "missed")
    for node in range(nodes):
        _write_line(axes, drawn, node, y[node], half, wrong)
    axes.text(-width, 0.82, title, fontsize=15, fontweight="bold", va="center")
    axes.text(-width, 0.44, headings[0], fontsize=10, color=FAINT, va="center")
    axes.text(width, 0.44, headings[1], fontsize=10, color=FAINT, va="center", ha="right")
    _legend(axes, drawn, gold, in_both, names, -height - 0.6)
    return figure


def _draw_side(
    axes: Axes,
    weights: np.ndarray,
    in_both: np.ndarray,
    y: Sequence[float],
    x: float,
    otherwise: str,
) -> None:
    side = 1 if x > 0 else -1
    span = max(abs(y[-1] - y[0]), 1e-9)
    for target, source in np.argwhere(weights > 0).tolist():
        name = "both" if in_both[target, source] else otherwise
        style = EDGE_STYLES[name]
        length = y[source] - y[target]
        # Less than proportional, which keeps short arcs visible and long ones on the page; a
        # cubic curve reaches three quarters of the way to its control points.
        out = x + side * LARGEST_BULGE / 0.75 * (length / span) ** 0.6
        start, end = (x, y[source] - 0.05), (x, y[target] + 0.05)
        curve = Path([start, (out, start[1]), (out, end[1]), end], [1, 4, 4, 4])
        axes.add_patch(
            FancyArrowPatch(
                path=curve,
                arrowstyle="-|>",
                mutation_scale=9,
                linestyle=style.dashes,
                linewidth=0.8 + 1.8 * float(weights[target, source]),
                color=style.colour,
                zorder=1 if name == "extra" else 2,
                gid=f"arc {side:+d} {source} {target} {name}",
            )
        )


def _write_line(
    axes: Axes,
    graph: StepGraph,
    node: int,
    y: float,
    half: float,
    wrong: Mapping[int, str],
) -> None:
    kind = graph.kinds[node]
    style = KIND_STYLES[kind]
    text = graph.texts[node]
    if node in wrong:
        text = f"{text}  ({wrong[node]})" if wrong[node] else text
    colour = PALETTE["vermilion"] if node in wrong else INK
    weight = "bold" if kind in ("question", "answer") or node in wrong else "normal"
    axes.text(0, y, text, ha="center", va="center", color=colour, fontweight=weight, zorder=4)
    axes.scatter(
        [-half + 0.14],
        [y],
        s=52 * style.size,
        marker=style.marker,
        facecolor=style.fill,
        edgecolor=INK,
        linewidth=0.8,
        zorder=4,
    )
    if kind in ("step", "answer"):
        mark, colour = ("✗", PALETTE["vermilion"]) if node in wrong else ("✓", "#01694d")
        axes.text(half - 0.16, y, mark, ha="center", va="center", color=colour, fontsize=11)


def _legend(
    axes: Axes,
    drawn: StepGraph,
    gold: StepGraph,
    in_both: np.ndarray,
    names: tuple[str, str],
    y: float,
) -> None:
    counts = {
        "both": (f"{names[0]} and {names[1]}", int(in_both.sum())),
        "extra": (f"{names[0]}, not {names[1]}", len(drawn.edges) - int(in_both.sum())),
        "missed": (f"{names[1]}, not {names[0]}", len(gold.edges) - int(in_both.sum())),
    }
    handles = [
        Line2D(
            [],
            [],
            color=EDGE_STYLES[name].colour,
            linestyle=EDGE_STYLES[name].dashes,
            label=f"{label} ({count})",
        )
        for name, (label, count) in counts.items()
    ]
    shapes = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=style.marker,
            markersize=8,
            markerfacecolor=style.fill,
            markeredgecolor=INK,
            label=kind,
        )
        for kind, style in KIND_STYLES.items()
        if kind in drawn.kinds
    ]
    box = {"bbox_transform": axes.transData, "frameon": False, "borderaxespad": 0}
    axes.add_artist(
        axes.legend(
            handles=handles,
            loc="center",
            bbox_to_anchor=(0, y + 0.16),
            ncols=3,
            fontsize=9.5,
            **box,
        )
    )
    axes.legend(
        handles=shapes, loc="center", bbox_to_anchor=(0, y - 0.14), ncols=4, fontsize=9.5, **box
    )
