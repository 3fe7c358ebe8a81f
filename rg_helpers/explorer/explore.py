"""`explore`: the static twin first, then the explorer, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rg_helpers.explorer.data import explorer_data
from rg_helpers.explorer.page import explorer_frame
from rg_helpers.explorer.twin import draw_static_twin
from rg_helpers.explorer.words import graph_in_words

if TYPE_CHECKING:
    import numpy as np

    from rg_helpers.graphs.step_graph import StepGraph
    from rg_helpers.problems import CheckedSolution, Problem
    from rg_helpers.traces import Trace


def explore(
    text: Problem | Trace,
    graphs: Mapping[str, StepGraph],
    *,
    heads: Mapping[str, np.ndarray] | None = None,
    gold: Any = None,
    checked: CheckedSolution | None = None,
    title: str = "",
    alt: str = "",
) -> Any:
    """Display the static twin of `explorer_data(...)` and return the explorer over it.

    Let it be a cell's last line. Returned is an `Explorer` widget or, without anywidget (extra
    `course`), the same page in a frame, which knows no Python. `alt` describes the figure; by
    default code does.
    """
    from rg_helpers.plots import show

    data = explorer_data(text, graphs, heads=heads, gold=gold, checked=checked, title=title)
    show(draw_static_twin(data), alt=alt or graph_in_words(data, data["methods"][0]["name"]))
    try:
        from rg_helpers.explorer.widget import Explorer
    except ImportError:
        return Frame(data)
    return Explorer(data)


class Frame:
    """The kernel-free explorer as a notebook output."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = dict(data)

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        return {"text/html": explorer_frame(self.data), "text/plain": "explorer"}
