"""The skeleton of every problem: a tree of the size asked for, in orders that can be computed."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rg_helpers.problems.dependency_tree import (
    TreeNode,
    backward_order,
    forward_order,
    sample_tree,
    tree_depth,
)

randoms = st.integers(0, 10**9).map(random.Random)


@st.composite
def trees(draw) -> list[TreeNode]:
    operations = draw(st.integers(1, 12))
    joins = draw(st.integers(0, operations))
    return sample_tree(draw(randoms), operations, joins, draw(st.integers(0, 6)))


@settings(max_examples=500, deadline=None)
@given(randoms, st.integers(1, 12), st.data())
def test_sizes_are_those_asked_for(rng, operations, data):
    joins = data.draw(st.integers(0, operations))
    distractors = data.draw(st.integers(0, 6))
    tree = sample_tree(rng, operations, joins, distractors)
    relevant = [node for node in tree if node.relevant]
    assert [node.index for node in tree] == list(range(len(tree)))
    assert Counter(len(n.sources) for n in relevant if n.sources) == Counter(
        {2: joins, 1: operations - joins}
    )
    assert len(relevant) == 1 + operations + joins, "every source is a new quantity"
    assert len(tree) - len(relevant) == distractors


@settings(max_examples=500, deadline=None)
@given(trees())
def test_relevant_nodes_form_one_tree_and_distractors_feed_no_relevant_node(tree):
    uses = Counter(s for node in tree if node.relevant for s in node.sources)
    assert uses == Counter(n.index for n in tree if n.relevant and n.index != 0)
    for node in tree:
        assert all(s > node.index for s in node.sources) or not node.relevant
        assert all(s < node.index for s in node.sources) or node.relevant


@settings(max_examples=500, deadline=None)
@given(trees(), randoms)
def test_orders(tree, rng):
    forward = forward_order(rng, tree)
    assert sorted(forward) == list(range(len(tree)))
    for node in tree:
        for source in node.sources:
            assert forward.index(source) < forward.index(node.index)
    backward = backward_order(tree)
    asked = [node for node, _ in backward]
    assert sorted(asked) == [n.index for n in tree if n.relevant]
    assert backward[0] == (0, None)
    for node, asker in backward[1:]:
        assert node in tree[asker].sources
        assert asked.index(asker) < asked.index(node)
    asker_places = [asked.index(asker) for _, asker in backward[1:]]
    assert asker_places == sorted(asker_places), "breadth first"


@settings(max_examples=500, deadline=None)
@given(trees())
def test_depth_equals_the_recursive_definition(tree):
    def depth(index: int) -> int:
        sources = tree[index].sources
        return 1 + max(map(depth, sources)) if sources else 0

    assert tree_depth(tree) == depth(0)


def test_by_hand():
    tree = [
        TreeNode(0, (1, 2), True),
        TreeNode(1, (3,), True),
        TreeNode(2, (), True),
        TreeNode(3, (), True),
        TreeNode(4, (0,), False),
    ]
    assert backward_order(tree) == [(0, None), (1, 0), (2, 0), (3, 1)]
    assert tree_depth(tree) == 2


@pytest.mark.parametrize(
    ("operations", "joins", "distractors"),
    [(0, 0, 0), (-1, 0, 0), (2, 3, 0), (2, -1, 0), (2, 0, -1)],
)
def test_impossible_sizes_are_refused(operations, joins, distractors):
    with pytest.raises(ValueError, match=f"operations={operations}.*give operations >= 1"):
        sample_tree(random.Random(0), operations, joins, distractors)


def test_every_shape_of_three_operations_occurs():
    rng = random.Random(1)
    shapes = Counter(tuple(len(n.sources) for n in sample_tree(rng, 3, 1, 0)) for _ in range(400))
    # The join stands first, second or third; below a join either branch may go on.
    assert len(shapes) >= 5
    assert min(shapes.values()) > 10
