"""Base accuracy: sizes of the test range, the choice of the hardest, rows of a tiny model."""

from __future__ import annotations

import pytest

from rg_helpers.accuracy import (
    CANDIDATES,
    EASY_OPERATIONS,
    HARDEST,
    TRAINED,
    WANTED_SOLVED,
    Difficulty,
    choose_hardest,
    measure_accuracy,
    pool_rows,
)
from rg_helpers.accuracy import test_range as sizes_of_test_range
from rg_helpers.artefacts import read_json
from rg_helpers.course.folders import results_folder
from rg_helpers.language_model import new_course_model
from rg_helpers.problems import FAMILIES
from rg_helpers.tokenizer import build_tokenizer


def rows_with(shares: list[float]) -> list[dict]:
    return [{"solved": {"value": share}} for share in shares]


def test_the_hardest_is_solved_nearest_to_the_middle():
    count = len(CANDIDATES)
    shares = [1.0] * count
    shares[3], shares[5] = WANTED_SOLVED + 0.1, WANTED_SOLVED - 0.2
    assert choose_hardest(rows_with(shares)) == CANDIDATES[3]
    shares[7] = WANTED_SOLVED - 0.05
    assert choose_hardest(rows_with(shares)) == CANDIDATES[7], "below counts as above does"
    assert choose_hardest(rows_with([0.0] * count)) == CANDIDATES[0], "the first of equals"
    with pytest.raises(ValueError, match="zip"):
        choose_hardest(rows_with([0.5]))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_hardest_are_those_that_the_rule_chose(family):
    kept = read_json(results_folder() / "hardest_choice.json")
    rows = [row for row in kept["rows"] if row["family"] == family]
    assert choose_hardest(rows) == Difficulty(**kept["chosen"][family]) == HARDEST[family]


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
