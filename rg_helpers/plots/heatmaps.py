"""Matrices as pictures: edge weights between steps, and one number per layer and head."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rg_helpers.plots.style import FAINT, INK, PALETTE, new_figure

COLOURS = "Blues"  # one hue, light to dark: reads the same in greyscale


def draw_step_heatmap(
    weights: np.ndarray,
    texts: Sequence[str],
    gold: np.ndarray | None = None,
    *,
    targets: Sequence[int] | None = None,
    title: str = "",
    width: int = 34,
) -> Figure:
    """Draw edge weights (nodes, nodes) as a heat map: row = target, column = source.

    Each row is named by its number and the start of its text (`width` characters), each column by
    its number. `targets` chooses the rows, by default those that have any weight or gold edge.
    Where `gold` (nodes, nodes) is above zero the cell gets an outline. The upper triangle, which
    no edge can reach, is left white. Raises `ValueError` where shapes do not fit.
    """
    weights = np.asarray(weights, dtype=float)
    nodes = len(texts)
    if weights.shape != (nodes, nodes):
        raise ValueError(f"weights {weights.shape} do not fit {nodes} texts: expected a square")
    if gold is not None and np.shape(gold) != weights.shape:
        raise ValueError(f"gold {np.shape(gold)} does not fit weights {weights.shape}")
    if targets is None:
        known = weights.any(axis=1) | (np.zeros(nodes, bool) if gold is None else np.any(gold, 1))
        targets = np.flatnonzero(known).tolist() or list(range(nodes))
    targets = list(targets)
    cell = 0.32 if nodes <= 24 else 7.7 / nodes
    figure = new_figure(cell * nodes + 4.0, cell * len(targets) + 1.2)
    axes = figure.subplots()
    below = np.ma.masked_where(np.triu(np.ones_like(weights)) > 0, weights)[targets]
    strongest = max(float(weights[targets].max()), 1e-9)
    image = axes.imshow(below, cmap=COLOURS, vmin=0, vmax=strongest)
    shortened = [textwrap.shorten(texts[i], width, placeholder=" …") for i in targets]
    names = [f"{text}  {i}" for text, i in zip(shortened, targets)]
    axes.set_yticks(range(len(targets)), names, fontsize=8.5)
    axes.set_xticks(range(nodes), map(str, range(nodes)), fontsize=8.5)
    axes.set(xlabel="source (earlier)", ylabel="target (later)")
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(nodes) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(targets)) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="minor", length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    if gold is not None:
        for target, source in np.argwhere(np.asarray(gold) > 0).tolist():
            if target in targets:
                _outline(axes, source, targets.index(target), f"gold {source} {target}")
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label("share of weight")
    if gold is not None:
        axes.annotate(
            "□ gold edge",
            (1, 1),
            xycoords="axes fraction",
            xytext=(0, -12),
            textcoords="offset points",
            ha="right",
            color=PALETTE["vermilion"],
            fontweight="bold",
        )
    if title:
        axes.set_title(title)
    return figure


def draw_head_grid(
    values: np.ndarray,
    *,
    label: str = "AUROC",
    chance: float | None = None,
    title: str = "",
    digits: int = 2,
) -> Figure:
    """Draw one number per head, values (layers, heads), as a grid with the best head outlined.

    Layer 0 is at the bottom, as in the model. `chance` is where the colours begin, so that a head
    that knows nothing is white. Raises `ValueError` unless `values` is a matrix.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"values has shape {values.shape}: expected (layers, heads)")
    layers, heads = values.shape
    figure = new_figure(0.72 * heads + 2.4, 0.5 * layers + 1.3)
    axes = figure.subplots()
    low = float(np.nanmin(values)) if chance is None else chance
    high = max(float(np.nanmax(values)), low + 1e-9)
    image = axes.imshow(values, cmap=COLOURS, vmin=low, vmax=high, origin="lower", aspect="auto")
    if layers * heads <= 256:
        for layer, head in np.ndindex(layers, heads):
            dark = (values[layer, head] - low) / (high - low) > 0.55
            axes.text(
                head,
                layer,
                f"{values[layer, head]:.{digits}f}",
                ha="center",
                va="center",
                fontsize=9,
                color="white" if dark else INK,
            )
    best_layer, best_head = np.unravel_index(np.nanargmax(values), values.shape)
    _outline(axes, int(best_head), int(best_layer), f"best {best_layer} {best_head}")
    axes.set_xticks(range(heads), map(str, range(heads)))
    axes.set_yticks(range(layers), map(str, range(layers)))
    axes.set(xlabel="head", ylabel="layer")
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    bar = figure.colorbar(image, ax=axes, pad=0.03)
    bar.outline.set_visible(False)
    bar.set_label(label if chance is None else f"{label} (white: ≤ {chance:g})", color=FAINT)
    axes.set_title(title or f"best: layer {best_layer}, head {best_head}")
    return figure


def _outline(axes: Axes, column: int, row: int, name: str) -> None:
    axes.add_patch(
        Rectangle(
            (column - 0.44, row - 0.44),
            0.88,
            0.88,
            fill=False,
            linewidth=1.8,
            edgecolor=PALETTE["vermilion"],
            gid=name,
            zorder=3,
        )
    )
