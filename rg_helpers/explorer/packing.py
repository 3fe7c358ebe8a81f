"""Weights of a graph as short text: lower triangles, 16 bits an edge, base64."""

from __future__ import annotations

import base64

import numpy as np

LEVELS = 65535  # a weight of 1; what rounds to less than half a level is sent as no edge


def pack_weights(weights: np.ndarray) -> str:
    """Return the entries below the diagonal of (..., nodes, nodes) as base64 text.

    Row after row (target 1 with source 0, target 2 with sources 0 and 1, ...), matrix after
    matrix, little-endian unsigned 16-bit numbers in units of 1 / LEVELS. Raises `ValueError` for
    weights that are no square matrices or lie outside 0 to 1.
    """
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim < 2 or weights.shape[-1] != weights.shape[-2]:
        raise ValueError(f"weights {weights.shape}: expected (..., nodes, nodes)")
    if not np.isfinite(weights).all() or (weights < 0).any() or (weights > 1 + 1e-3).any():
        raise ValueError(
            "weights must be shares from 0 to 1: pass raw scores through normalise_rows first"
        )
    below = np.tril_indices(weights.shape[-1], -1)
    levels = np.rint(np.minimum(weights[..., below[0], below[1]], 1) * LEVELS)
    return base64.b64encode(levels.astype("<u2").tobytes()).decode("ascii")


def unpack_weights(text: str, nodes: int, *shape: int) -> np.ndarray:
    """Return the float32 (*shape, nodes, nodes) that `pack_weights` wrote.

    Raises `ValueError` where the text holds another number of entries.
    """
    levels = np.frombuffer(base64.b64decode(text), dtype="<u2")
    below = np.tril_indices(nodes, -1)
    expected = int(np.prod(shape, dtype=np.int64)) * len(below[0])
    if levels.size != expected:
        raise ValueError(
            f"the packed weights hold {levels.size} entries, {nodes} nodes and parts {shape} need "
            f"{expected}: the data was written for another text"
        )
    weights = np.zeros((*shape, nodes, nodes), dtype=np.float32)
    weights[..., below[0], below[1]] = levels.reshape(*shape, -1) / np.float32(LEVELS)
    return weights
