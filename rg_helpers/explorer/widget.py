"""The explorer as a Jupyter widget; import this module only where anywidget is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anywidget
import traitlets

from rg_helpers.explorer.data import GOLD, method_named
from rg_helpers.explorer.page import STYLE, explorer_frame, module_source

NONE = -1  # no layer, head or node chosen
VIEWS = ("auto", "graph", "arcs")


class Explorer(anywidget.AnyWidget):
    """What the reader chooses is readable here and may be set from Python.

    `method` and `compare` are names ("" compares with nothing), `layer`, `head` and `selected` are
    numbers or -1 for none, `threshold` is the least weight drawn, `view` "auto", "graph" or "arcs".
    Raises `traitlets.TraitError` for what the data does not hold.
    """

    _esm = module_source()
    _css = STYLE

    data = traitlets.Dict().tag(sync=True)
    method = traitlets.Unicode().tag(sync=True)
    compare = traitlets.Unicode().tag(sync=True)
    layer = traitlets.Int(NONE).tag(sync=True)
    head = traitlets.Int(NONE).tag(sync=True)
    threshold = traitlets.Float(0.1, min=0.0, max=1.0).tag(sync=True)
    view = traitlets.Enum(VIEWS, "auto").tag(sync=True)
    selected = traitlets.Int(NONE).tag(sync=True)

    def __init__(self, data: Mapping[str, Any], **state: Any) -> None:
        """Show `explorer_data`; `state` sets the choices to begin with, by name."""
        method = state.pop("method", data["methods"][0]["name"])
        first = {
            "method": method,
            "compare": GOLD if data["gold"] is not None else "",
            "threshold": method_named(data, method)["threshold"],
        }
        super().__init__(data=dict(data), **{**first, **state})

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict, dict]:
        """Add the kernel-free page, which exported HTML shows and a notebook without state."""
        shown, metadata = super()._repr_mimebundle_(**options)
        shown = {**shown, "text/html": explorer_frame(self.data), "text/plain": "explorer"}
        return shown, metadata

    @traitlets.validate("method", "compare")
    def _known_graph(self, proposal: Mapping[str, Any]) -> str:
        name, trait = proposal["value"], proposal["trait"].name
        if trait == "compare" and (not name or (name == GOLD and self.data["gold"] is not None)):
            return name
        try:
            return method_named(self.data, name)["name"]
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None

    @traitlets.validate("selected")
    def _known_node(self, proposal: Mapping[str, Any]) -> int:
        return _within(proposal["value"], len(self.data["kinds"]), "line")

    @traitlets.validate("layer", "head")
    def _known_part(self, proposal: Mapping[str, Any]) -> int:
        trait = proposal["trait"].name
        most = max(method[f"{trait}s"] for method in self.data["methods"])
        return _within(proposal["value"], most, trait)


def _within(value: int, count: int, what: str) -> int:
    if not NONE <= value < count:
        raise traitlets.TraitError(
            f"there is no {what} {value}: expected 0 to {count - 1}, or {NONE} for none"
        )
    return value
