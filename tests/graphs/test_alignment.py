"""Alignment by dynamic programming against all alignments there are, enumerated."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from rg_helpers.graphs.alignment import (
    align,
    align_similarities,
    align_traces,
    alignment_table,
    cosine_similarities,
)

RNG = np.random.default_rng(5)


def best_by_enumeration(similarities: np.ndarray, gap: float) -> float:
    """Try every way of pairing k steps with k references in order."""
    n, m = similarities.shape
    best = -gap * (n + m)
    for k in range(1, min(n, m) + 1):
        for rows in combinations(range(n), k):
            for columns in combinations(range(m), k):
                total = similarities[list(rows), list(columns)].sum() - gap * (n + m - 2 * k)
                best = max(best, total)
    return best


@pytest.mark.parametrize("gap", [0.0, 0.1, 0.7, 3.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (3, 5), (5, 4), (5, 5)])
def test_no_alignment_is_better(shape, gap):
    for _ in range(6):
        similarities = RNG.uniform(-1, 1, shape)
        found = align_similarities(similarities, gap)
        assert found.total == pytest.approx(best_by_enumeration(similarities, gap), abs=1e-9)
        unpaired = sum(shape) - 2 * len(found.pairs)
        reached = sum(similarities[pair] for pair in found.pairs) - gap * unpaired
        assert reached == pytest.approx(found.total, abs=1e-9), "the pairs do not reach the total"
        rows, columns = [p[0] for p in found.pairs], [p[1] for p in found.pairs]
        assert rows == sorted(set(rows)), "order is kept"
        assert columns == sorted(set(columns)), "order is kept"


def test_a_batch_of_tables_equals_the_loop_over_cells():
    similarities = RNG.uniform(-1, 1, (3, 2, 6, 7))
    tables = alignment_table(similarities, 0.3)
    assert tables.shape == (3, 2, 7, 8)
    naive = np.zeros((7, 8))
    naive[:, 0], naive[0] = -0.3 * np.arange(7), -0.3 * np.arange(8)
    for i in range(1, 7):
        for j in range(1, 8):
            pair = naive[i - 1, j - 1] + similarities[2, 1, i - 1, j - 1]
            naive[i, j] = max(pair, naive[i - 1, j] - 0.3, naive[i, j - 1] - 0.3)
    assert np.abs(tables[2, 1] - naive).max() < 1e-12


def test_a_copy_scores_one_and_a_shortened_copy_less():
    reference = RNG.normal(size=(6, 8))
    same = align(reference, reference)
    assert same.pairs == tuple((i, i) for i in range(6))
    assert same.score == pytest.approx(1)
    assert same.coverage == 1
    short = align(reference[[1, 4]], reference, gap=0.2)
    assert short.pairs == ((0, 1), (1, 4))
    assert short.similarity == pytest.approx(1), "over pairs alone nothing seems to be missing"
    assert short.score == pytest.approx((2 - 4 * 0.2) / 6)
    assert short.coverage == pytest.approx(2 / 6)


def test_order_matters():
    reference = np.eye(4)
    assert align(reference[::-1], reference).score == pytest.approx(1 / 4)


def test_scale_of_embeddings_does_not_matter_and_zero_rows_are_similar_to_nothing():
    one, other = RNG.normal(size=(4, 3)), RNG.normal(size=(5, 3))
    other[2] = 0
    found = cosine_similarities(one * np.array([[1], [10], [0.1], [5]]), other)
    assert np.abs(found - cosine_similarities(one, other)).max() < 1e-12
    assert not found[:, 2].any()
    expected = one[1] @ other[3] / np.linalg.norm(one[1]) / np.linalg.norm(other[3])
    assert found[1, 3] == pytest.approx(expected)


def test_impossible_input_is_refused():
    with pytest.raises(ValueError, match="same width"):
        align(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="at least one step"):
        align(np.ones((0, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="does not pay"):
        align(np.ones((2, 3)), np.ones((2, 3)), gap=-1)
    with pytest.raises(ValueError, match="finite"):
        align_similarities(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="give one each"):
        align_traces([np.ones((2, 3))], [])
