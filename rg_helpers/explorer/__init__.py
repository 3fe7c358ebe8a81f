"""The reasoning-graph explorer: a text beside the graphs that were drawn of it.

`explore` in a notebook, `explorer_html` for a page; both show `explorer_data`, plain JSON. What
needs torch or matplotlib is imported where it is used: data once made is shown without either.
"""

from rg_helpers.explorer.data import explorer_data, weights_of
from rg_helpers.explorer.explore import explore
from rg_helpers.explorer.page import explorer_frame, explorer_html, explorer_page
from rg_helpers.explorer.twin import draw_static_twin

__all__ = [
    "draw_static_twin",
    "explore",
    "explorer_data",
    "explorer_frame",
    "explorer_html",
    "explorer_page",
    "weights_of",
]
