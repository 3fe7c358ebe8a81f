"""Shortest paths and betweenness of many graphs at once, as products over stacked matrices.

Arrays are (graphs, nodes, nodes) and symmetric: the metrics that need these read the undirected
graph. Betweenness follows Brandes 2001, "A faster algorithm for betweenness centrality".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FAR = 2**29  # longer than any path; twice this still fits an int32
LENGTH_UNIT = 100
LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class HopPaths:
    """`hops` (inf where there is no path) and number of shortest `paths`, from row to column.

    Both float64 (graphs, nodes, nodes); `farthest` is the largest finite number of hops.
    """

    hops: np.ndarray
    paths: np.ndarray
    farthest: int


def lengths_of_weights(weights: np.ndarray) -> np.ndarray:
    """Return integer lengths 100 / weight, so that a strong edge is short; int64, same shape.

    Whole numbers, because with fractions two equally long paths can differ in the last bit, and
    which of them counts as shortest would depend on the order of addition. Weights below 0.001
    count as 0.001.
    """
    return np.rint(LENGTH_UNIT / np.maximum(np.float64(weights), LEAST_WEIGHT)).astype(np.int64)


def hop_paths(adjacency: np.ndarray) -> HopPaths:
    """Breadth-first search from every node of every graph: one matrix product a level.

    `adjacency` float64 (graphs, nodes, nodes) of 0 and 1, symmetric.
    """
    identity = np.broadcast_to(np.eye(adjacency.shape[-1]), adjacency.shape)
    frontier, paths = identity, identity.copy()
    unseen = 1 - identity
    hops = np.zeros_like(adjacency)
    level = 0
    while True:
        frontier = frontier @ adjacency
        frontier *= unseen
        reached = np.minimum(frontier, 1)
        if not reached.any():
            break
        unseen -= reached
        paths += frontier
        level += 1
        hops += np.multiply(reached, level, out=reached)
    hops[unseen > 0] = np.inf
    return HopPaths(hops, paths, level)


def hop_betweenness(found: HopPaths, adjacency: np.ndarray) -> np.ndarray:
    """Return how many shortest paths run through each node, summed over ordered pairs of ends.

    Brandes' dependencies, from the farthest level inwards: a node passes on to those just before
    it, in proportion to their paths, one plus what it received itself; all is kept divided by the
    number of paths. Float64 (graphs, nodes).
    """
    dependency = np.zeros_like(found.paths)
    inverse = 1 / np.maximum(found.paths, 1)
    passed = np.zeros_like(found.paths)
    for level in range(found.farthest, 1, -1):
        passed += np.where(found.hops == level, inverse, 0)
        passed = passed @ adjacency
        passed *= found.hops == level - 1
        dependency += passed
    return (dependency * found.paths).sum(1)


def weighted_betweenness(kept: np.ndarray) -> np.ndarray:
    """Return `hop_betweenness` with path lengths taken from weights, see `lengths_of_weights`.

    `kept` is (graphs, nodes, nodes), strictly lower-triangular. Floyd and Warshall's scheme, which
    also counts: when node k is admitted, every shortest path whose highest-numbered inner node is k
    is met exactly once. Then v lies between i and j if d(i, v) + d(v, j) = d(i, j).
    """
    graphs, nodes, _ = kept.shape
    lengths = np.where(kept > 0, lengths_of_weights(kept), FAR)
    # Graphs last: then every operation below runs over contiguous memory.
    lengths = np.ascontiguousarray(lengths.transpose(1, 2, 0), dtype=np.int32)
    distance = np.minimum(lengths, lengths.transpose(1, 0, 2))
    count = (distance < FAR).astype(np.float32)
    via, product = np.empty_like(distance), np.empty_like(count)
    mask = np.empty_like(distance)
    for k in range(nodes):
        np.add(distance[:, k, None], distance[None, k], out=via)
        np.multiply(count[:, k, None], count[None, k], out=product)
        np.subtract(distance, via, out=mask)  # above 0: a shorter path; 0: another as short
        np.minimum(distance, via, out=distance)
        _keep_where(product, np.invert(np.right_shift(mask, 31, out=via), out=via))
        mask -= 1
        _keep_where(count, np.right_shift(mask, 31, out=mask))
        count += product
    own = np.arange(nodes)
    distance[own, own] = FAR  # a round trip is no path, and no node lies between itself and another
    count[own, own] = 0
    inverse = np.divide(1, count, out=np.zeros_like(count), where=count > 0)
    between = np.empty((graphs, nodes))
    for v in range(nodes):
        np.add(distance[:, v, None], distance[None, v], out=via)
        via -= distance
        via -= 1
        np.right_shift(via, 31, out=mask)
        np.multiply(inverse, count[None, v], out=product)
        _keep_where(product, mask)
        between[:, v] = np.einsum("ijg,ig->g", product, count[:, v])
    return between


def _keep_where(values: np.ndarray, mask: np.ndarray) -> None:
    """Set float32 `values` to zero in place where the int32 `mask` is 0, keep them where it is -1.

    The sign bit of a difference, spread over the word, is the fastest mask NumPy offers: comparing
    to bool and multiplying converts every entry twice.
    """
    bits = values.view(np.int32)
    np.bitwise_and(bits, mask, out=bits)
