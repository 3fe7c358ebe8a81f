"""Attention between reasoning steps, summed inside scaled-dot-product attention."""

from __future__ import annotations

from rg_helpers.step_attention.extract import StepAttention, step_attention
from rg_helpers.step_attention.layer_kinds import layer_kinds, layer_summary
from rg_helpers.step_attention.routes import DIFFERENTIABLE_ROUTES, ROUTES
from rg_helpers.step_attention.tap import StepAttentionTap, tap_step_attention

__all__ = [
    "DIFFERENTIABLE_ROUTES",
    "ROUTES",
    "StepAttention",
    "StepAttentionTap",
    "layer_kinds",
    "layer_summary",
    "step_attention",
    "tap_step_attention",
]
