"""Curves of training runs: one panel a quantity, one look a run, the same look in every panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from rg_helpers.plots.style import FAINT, PALETTE, new_figure

LOOKS = (
    ("blue", "o", "-"),
    ("vermilion", "s", (0, (5, 2))),
    ("green", "^", (0, (1.5, 1.5))),
    ("brown", "D", (0, (5, 1.5, 1, 1.5))),
    ("pink", "v", (0, (3, 1))),
    ("grey", "P", (0, (8, 2, 1, 2, 1, 2))),
)
MOST_MARKERS = 12  # a curve; more would hide the dashes

Curve = Sequence[tuple[float, float]]


def draw_training_curves(
    panels: Mapping[str, Mapping[str, Curve]],
    *,
    levels: Mapping[str, Mapping[str, float]] | None = None,
    limits: Mapping[str, tuple[float | None, float | None]] | None = None,
    below: str = "optimiser step",
    columns: int = 3,
    title: str = "",
) -> Figure:
    """Draw `panels[quantity][run]`, (step, value) pairs, with one legend for all panels.

    levels: `levels[quantity][name]` draws a dotted horizontal line with its name, for example what
    guessing gives. limits: lowest and highest value of a panel's axis, None where it is to follow
    the curves. Raises `ValueError` for nothing to draw and for more runs than there are looks.
    """
    runs = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    if not runs or len(runs) > len(LOOKS):
        raise ValueError(
            f"{len(runs)} runs: expected 1 to {len(LOOKS)}, which can be told apart in greyscale; "
            "draw them in several figures"
        )
    wide = min(columns, len(panels))
    rows = -(-len(panels) // wide)
    figure = new_figure(min(8.6, 1.4 + 3.2 * wide), 0.5 + 2.3 * rows)
    drawn = list(figure.subplots(rows, wide, squeeze=False).flat)
    for axes, (quantity, curves) in zip(drawn, panels.items()):
        for name, height in (levels or {}).get(quantity, {}).items():
            axes.axhline(height, color=FAINT, linestyle=":", linewidth=1)
            axes.annotate(
                name,
                (1, height),
                xycoords=("axes fraction", "data"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="right",
                va="bottom",
                fontsize=8,
                color=FAINT,
            )
        for name, curve in curves.items():
            colour, marker, dashes = LOOKS[runs.index(name)]
            axes.plot(
                [step for step, _ in curve],
                [value for _, value in curve],
                marker=marker,
                markevery=max(1, len(curve) // MOST_MARKERS),
                markersize=4,
                color=PALETTE[colour],
                linestyle=dashes,
                label=name,
            )
        axes.set_title(quantity, fontsize=10)
        axes.set_ylim(*(limits or {}).get(quantity, (None, None)))
        axes.grid(axis="y")
    for number, axes in enumerate(drawn):
        if number >= len(panels):
            axes.axis("off")
        elif number + wide >= len(panels):  # nothing stands below it
            axes.set_xlabel(below)
    handles = {}
    for axes in drawn[: len(panels)]:
        for handle, name in zip(*axes.get_legend_handles_labels()):
            handles.setdefault(name, handle)
    figure.legend(
        [handles[name] for name in runs], runs, loc="outside lower center", ncols=min(3, len(runs))
    )
    if title:
        figure.suptitle(title, fontweight="bold", fontsize=11)
    return figure
