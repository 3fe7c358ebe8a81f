"""The static twin: what the explorer shows, as a figure that needs no browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rg_helpers.explorer.data import GOLD, method_named, weights_of
from rg_helpers.explorer.words import wrong_steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LINES = 60  # whose texts a figure can hold; longer texts are drawn as arcs, without words
POINTS = 25  # of the polygon that stands for an arc


def draw_static_twin(
    data: Mapping[str, Any],
    method: str | None = None,
    compare: str | None = None,
    *,
    layer: int | None = None,
    head: int | None = None,
    threshold: float | None = None,
) -> Figure:
    """Draw a state of the explorer: by default its first graph, against gold if that is known.

    `compare` is "gold", another graph's name or "" for none. Layers, numbers and marks are those of
    the explorer. A text of more than 60 lines is drawn as arcs down a page. Raises `ValueError` for
    names, layers and heads that are not there.
    """
    from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
    from rg_helpers.plots import draw_reasoning_graph

    method = data["methods"][0]["name"] if method is None else method
    chosen = method_named(data, method)
    compare = (GOLD if data["gold"] is not None else "") if compare is None else compare
    place = _place(chosen, layer, head)
    least = chosen["threshold"] if threshold is None else threshold
    weights = weights_of(data, method, layer, head)
    drawn, other = np.where(weights >= least, weights, 0), None
    if compare:
        other = weights_of(data, compare)
        floor = 0 if compare == GOLD else method_named(data, compare)["threshold"]
        other = np.where(other >= floor, other, 0)
    title = f"{data['title'] or 'Reasoning graph'} ({place}, at least {least:.3f})"
    names = (method, compare if compare != method else f"{compare} as drawn")
    if len(data["kinds"]) > MOST_LINES:
        return _draw_long(data["kinds"], drawn, other, title, names)

    def graph(weights: np.ndarray, name: str) -> StepGraph:
        return StepGraph(normalise_rows(weights), data["kinds"], data["texts"], name)

    return draw_reasoning_graph(
        graph(drawn, method),
        gold=None if other is None else graph(other, compare),
        wrong=wrong_steps(data),
        title=title,
        names=names,
    )


def _place(method: Mapping[str, Any], layer: int | None, head: int | None) -> str:
    if layer is None:
        return f"{method['name']}, {method['choice']}" if method["choice"] else method["name"]
    return f"{method['name']}, layer {layer}" + ("" if head is None else f", head {head}")


def _draw_long(
    kinds: list[str],
    drawn: np.ndarray,
    other: np.ndarray | None,
    title: str,
    names: tuple[str, str],
) -> Figure:
    """Draw every edge as an arc between two places of a column, the first line on top."""
    from matplotlib.collections import LineCollection

    from rg_helpers.plots.style import EDGE_STYLES, INK, KIND_STYLES, new_figure

    nodes = len(kinds)
    figure = new_figure(7.2, 0.045 * nodes + 1.4)
    axes = figure.subplots()
    true = np.zeros(drawn.shape, bool) if other is None else other > 0
    has = drawn > 0
    sets = {
        "plain": (has & (other is None), names[0]),
        "both": (has & true, f"{names[0]} and {names[1]}"),
        "extra": (has & ~true & (other is not None), f"{names[0]}, not {names[1]}"),
        "missed": (true & ~has, f"{names[1]}, not {names[0]}"),
    }
    turn = np.linspace(-np.pi / 2, np.pi / 2, POINTS)
    for name, (edges, label) in sets.items():
        pairs = np.argwhere(edges)
        if not len(pairs):
            continue
        half = (pairs[:, 0] - pairs[:, 1])[:, None] / 2
        x = half**0.75 * np.cos(turn)  # long arcs swing out less than in proportion
        y = pairs.mean(axis=1)[:, None] + half * np.sin(turn)
        style = EDGE_STYLES[name]
        lines = LineCollection(
            np.stack([x, y], -1), colors=style.colour, linestyles=[style.dashes], linewidths=0.9
        )
        lines.set(label=f"{label} ({len(pairs)})", gid=f"arcs {name}")
        axes.add_collection(lines)
    for kind, style in KIND_STYLES.items():
        places = [node for node, found in enumerate(kinds) if found == kind]
        axes.scatter(
            [0] * len(places),
            places,
            s=9 * style.size,
            marker=style.marker,
            facecolor=style.fill,
            edgecolor=INK,
            linewidth=0.5,
            label=kind if places else None,
            zorder=3,
        )
    axes.autoscale()
    axes.set(ylim=(nodes, -1), ylabel="line", xticks=[], title=title)
    axes.spines["bottom"].set_visible(False)
    figure.legend(loc="outside lower left", ncols=3, fontsize=9)
    return figure
