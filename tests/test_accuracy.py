"""Base accuracy: sizes of the test range, the choice of the hardest, rows of a tiny model."""

from __future__ import annotations

import pytest

from rg_helpers.accuracy import (
    CANDIDATES,
    EASY_OPERATIONS,
    HARDEST,
    LEAST_SOLVED,
    TRAINED,
    Difficulty,
    choose_hardest,
    measure_accuracy,
    pool_rows,
)
from rg_helpers.accuracy import test_range as sizes_of_test_range
from rg_helpers.language_model import new_course_model
from rg_helpers.problems import FAMILIES
from rg_helpers.tokenizer import build_tokenizer


def rows_with(shares: list[float]) -> list[dict]:
    return [{"solved": {"value": share}} for share in shares]


def test_the_hardest_is_the_last_solved_often_enough():
    high, low = LEAST_SOLVED, LEAST_SOLVED - 0.01
    count = len(CANDIDATES)
    assert choose_hardest(rows_with([high] * count)) == CANDIDATES[-1]
    assert choose_hardest(rows_with([high] * 3 + [low] * (count - 3))) == CANDIDATES[2]
    assert choose_hardest(rows_with([low] * count)) == CANDIDATES[0]
    gap = [high, low] + [high] * (count - 2)
    assert choose_hardest(rows_with(gap)) == CANDIDATES[0], "the walk ends at the first gap"
    with pytest.raises(ValueError, match="zip"):
        choose_hardest(rows_with([high]))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_test_range_grows_to_the_hardest_inside_what_was_trained(family):
    sizes = sizes_of_test_range(family)
    assert sizes[-1] == HARDEST[family]
    assert {Difficulty(n) for n in EASY_OPERATIONS} <= set(sizes)
    assert len(set(sizes)) == len(sizes)
    assert all(size.operations <= TRAINED[-1].operations for size in sizes)
    operations = [size.operations for size in sizes]
    assert operations == sorted(operations)


def test_rows_name_their_cell_and_count_problems():
    tokenizer, model = build_tokenizer(), new_course_model(hidden_size=32, layers=1, heads=2)
    sizes = (Difficulty(1, 0), Difficulty(1, 1, joins=1))
    rows = measure_accuracy(model.eval(), tokenizer, ("program",), sizes, 3, progress=False)
    assert [(r["operations"], r["distractors"], r["joins"]) for r in rows] == [
        (1, 0, None),
        (1, 1, 1),
    ]
    for row in rows:
        assert row["n"] == 3
        assert row["solved"]["low"] <= row["solved"]["value"] <= row["solved"]["high"]
    pooled = pool_rows(rows, "program", sizes)
    assert pooled["n"] == 6
    with pytest.raises(ValueError, match="no row of deduction"):
        pool_rows(rows, "deduction", sizes)
