"""A static figure, then a slider that draws it again; without ipywidgets the figure alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rg_helpers.plots.style import show

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def slide(
    draw: Callable[[Any], Figure],
    describe: Callable[[Any], str],
    values: Sequence[Any],
    *,
    label: str,
    start: int = 0,
    words: Callable[[Any], str] = str,
) -> Any:
    """Show `draw(values[start])` and return a slider over `values` that draws the others.

    `describe(value)` is each figure's alt text, `words(value)` what stands beside the slider. The
    slider draws nothing until it is moved, so a notebook holds the figure once. Returns None where
    ipywidgets is not installed: the figure stands for itself. Raises `ValueError` for no values or
    a `start` outside of them.
    """
    values = list(values)
    if not 0 <= start < len(values):
        raise ValueError(f"start={start} of {len(values)} values: nothing can be shown first")
    show(draw(values[start]), alt=describe(values[start]))
    try:
        import ipywidgets
    except ImportError:
        return None
    slider = ipywidgets.SelectionSlider(
        options=[(words(value), place) for place, value in enumerate(values)],
        value=start,
        description=label,
        continuous_update=False,
        style={"description_width": "initial"},
        layout={"width": "28em"},
    )
    drawn = ipywidgets.Output()

    def redraw(change: dict[str, Any]) -> None:
        value = values[change["new"]]
        drawn.clear_output(wait=True)
        with drawn:
            show(draw(value), alt=describe(value))

    slider.observe(redraw, "value")
    return ipywidgets.VBox([slider, drawn])
