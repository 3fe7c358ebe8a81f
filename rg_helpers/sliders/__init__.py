"""Figures with a slider: a pure `draw_...(...) -> Figure`, shown as it is first, then moved."""

from rg_helpers.sliders.error_types import draw_error_types, slide_error_types
from rg_helpers.sliders.slide import slide
from rg_helpers.sliders.strength import draw_strengths, slide_strengths
from rg_helpers.sliders.threshold import draw_threshold, slide_threshold, threshold_table

__all__ = [
    "draw_error_types",
    "draw_strengths",
    "draw_threshold",
    "slide",
    "slide_error_types",
    "slide_strengths",
    "slide_threshold",
    "threshold_table",
]
