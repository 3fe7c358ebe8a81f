"""Eigenvector, Katz and PageRank centrality and core numbers of many graphs at once.

Every array is float64, (graphs, nodes) or (graphs, nodes, nodes); padding nodes have no edges.
"""

from __future__ import annotations

import numpy as np

SQUARINGS = 24
CONVERGED = 1e-12
DAMPING = 0.85


def eigenvector_centrality(adjacency: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return the leading eigenvector on the `members` of one connected component, 0 elsewhere.

    Length one, not negative (Perron and Frobenius). (A + I)^(2^s) is applied to the indicator of
    the members, squaring until A x = lambda x holds; graphs whose two leading eigenvalues are too
    close for that are handed to LAPACK. A component of one node has no eigenvector to speak of: 0.
    """
    adjacency = adjacency * members[:, :, None]
    power = adjacency + np.eye(adjacency.shape[-1])
    start = members.astype(np.float64)[:, :, None]
    vector = start
    pending = np.ones(len(adjacency), dtype=bool)
    for squaring in range(SQUARINGS):
        power = power @ power
        power /= power.max((1, 2), keepdims=True)
        if squaring < 5:
            continue
        vector = power @ start
        vector /= np.linalg.norm(vector, axis=1, keepdims=True)
        pending = _residual(adjacency, vector) > CONVERGED
        if not pending.any():
            break
    vector = vector[:, :, 0]
    for graph in np.flatnonzero(pending):
        inside = np.flatnonzero(members[graph])
        _, vectors = np.linalg.eigh(adjacency[graph][np.ix_(inside, inside)])
        vector[graph, inside] = np.abs(vectors[:, -1])
    return np.where(members.sum(1, keepdims=True) > 1, vector, 0)


def _residual(adjacency: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return the largest entry of |A x - (x'Ax) x| for unit vectors x (graphs, nodes, 1)."""
    image = adjacency @ vector
    value = (vector * image).sum(1, keepdims=True)
    return np.abs(image - value * vector).max((1, 2))


def katz_attenuation(max_degree: np.ndarray | int) -> np.ndarray:
    """Return the attenuation of Katz centrality: 0.1, or less where 0.1 would diverge.

    The series converges below one over the leading eigenvalue, which never exceeds the largest
    degree; a graph with a hub therefore gets 1 / (max_degree + 1).
    """
    return np.minimum(0.1, 1 / (np.asarray(max_degree) + 1))


def katz_centrality(adjacency: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return Katz centrality (Katz 1953), length one over the nodes present."""
    attenuation = katz_attenuation(adjacency.sum(2).max(1))[:, None, None]
    system = np.eye(adjacency.shape[-1]) - attenuation * adjacency
    values = np.linalg.solve(system, present.astype(np.float64)[:, :, None])[:, :, 0] * present
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def pagerank(kept: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return PageRank (Brin & Page 1998) of the weighted graph, damping 0.85, summing to one.

    The surfer follows edges source -> target by weight and jumps anywhere from a node without
    users. Both jumps are uniform, so the result is x = (I - d T)^-1 1, scaled; T is strictly
    lower-triangular, so one pass from the first node to the last solves it.
    """
    kept = kept.astype(np.float64)
    given = kept.sum(1, keepdims=True)
    transition = DAMPING * np.divide(kept, given, out=np.zeros_like(kept), where=given > 0)
    rank = present.astype(np.float64)
    for node in range(1, kept.shape[-1]):
        rank[:, node] += (transition[:, node, :node] * rank[:, :node]).sum(1)
    return rank / rank.sum(1, keepdims=True)


def core_numbers(adjacency: np.ndarray) -> np.ndarray:
    """Return each node's core number (Seidman 1983) by peeling all graphs at once.

    At level k every node with fewer than k neighbours left goes, and k rises where none does.
    """
    left = np.ones(adjacency.shape[:2], dtype=bool)
    cores = np.zeros(adjacency.shape[:2])
    level = np.ones((len(adjacency), 1))
    degree = adjacency.sum(2)
    while left.any():
        leaving = left & (degree < level)
        np.copyto(cores, level - 1, where=leaving)
        left &= ~leaving
        degree -= (adjacency @ leaving[:, :, None].astype(np.float64))[:, :, 0]
        level += ~leaving.any(1, keepdims=True)
    return cores
