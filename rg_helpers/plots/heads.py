"""All heads at once: their step graphs, their scores by family, and where their attention goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rg_helpers.plots.style import FAINT, INK, PALETTE, new_figure

# Grey levels far apart and hatches, so that neighbouring parts differ without colour too.
PART_STYLES: Sequence[tuple[str, str]] = (
    ("#e3e3e3", ""),
    ("#949494", ""),
    (PALETTE["blue"], ""),
    (PALETTE["orange"], "////"),
    ("#ffffff", ""),
    (PALETTE["sky"], "xxxx"),
)


def draw_all_heads(graphs: np.ndarray, gold: np.ndarray, *, prompt_nodes: int = 0) -> Figure:
    """Draw every head's step graph, (layers, heads, nodes, nodes), with gold cells outlined.

    A row of panels a layer, layer 0 on top; in a panel row = target, column = source, black is a
    weight of 1. Thin lines part the first `prompt_nodes` (given) from what was written. Raises
    `ValueError` where `gold` (nodes, nodes) does not fit.
    """
    graphs, gold = np.asarray(graphs), np.asarray(gold)
    if graphs.ndim != 4 or graphs.shape[2:] != gold.shape:
        raise ValueError(
            f"graphs {graphs.shape} and gold {gold.shape} do not fit: expected "
            "(layers, heads, nodes, nodes) and (nodes, nodes)"
        )
    layers, heads = graphs.shape[:2]
    figure = new_figure(2.15 * heads + 0.5, 2.3 * layers + 0.4)
    panels = figure.subplots(layers, heads, squeeze=False)
    for (layer, head), axes in np.ndenumerate(panels):
        axes.imshow(graphs[layer, head], cmap="Greys", vmin=0, vmax=1)
        for target, source in np.argwhere(gold > 0).tolist():
            axes.add_patch(
                Rectangle(
                    (source - 0.5, target - 0.5),
                    1,
                    1,
                    fill=False,
                    linewidth=1.0,
                    edgecolor=PALETTE["vermilion"],
                    gid=f"gold {source} {target}",
                )
            )
        if prompt_nodes:
            axes.axhline(prompt_nodes - 0.5, color=FAINT, linewidth=0.6, linestyle=":")
            axes.axvline(prompt_nodes - 0.5, color=FAINT, linewidth=0.6, linestyle=":")
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"layer {layer} head {head}", fontsize=9.5, fontweight="normal")
        for side in axes.spines.values():
            side.set_visible(True)
            side.set_linewidth(0.5)
    figure.supxlabel(
        "source: the node looked at (given nodes left of the dotted line)", fontsize=9.5
    )
    figure.supylabel("target: the node that looks (given nodes above the line)", fontsize=9.5)
    return figure


def draw_head_scores(
    values: Mapping[str, np.ndarray],
    chosen: Mapping[str, tuple[int, int]],
    *,
    label: str = "AUROC",
    low: float = 0.5,
    high: float = 1.0,
) -> Figure:
    """Draw one grid of scores (layers, heads) a family, side by side on one scale.

    Layer 0 is at the bottom, as in the model; the `chosen` (layer, head) of each family is framed.
    Values at or below `low` are white. Raises `ValueError` for no families.
    """
    if not values:
        raise ValueError("no scores to draw: give one matrix (layers, heads) a family")
    layers, heads = next(iter(values.values())).shape
    figure = new_figure(len(values) * (0.62 * heads + 0.5) + 0.9, 0.46 * layers + 1.3)
    panels = figure.subplots(1, len(values), sharey=True, squeeze=False)[0]
    image = None
    for axes, (family, matrix) in zip(panels, values.items(), strict=True):
        image = axes.imshow(
            matrix, cmap="Blues", vmin=low, vmax=high, origin="lower", aspect="auto"
        )
        for (layer, head), value in np.ndenumerate(matrix):
            dark = (value - low) / (high - low) > 0.55
            text = {"ha": "center", "va": "center", "fontsize": 9}
            axes.text(head, layer, f"{value:.2f}", color="white" if dark else INK, **text)
        layer, head = chosen[family]
        axes.add_patch(
            Rectangle(
                (head - 0.46, layer - 0.46),
                0.92,
                0.92,
                fill=False,
                linewidth=2.4,
                edgecolor=PALETTE["vermilion"],
                gid=f"chosen {family}",
            )
        )
        axes.set(title=family, xlabel="head", xticks=range(heads), yticks=range(layers))
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
    panels[0].set_ylabel("layer (0 = first)")
    bar = figure.colorbar(image, ax=list(panels), pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label(f"{label} (white: ≤ {low:g})", color=FAINT)
    return figure


def draw_parts(
    parts: np.ndarray, names: Sequence[str], labels: Sequence[str], *, axis: str = ""
) -> Figure:
    """Draw how each row's whole is divided: parts (rows, parts), one stacked bar a row.

    `names` name the rows, `labels` the parts; shares of 5 % and more are written into the bars.
    Raises `ValueError` where the shapes do not fit or a row does not sum to one.
    """
    parts = np.asarray(parts, dtype=float)
    if parts.shape != (len(names), len(labels)) or len(labels) > len(PART_STYLES):
        raise ValueError(
            f"parts {parts.shape} do not fit {len(names)} rows and {len(labels)} parts (at most "
            f"{len(PART_STYLES)} parts can be told apart)"
        )
    if not np.allclose(parts.sum(1), 1, atol=1e-3):
        raise ValueError(
            f"rows sum to {parts.sum(1).min():.3g} ... {parts.sum(1).max():.3g}, not 1"
        )
    figure = new_figure(8.6, 0.27 * len(names) + 1.2)
    axes = figure.subplots()
    left = np.zeros(len(names))
    for place, label in enumerate(labels):
        colour, hatch = PART_STYLES[place]
        axes.barh(
            range(len(names)),
            parts[:, place],
            left=left,
            color=colour,
            hatch=hatch,
            edgecolor=INK,
            linewidth=0.5,
            height=0.78,
            label=label,
        )
        for row, share in enumerate(parts[:, place]):
            if share >= 0.05:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8} if hatch else None
                axes.text(
                    left[row] + share / 2,
                    row,
                    f"{100 * share:.0f}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if colour == PALETTE["blue"] else INK,
                    bbox=box,
                )
        left += parts[:, place]
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(0, 1), xlabel=axis)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper center", ncols=len(labels), fontsize=9, handlelength=1.6)
    return figure
