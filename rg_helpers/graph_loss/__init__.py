"""Losses that see the reasoning graph: pure, differentiable functions of live step attention."""

from __future__ import annotations

from rg_helpers.graph_loss.graph_batch import GraphBatch, graph_batch
from rg_helpers.graph_loss.terms import TERMS, BoundTerm, GraphTerm, graph_term

__all__ = ["TERMS", "BoundTerm", "GraphBatch", "GraphTerm", "graph_batch", "graph_term"]
