"""The skeleton all families share: a random tree of quantities, plus distractors.

The relevant quantities form a tree (each is used once) whose root is asked for, the structure of
iGSM (Ye et al. 2024, arXiv 2407.20311) without re-use; distractors hang off any quantity.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class TreeNode:
    """A quantity before it has words: its index, what it is computed from, whether it counts."""

    index: int
    sources: tuple[int, ...]
    relevant: bool


def sample_tree(
    rng: random.Random, operations: int, joins: int, distractors: int
) -> list[TreeNode]:
    """Sample a tree with `operations` computed quantities, `joins` of them with two sources.

    Node 0 is the root, the quantity asked for. Every source has a larger index than the node it
    feeds, except for distractors, which come last and may read any quantity. Raises `ValueError`
    for impossible sizes.
    """
    if operations < 1 or distractors < 0 or not 0 <= joins <= operations:
        raise ValueError(
            f"operations={operations}, joins={joins}, distractors={distractors} is impossible: "
            "give operations >= 1, 0 <= joins <= operations and distractors >= 0"
        )
    two_sources = [True] * joins + [False] * (operations - joins)
    rng.shuffle(two_sources)
    sources: dict[int, tuple[int, ...]] = {}
    open_nodes, count = [0], 1
    for is_join in two_sources:
        node = open_nodes.pop(rng.randrange(len(open_nodes)))
        children = tuple(range(count, count + (2 if is_join else 1)))
        count += len(children)
        sources[node] = children
        open_nodes.extend(children)
    tree = [TreeNode(i, sources.get(i, ()), True) for i in range(count)]
    for i in range(count, count + distractors):
        reads = (rng.randrange(i),) if rng.random() < 0.6 else ()
        tree.append(TreeNode(i, reads, False))
    return tree


def backward_order(tree: list[TreeNode]) -> list[tuple[int, int | None]]:
    """Return (node, node that asks for it) breadth first from the root, as the plan is written."""
    order: list[tuple[int, int | None]] = [(0, None)]
    for node, _ in order:
        order.extend((source, node) for source in tree[node].sources)
    return order


def forward_order(rng: random.Random, tree: list[TreeNode]) -> list[int]:
    """Return a random order of all nodes in which sources stand before what they feed."""
    waiting = {node.index: set(node.sources) for node in tree}
    order: list[int] = []
    while waiting:
        ready = [index for index, needs in waiting.items() if not needs]
        chosen = rng.choice(ready)
        del waiting[chosen]
        for needs in waiting.values():
            needs.discard(chosen)
        order.append(chosen)
    return order


def tree_depth(tree: list[TreeNode]) -> int:
    """Return the number of operations on the longest path from a given quantity to the root."""
    depth: dict[int, int] = {}
    for node, _ in reversed(backward_order(tree)):
        depth[node] = max((depth[s] + 1 for s in tree[node].sources), default=0)
    return depth[0]
