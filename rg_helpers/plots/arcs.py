"""Several graphs over one text: the lines in reading order, a panel of arcs for each graph."""

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

ROW = 0.27  # inches a line of text
PART = 0.55  # of a row: the gap between what was given and what was written
PANEL = 1.55  # inches a graph
LARGEST_BULGE = 1.15  # inches that the longest arc swings out
CHARACTER = 0.079  # inches, on the wide side
RIGHT, WRONG = "#01694d", PALETTE["vermilion"]


def draw_arc_panels(
    graphs: Mapping[str, StepGraph],
    gold: StepGraph,
    *,
    wrong: Mapping[int, str] | None = None,
    title: str = "",
    subtitle: str = "",
    notes: Mapping[str, str] | None = None,
    verdict: str = "",
) -> Figure:
    """Draw a text, the checker's verdict on each written line, one panel a graph, and gold.

    An arc runs from source to target, thicker for more weight. In the panels of `graphs` (by name)
    arcs that gold has too are solid blue, others dotted grey, and arcs of gold that are lacking
    dashed vermilion; the last panel is gold itself. Written lines carry a tick, those in `wrong`
    (node -> reason) a cross and the reason. `subtitle` stands below the title, `notes` below the
    panels' names, `verdict` below the text. Raises `ValueError` without a graph, or if one is not
    over gold's nodes.
    """
    if not graphs:
        raise ValueError("there is no graph to draw: give at least one, by name")
    for name, graph in graphs.items():
        if graph.kinds != gold.kinds:
            raise ValueError(
                f"{name} has {len(graph)} nodes and gold {len(gold)}: all graphs must be over the "
                "same text"
            )
    wrong, notes = wrong or {}, notes or {}
    y = _heights(gold.kinds)
    lines = [_line(gold, node, wrong) for node in range(len(gold))]
    first = 0.62 + CHARACTER * max((len(line) for line in lines), default=0)
    width, bottom = first + PANEL * (len(graphs) + 1), min(y, default=0.0)
    figure = new_figure(width, 1.75 - bottom)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))  # the whole page, so that a unit is an inch
    axes.set(xlim=(0, width), ylim=(bottom - 0.85, 0.9))
    axes.axis("off")
    for node, height in enumerate(y):
        _write_line(axes, gold, node, height, lines[node], wrong)
        axes.plot([first - 0.12, width - 0.25], [height] * 2, color="#ececec", linewidth=0.7)
    for place, (name, graph) in enumerate([*graphs.items(), ("gold", gold)]):
        x = first + PANEL * place
        axes.text(x, 0.44, name, fontsize=11, fontweight="bold", va="center")
        axes.text(x, 0.22, notes.get(name, ""), fontsize=9, color=FAINT, va="center")
        axes.plot([x] * 2, [y[0] + 0.1, bottom - 0.1], color=FAINT, linewidth=0.8)
        _draw_arcs(axes, x, y, graph.weights, gold.weights)
    axes.text(0.08, 0.78, title, fontsize=14, fontweight="bold", va="center")
    axes.text(0.08, 0.5, subtitle, fontsize=9, color=FAINT, va="center")
    axes.text(0.3, bottom - 0.32, verdict, color=WRONG if wrong else RIGHT, va="center")
    _legends(axes, gold, first, bottom - 0.66)
    return figure


def _heights(kinds: Sequence[str]) -> list[float]:
    given = sum(kind in ("premise", "question") for kind in kinds)
    return [-ROW * (node + (PART if node >= given else 0)) for node in range(len(kinds))]


def _line(graph: StepGraph, node: int, wrong: Mapping[int, str]) -> str:
    return f"{graph.texts[node]}  ({wrong[node]})" if wrong.get(node) else graph.texts[node]


def _draw_arcs(
    axes: Axes, x: float, y: Sequence[float], weights: np.ndarray, gold: np.ndarray
) -> None:
    is_gold = weights is gold
    span = max(abs(y[-1] - y[0]), 1e-9)
    for target, source in np.argwhere((weights > 0) | (gold > 0)).tolist():
        drawn, true = weights[target, source] > 0, gold[target, source] > 0
        name = "plain" if is_gold else "both" if drawn and true else "extra" if drawn else "missed"
        style = EDGE_STYLES[name]
        # Less than proportional, which keeps short arcs visible and long ones in the panel; a
        # cubic curve reaches three quarters of the way to its control points.
        out = x + LARGEST_BULGE / 0.75 * ((y[source] - y[target]) / span) ** 0.6
        start, end = (x, y[source] - 0.05), (x, y[target] + 0.05)
        weight = float(weights[target, source]) if drawn else 0.3
        axes.add_patch(
            FancyArrowPatch(
                path=Path([start, (out, start[1]), (out, end[1]), end], [1, 4, 4, 4]),
                arrowstyle="-|>",
                mutation_scale=8,
                linestyle=style.dashes,
                linewidth=0.8 + 1.4 * weight,
                color=style.colour,
                zorder={"extra": 2, "missed": 1}.get(name, 3),
                gid=f"arc {x:.2f} {source} {target} {name}",
            )
        )


def _write_line(
    axes: Axes, graph: StepGraph, node: int, y: float, line: str, wrong: Mapping[int, str]
) -> None:
    kind = graph.kinds[node]
    style = KIND_STYLES[kind]
    axes.scatter(
        [0.42],
        [y],
        s=46 * style.size,
        marker=style.marker,
        facecolor=style.fill,
        edgecolor=INK,
        linewidth=0.8,
        zorder=4,
    )
    weight = "bold" if kind in ("question", "answer") or node in wrong else "normal"
    colour = WRONG if node in wrong else INK
    axes.text(0.58, y, line, va="center", color=colour, fontweight=weight, zorder=4)
    if kind in ("step", "answer"):
        mark, colour = ("✗", WRONG) if node in wrong else ("✓", RIGHT)
        axes.text(0.2, y, mark, ha="center", va="center", color=colour, fontsize=11)


def _legends(axes: Axes, gold: StepGraph, first: float, y: float) -> None:
    arcs = {
        "both": "drawn and true",
        "extra": "drawn, not true",
        "missed": "true, not drawn",
        "plain": "gold",
    }
    lines = [
        Line2D(
            [], [], color=EDGE_STYLES[name].colour, linestyle=EDGE_STYLES[name].dashes, label=says
        )
        for name, says in arcs.items()
    ]
    shapes = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=style.marker,
            markersize=7,
            markerfacecolor=style.fill,
            markeredgecolor=INK,
            label=kind,
        )
        for kind, style in KIND_STYLES.items()
        if kind in gold.kinds
    ]
    for x, handles in ((0.28, shapes), (first, lines)):
        legend = axes.legend(
            handles=handles,
            loc="center left",
            bbox_to_anchor=(x, y),
            bbox_transform=axes.transData,
            ncols=len(handles),
            fontsize=9,
            frameon=False,
            borderaxespad=0,
            borderpad=0,
            columnspacing=1.2,
            handletextpad=0.4,
            handlelength=None if x == first else 1.0,
        )
        axes.add_artist(legend)
