"""Weisfeiler-Lehman histograms: which neighbourhoods a graph is made of, as a fixed-width vector.

Shervashidze et al. 2011, "Weisfeiler-Lehman graph kernels". Every node starts with its kind as
label; in every round its new label is made of its own, those of its sources and those of its users,
so that after r rounds equal labels mean equal surroundings up to distance r. The histogram of all
labels of all rounds, hashed to `WIDTH` buckets, is the embedding: dot products of such vectors
approximate the kernel. Which steps depend on which is read, how strongly is not.

Labels are 64-bit integers mixed by splitmix64 (Steele, Lea & Flood 2014) and added up over
neighbours, which forgets their order and nothing else. Python's own `hash` would give other buckets
in every process.
"""

from __future__ import annotations

import numpy as np

from rg_helpers.features.feature import feature_table
from rg_helpers.features.stacks import GraphStack

WIDTH = 64
ROUNDS = 3
_SOURCES, _USERS = np.uint64(0x51ED270B7F4A7C15), np.uint64(0x2545F4914F6CDD1D)

WEISFEILER_LEHMAN_FEATURES = feature_table(
    "weisfeiler_lehman",
    [
        (
            f"wl_{bucket:02d}",
            f"share of neighbourhoods hashed to bucket {bucket} of {WIDTH}",
            "directed",
            "Shervashidze et al. 2011",
        )
        for bucket in range(WIDTH)
    ],
)


def weisfeiler_lehman_labels(stack: GraphStack, rounds: int = ROUNDS) -> np.ndarray:
    """Return uint64 (graphs, rounds + 1, nodes): every node's label after each round, from round 0.

    Two nodes, also of different graphs, have equal labels if and only if refinement cannot tell
    their surroundings apart (up to collisions of 64-bit hashes).
    """
    labels = _mix((stack.kinds + 2).astype(np.uint64))
    history = [labels]
    users = stack.edges.transpose(0, 2, 1)
    for _ in range(rounds):
        from_sources = _gather(stack.edges, _mix(labels ^ _SOURCES))
        from_users = _gather(users, _mix(labels ^ _USERS))
        labels = _mix(_mix(labels) + _mix(from_sources ^ _SOURCES) * np.uint64(3) + from_users)
        history.append(labels)
    return np.stack(history, axis=1)


def weisfeiler_lehman(
    stack: GraphStack, width: int = WIDTH, rounds: int = ROUNDS
) -> dict[str, np.ndarray]:
    """Return the hashed histogram, float64 (graphs,) a bucket; a graph's buckets sum to one."""
    buckets = weisfeiler_lehman_labels(stack, rounds) % np.uint64(width)
    counts = np.stack(
        [((buckets == bucket) & stack.present[:, None]).sum((1, 2)) for bucket in range(width)]
    )
    shares = counts / (stack.sizes * (rounds + 1))
    return {f"wl_{bucket:02d}": shares[bucket] for bucket in range(width)}


def _gather(edges: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Add up the neighbours' values modulo 2^64: a hash of the multiset of their labels."""
    return np.where(edges, values[:, None, :], np.uint64(0)).sum(2, dtype=np.uint64)


def _mix(values: np.ndarray) -> np.ndarray:
    """Return splitmix64 of every entry; arithmetic is modulo 2^64."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
