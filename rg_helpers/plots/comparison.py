"""The comparison of all methods in one figure: recovery per family, best control, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rg_helpers.plots.style import FAINT, FAMILY_STYLES, INK, new_figure

NEEDED = ("method", "family", "value", "low", "high")


def draw_comparison(
    rows: Sequence[Mapping[str, Any]],
    *,
    costs: Mapping[str, float] | None = None,
    label: str = "AUROC of gold edges",
    cost_label: str = "ms per trace",
    title: str = "",
) -> Figure:
    """Draw one row a method and one panel a family, best method on top, and costs beside them.

    `rows` hold `method`, `family`, `value`, `low`, `high`, and for methods `control` (value of the
    best control on the same traces) and `above` (is the difference to it above zero?). A filled
    marker lies above its best control, a hollow one does not, the short upright bar is the control.
    Rows without `control` are controls themselves: crosses. `costs` maps methods to milliseconds,
    on a logarithmic axis. Raises `ValueError` for no rows, a row without its figures, or an
    interval that does not hold its value.
    """
    _check(rows)
    families = list(dict.fromkeys(row["family"] for row in rows))
    methods = _ranked(rows)
    height = {method: -place for place, method in enumerate(methods)}
    costs = {name: value for name, value in (costs or {}).items() if name in height}
    figure = new_figure(
        3.0 + 2.2 * len(families) + (1.7 if costs else 0), 0.25 * len(methods) + 1.5
    )
    widths = [2.0] * len(families) + [1.5] * bool(costs)
    panels = np.atleast_1d(figure.subplots(1, len(widths), sharey=True, width_ratios=widths))
    low = min([row["low"] for row in rows] + [row.get("control") or 1.0 for row in rows] + [0.5])
    for axes, family in zip(panels, families, strict=False):
        style = FAMILY_STYLES.get(family)
        colour, marker = (style.colour, style.marker) if style else (INK, "o")
        for row in rows:
            if row["family"] == family:
                _draw_row(axes, row, height[row["method"]], colour, marker)
        axes.axvline(0.5, color=FAINT, linestyle=(0, (4, 3)), linewidth=1, zorder=0)
        axes.set_title(family, color=colour)
        axes.set(xlim=(low - 0.02, 1.02), xlabel=label)
    if costs:
        _draw_costs(panels[-1], costs, height, cost_label)
    for axes in panels:
        axes.grid(axis="both", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    panels[0].set_yticks(list(height.values()), [name.replace("_", " ") for name in height])
    panels[0].set_ylim(-len(methods) + 0.3, 0.7)
    if title:
        figure.suptitle(title, fontweight="bold", fontsize=11)
    figure.supxlabel(
        "filled: above its best control (upright bar) · hollow: not told apart, or below · "
        "cross: a control",
        fontsize=8.5,
        color=FAINT,
    )
    return figure


def draw_agreement(
    values: np.ndarray, names: Sequence[str], *, label: str = "", title: str = ""
) -> Figure:
    """Draw a symmetric matrix of rank correlations (methods, methods), numbers in every cell.

    NaN cells (nothing to compare) stay white. Raises `ValueError` if names and matrix do not fit.
    """
    values = np.asarray(values, dtype=float)
    if values.shape != (len(names), len(names)) or not len(names):
        raise ValueError(f"{len(names)} names for values of shape {values.shape}: not a square")
    size = 0.42 * len(names) + 2.2
    figure = new_figure(size, size - 0.5)
    axes = figure.subplots()
    image = axes.imshow(values, cmap="cividis", vmin=min(0.0, np.nanmin(values)), vmax=1)
    for i, j in np.argwhere(np.isfinite(values)):
        shown = f"{values[i, j]:.2f}".replace("0.", ".", 1)
        dark = values[i, j] < 0.55
        axes.text(j, i, shown, ha="center", va="center", fontsize=7, color="w" if dark else INK)
    words = [name.replace("_", " ") for name in names]
    axes.set_xticks(range(len(names)), words, rotation=55, ha="right")
    axes.set_yticks(range(len(names)), words)
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, shrink=0.7, label=label)
    if title:
        axes.set_title(title)
    return figure


def _draw_row(axes: Any, row: Mapping[str, Any], y: float, colour: str, marker: str) -> None:
    control = row.get("control")
    is_control = control is None
    line = FAINT if is_control else colour
    axes.plot([row["low"], row["high"]], [y, y], color=line, linewidth=1.8, zorder=2)
    filled = bool(row.get("above"))
    axes.plot(
        [row["value"]],
        [y],
        "x" if is_control else marker,
        color=line,
        markersize=6,
        markerfacecolor=colour if filled else "white",
        gid=f"{row['family']} {row['method']} {'filled' if filled else 'open'}",
        zorder=3,
    )
    if not is_control:
        axes.plot([control, control], [y - 0.33, y + 0.33], color=INK, linewidth=1.4, zorder=2)


def _draw_costs(
    axes: Any, costs: Mapping[str, float], height: Mapping[str, float], label: str
) -> None:
    for name, value in costs.items():
        axes.plot([value], [height[name]], "D", color=INK, markersize=4.5, gid=f"cost {name}")
        text = f"{value:.3g}" if value < 100 else f"{value:,.0f}"
        axes.annotate(
            text, (value, height[name]), xytext=(6, 0), textcoords="offset points", va="center",
            fontsize=8,
        )  # fmt: skip
    axes.set_xscale("log")
    least, most = min(costs.values()), max(costs.values())
    axes.set(xlim=(least / 2, most * 8), xlabel=label)
    axes.set_title("cost", color=INK)


def _ranked(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return method names by mean value over families, the best first."""
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row["method"], []).append(row["value"])
    return sorted(values, key=lambda name: -float(np.mean(values[name])))


def _check(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        raise ValueError("no rows to draw: run `rgh compare`, or measure some methods first")
    for row in rows:
        missing = [name for name in NEEDED if row.get(name) is None]
        if missing:
            raise ValueError(f"row {dict(row)} lacks {', '.join(missing)}")
        if not row["low"] - 1e-9 <= row["value"] <= row["high"] + 1e-9:
            raise ValueError(
                f"{row['method']}: the interval [{row['low']}, {row['high']}] does not hold the "
                f"value {row['value']}: give bounds, not distances from the value"
            )
