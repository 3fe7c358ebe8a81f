"""Static figures in one style: readable in greyscale, with colour-vision deficiency, and aloud.

Every function returns a matplotlib `Figure` and shows nothing; `show(figure, alt=...)` displays
it in a notebook together with its text alternative.
"""

from rg_helpers.plots.arcs import draw_arc_panels
from rg_helpers.plots.comparison import draw_agreement, draw_comparison
from rg_helpers.plots.heads import draw_all_heads, draw_head_scores, draw_parts
from rg_helpers.plots.heatmaps import draw_head_grid, draw_step_heatmap
from rg_helpers.plots.intervals import draw_accuracy_by_operations, draw_intervals
from rg_helpers.plots.prediction import draw_prediction
from rg_helpers.plots.reasoning_graph import draw_reasoning_graph
from rg_helpers.plots.style import (
    EDGE_STYLES,
    FAMILY_STYLES,
    KIND_STYLES,
    PALETTE,
    show,
    use_course_style,
)
from rg_helpers.plots.walks import draw_alignment, draw_walk

__all__ = [
    "EDGE_STYLES",
    "FAMILY_STYLES",
    "KIND_STYLES",
    "PALETTE",
    "draw_accuracy_by_operations",
    "draw_agreement",
    "draw_alignment",
    "draw_all_heads",
    "draw_arc_panels",
    "draw_comparison",
    "draw_head_grid",
    "draw_head_scores",
    "draw_intervals",
    "draw_parts",
    "draw_prediction",
    "draw_reasoning_graph",
    "draw_step_heatmap",
    "draw_walk",
    "show",
    "use_course_style",
]
