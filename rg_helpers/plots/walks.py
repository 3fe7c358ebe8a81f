"""Figures of a trace as a walk over clusters, and of its alignment to a reference."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle

from rg_helpers.plots.style import FAINT, INK, KIND_STYLES, PALETTE, new_figure

COLOURS = "Greys"
NODE = 0.17  # radius, where the ring of clusters has radius 1


def draw_walk(
    path: Sequence[int],
    texts: Sequence[str],
    *,
    names: Mapping[int, str] | None = None,
    title: str = "",
    width: int = 40,
) -> Figure:
    """Draw a walk over clusters twice: step by step, and as a graph of clusters.

    `path` holds the cluster of each step, `texts` the steps. Left, a row a step (first on top) and
    a column a cluster, in the order of the first visit. Right, the clusters in the same order round
    a ring, clockwise from the top; an arrow carries how often the walk takes it if more than once,
    and a loop says that it stays. Raises `ValueError` where `texts` do not fit or there is no step.
    """
    if len(path) != len(texts) or not len(path):
        raise ValueError(f"{len(path)} clusters for {len(texts)} steps: expected one a step")
    order = list(dict.fromkeys(path))
    names = {cluster: str(cluster) for cluster in order} | dict(names or {})
    figure = new_figure(9.2, max(3.4, 0.27 * len(path) + 1.2))
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
    _draw_rows(left, path, order, names, [textwrap.shorten(t, width) for t in texts])
    _draw_ring(right, path, order, names)
    if title:
        left.set_title(title)
    return figure


def draw_alignment(
    similarities: np.ndarray,
    pairs: Sequence[tuple[int, int]],
    written: Sequence[str],
    reference: Sequence[str],
    *,
    title: str = "",
    width: int = 38,
) -> Figure:
    """Draw similarities (written steps, reference steps) with the pairs of an alignment framed.

    Darker is more similar; rows and columns without a frame are left unpaired. Raises `ValueError`
    where the texts do not fit.
    """
    similarities = np.asarray(similarities, dtype=float)
    if similarities.shape != (len(written), len(reference)):
        raise ValueError(
            f"similarities {similarities.shape} for {len(written)} written and {len(reference)} "
            "reference steps: expected (written, reference)"
        )
    figure = new_figure(0.42 * len(reference) + 4.6, 0.32 * len(written) + 2.9)
    axes = figure.subplots()
    image = axes.imshow(similarities, cmap=COLOURS, vmin=min(0, similarities.min()), vmax=1)
    for row, column in pairs:
        corner = (column - 0.46, row - 0.46)
        frame = Rectangle(corner, 0.92, 0.92, fill=False, linewidth=2.2)
        frame.set(edgecolor=PALETTE["vermilion"], gid=f"pair {row} {column}")
        axes.add_patch(frame)
    axes.set_yticks(range(len(written)), [textwrap.shorten(t, width) for t in written], fontsize=8)
    shortened = [textwrap.shorten(text, width) for text in reference]
    axes.set_xticks(range(len(reference)), shortened, fontsize=8, rotation=40, ha="right")
    axes.set(ylabel="written", xlabel="reference")
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, label="cosine similarity", shrink=0.8)
    if title:
        axes.set_title(title)
    return figure


def _draw_rows(
    axes: Axes,
    path: Sequence[int],
    order: Sequence[int],
    names: Mapping[int, str],
    texts: Sequence[str],
) -> None:
    """A row a step, a column a cluster, joined in order."""
    columns = [order.index(cluster) for cluster in path]
    axes.plot(columns, range(len(path)), color=FAINT, linewidth=1.2, zorder=1)
    axes.scatter(
        columns,
        range(len(path)),
        s=52,
        color=KIND_STYLES["premise"].fill,
        edgecolor=INK,
        linewidth=1,
        zorder=2,
    )
    axes.set_xticks(range(len(order)), [names[cluster] for cluster in order])
    axes.set_yticks(range(len(path)), texts, fontsize=8)
    axes.set(xlabel="cluster", ylim=(len(path) - 0.4, -0.6), xlim=(-0.5, len(order) - 0.5))
    axes.grid(axis="x")
    axes.tick_params(length=0)


def _draw_ring(
    axes: Axes, path: Sequence[int], order: Sequence[int], names: Mapping[int, str]
) -> None:
    """Clusters round a ring, an arrow for every move between them."""
    angle = np.pi / 2 - 2 * np.pi * np.arange(len(order)) / len(order)
    place = {c: np.array([np.cos(a), np.sin(a)]) for c, a in zip(order, angle, strict=True)}
    if len(order) == 1:
        place = {order[0]: np.zeros(2)}
    moves: dict[tuple[int, int], int] = {}
    for move in pairwise(path):
        moves[move] = moves.get(move, 0) + 1
    for (start, end), count in moves.items():
        if start == end:
            middle = place[start] * (1 + 1.9 * NODE) + (len(order) == 1) * np.array([0, 2.0 * NODE])
            loop = Circle(middle, NODE, fill=False, edgecolor=FAINT, linewidth=1.3, zorder=3)
            loop.set_gid(f"loop {start}")
            axes.add_patch(loop)
        else:
            middle = _arrow(axes, place[start], place[end], f"move {start} {end}")
        if count > 1:
            axes.text(
                *middle,
                str(count),
                ha="center",
                va="center",
                fontsize=9,
                zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
            )
    for cluster in order:
        fill = KIND_STYLES["premise"].fill
        disc = Circle(place[cluster], NODE, facecolor=fill, edgecolor=INK, linewidth=1.1, zorder=5)
        axes.add_patch(disc)
        axes.text(*place[cluster], names[cluster], ha="center", va="center", zorder=6)
    axes.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal")
    axes.axis("off")


def _arrow(axes: Axes, start: np.ndarray, end: np.ndarray, name: str) -> np.ndarray:
    """Draw a bent arrow from rim to rim; return where it passes half way."""
    bend = 0.18
    along = (end - start) / np.linalg.norm(end - start)
    axes.add_patch(
        FancyArrowPatch(
            start + NODE * along,
            end - NODE * along,
            connectionstyle=f"arc3,rad={bend}",
            arrowstyle="-|>",
            mutation_scale=12,
            color=FAINT,
            linewidth=1.3,
            zorder=3,
            gid=name,
        )
    )
    right = np.array([along[1], -along[0]])
    return (start + end) / 2 + right * bend / 2 * (np.linalg.norm(end - start) - 2 * NODE)
