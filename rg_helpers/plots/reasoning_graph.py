"""The reasoning graph: numbered nodes in layers, edges by weight, the texts beside them."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from rg_helpers.plots.layers import choose_bend, layered_positions
from rg_helpers.plots.style import EDGE_STYLES, FAINT, INK, KIND_STYLES, PALETTE, new_figure

NODE_AREA = 330.0  # points squared of a step's circle
UNIT = (0.8, 0.64)  # inches of paper for one unit of x and of y
LINE_HEIGHT = 0.25  # inches of a line of the list of texts
CHARACTER = 0.079  # inches, on the wide side
WRAP = 60  # characters of a line of the list of texts


def draw_reasoning_graph(
    graph: Any,
    *,
    gold: Any = None,
    wrong: Mapping[int, str] | Collection[int] = (),
    least: float = 0.0,
    title: str = "",
    texts: bool = True,
    layout: Any = None,
    names: tuple[str, str] = ("drawn", "gold"),
) -> Figure:
    """Draw a reasoning graph: who follows from whom.

    `graph` is a `StepGraph` or the nodes of a problem (anything with `kind`, `text`, `parents`).
    Edges run from source to target, thicker for more weight; those below `least` are left out.
    With `gold` (same forms, same nodes) the two are compared: solid blue where the graph has a gold
    edge, dotted grey where it has one that gold lacks, dashed vermilion where it misses one;
    `names` says in the legend what the two are.
    `wrong` marks steps with a cross; a mapping gives each a reason for the list of texts. `texts`
    lists the nodes' texts beside the drawing. `layout` (same forms) sets the positions: by default
    gold if given, else the graph itself; give the same one to make two figures comparable.

    Raises `ValueError` where graphs or marked steps do not belong to the same nodes.
    """
    kinds, labels, weights = _read(graph)
    truth = None if gold is None else _read_like(gold, kinds, "gold")
    frame = weights if layout is None and truth is None else truth
    if layout is not None:
        frame = _read_like(layout, kinds, "layout")
    outside = [node for node in wrong if not 0 <= node < len(kinds)]
    if outside:
        raise ValueError(f"wrong steps {outside} do not exist: there are {len(kinds)} nodes")
    kept = np.where(weights >= max(least, 1e-9), weights, 0)
    parents = [np.flatnonzero(row > 0).tolist() for row in frame]
    positions = layered_positions(kinds, parents)

    listing = _listing(labels, wrong) if texts else []
    lines = sum(text.count("\n") + 1 for _, text, _ in listing)
    longest = max((len(line) for _, text, _ in listing for line in text.split("\n")), default=0)
    xs, ys = zip(*positions) if positions else ((0.0,), (0.0,))
    width = UNIT[0] * (max(xs) - min(xs) + 1.6)
    height = max(UNIT[1] * (max(ys) - min(ys) + 1.2), LINE_HEIGHT * (lines + 1), 1.5)
    list_width = 0.6 + CHARACTER * longest if texts else 0.0
    figure = new_figure(max(width + list_width, 5.2), height + 0.55 + (0.3 if title else 0))
    if texts:
        axes, side = figure.subplots(1, 2, width_ratios=(width, list_width))
        _write_listing(side, listing, kinds, list_width, height)
    else:
        axes = figure.subplots()
    _draw_edges(axes, positions, kept, truth)
    _draw_nodes(axes, positions, kinds, wrong)
    axes.set(xlim=(min(xs) - 0.8, max(xs) + 0.8), ylim=(min(ys) - 0.6, max(ys) + 0.6))
    axes.axis("off")
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    _legend(figure, kinds, kept, truth, names, bool(len(wrong)))
    return figure


def _read(graph: Any) -> tuple[list[str], list[str], np.ndarray]:
    """Return kinds, texts and weights (target, source) of a StepGraph or of nodes with parents."""
    if hasattr(graph, "weights"):
        return list(graph.kinds), list(graph.texts), np.asarray(graph.weights, dtype=float)
    nodes = list(getattr(graph, "nodes", graph))
    weights = np.zeros((len(nodes), len(nodes)))
    for target, node in enumerate(nodes):
        for source in node.parents:
            weights[target, source] = 1 / len(node.parents)
    return [node.kind for node in nodes], [node.text for node in nodes], weights


def _read_like(graph: Any, kinds: Sequence[str], name: str) -> np.ndarray:
    other, _, weights = _read(graph)
    if other != list(kinds):
        raise ValueError(
            f"{name} has {len(other)} nodes of other kinds than the graph's {len(kinds)}: both "
            "must be drawn over the same nodes, in the same order"
        )
    return weights


def _draw_edges(
    axes: Axes,
    positions: Sequence[tuple[float, float]],
    weights: np.ndarray,
    truth: np.ndarray | None,
) -> None:
    pairs = np.argwhere((weights > 0) | (truth > 0 if truth is not None else False))
    heaviest = weights.max() if weights.size and weights.max() > 0 else 1.0
    for target, source in pairs.tolist():
        weight = weights[target, source]
        name = edge_name(weight, None if truth is None else truth[target, source])
        style = EDGE_STYLES[name]
        others = [p for node, p in enumerate(positions) if node not in (source, target)]
        bend = choose_bend(positions[source], positions[target], others, UNIT)
        axes.add_patch(
            FancyArrowPatch(
                positions[source],
                positions[target],
                arrowstyle="-|>",
                mutation_scale=9,
                connectionstyle=f"arc3,rad={bend}",
                clip_on=False,
                linestyle=style.dashes,
                linewidth=1.5 if name == "missed" else 0.7 + 1.5 * weight / heaviest,
                color=style.colour,
                shrinkA=10,
                shrinkB=10,
                zorder=1 if name == "extra" else 2,
                gid=f"edge {source} {target} {name}",
            )
        )


def edge_name(weight: float, truth: float | None) -> str:
    """Name the set an edge belongs to, a key of EDGE_STYLES."""
    if truth is None:
        return "plain"
    if truth > 0:
        return "both" if weight > 0 else "missed"
    return "extra"


def _draw_nodes(
    axes: Axes,
    positions: Sequence[tuple[float, float]],
    kinds: Sequence[str],
    wrong: Collection[int],
) -> None:
    for node, ((x, y), kind) in enumerate(zip(positions, kinds, strict=True)):
        style = KIND_STYLES[kind]
        axes.scatter(
            [x],
            [y],
            s=NODE_AREA * style.size,
            marker=style.marker,
            facecolor=style.fill,
            edgecolor=PALETTE["vermilion"] if node in wrong else INK,
            linewidth=2.4 if node in wrong else 1.1,
            zorder=3,
            gid=f"node {node} {kind}",
        )
        axes.text(x, y, str(node), ha="center", va="center_baseline", fontsize=9, zorder=4)
        if node in wrong:
            axes.text(
                x + 0.27,
                y + 0.2,
                "✗",
                color=PALETTE["vermilion"],
                fontsize=14,
                fontweight="bold",
                ha="center",
                va="center",
                zorder=5,
                gid=f"wrong {node}",
            )


def _listing(
    texts: Sequence[str], wrong: Mapping[int, str] | Collection[int]
) -> list[tuple[int, str, bool]]:
    """Return (node, wrapped text, is wrong) per node."""
    rows = []
    for node, text in enumerate(texts):
        if node in wrong:
            reason = wrong[node] if isinstance(wrong, Mapping) else ""
            text = f"{text}  ✗ {reason}".rstrip()
        rows.append((node, textwrap.fill(text, WRAP), node in wrong))
    return rows


def _write_listing(
    axes: Axes,
    listing: Sequence[tuple[int, str, bool]],
    kinds: Sequence[str],
    width: float,
    height: float,
) -> None:
    """Write the texts line by line, each with its number and the shape of its kind (inches)."""
    axes.axis("off")
    axes.set(xlim=(0, width), ylim=(-height, 0))
    y = -0.5 * LINE_HEIGHT
    for node, text, is_wrong in listing:
        style = KIND_STYLES[kinds[node]]
        marker = {"marker": style.marker, "facecolor": style.fill, "edgecolor": INK}
        axes.scatter([0.1], [y], s=38 * style.size, linewidth=0.7, clip_on=False, **marker)
        axes.text(0.42, y, str(node), ha="right", va="center", fontsize=9, color=FAINT)
        for line in text.split("\n"):
            axes.text(
                0.52,
                y,
                line,
                va="center",
                fontsize=9,
                color=PALETTE["vermilion"] if is_wrong else INK,
                fontweight="bold" if is_wrong else "normal",
            )
            y -= LINE_HEIGHT


def _legend(
    figure: Figure,
    kinds: Sequence[str],
    weights: np.ndarray,
    truth: np.ndarray | None,
    names: tuple[str, str],
    any_wrong: bool,
) -> None:
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=style.marker,
            markersize=9,
            label=kind,
            markerfacecolor=style.fill,
            markeredgecolor=INK,
        )
        for kind, style in KIND_STYLES.items()
        if kind in kinds
    ]
    if truth is not None:
        drawn, true = weights > 0, truth > 0
        present = {
            "both": (f"{names[0]} and {names[1]}", drawn & true),
            "extra": (f"{names[0]}, not {names[1]}", drawn & ~true),
            "missed": (f"{names[1]}, not {names[0]}", ~drawn & true),
        }
        for name, (label, found) in present.items():
            style = EDGE_STYLES[name]
            line = {"color": style.colour, "linestyle": style.dashes}
            if found.any():
                handles.append(Line2D([], [], label=f"{label} ({int(found.sum())})", **line))
    if any_wrong:
        handles.append(
            Line2D(
                [],
                [],
                linestyle="",
                marker="$✗$",
                markersize=9,
                color=PALETTE["vermilion"],
                label="wrong step",
            )
        )
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=4,
        fontsize=9,
        handlelength=2.6,
        columnspacing=1.4,
    )
