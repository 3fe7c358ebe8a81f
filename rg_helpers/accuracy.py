"""How often a model solves the problems, by family and by number of operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from rg_helpers.problems import check_solution, generate_problems
from rg_helpers.problems.problem import Split
from rg_helpers.statistics import wilson_interval
from rg_helpers.traces import sample_traces

# The number of operations of the test range, per family; chosen on validation problems so that
# the hardest cell is neither hopeless nor solved. The last one is the hardest.
TEST_OPERATIONS: Mapping[str, tuple[int, ...]] = {
    "arithmetic": (2, 3, 4, 5, 6, 7, 8),
    "deduction": (2, 3, 4, 5, 6, 7, 8),
    "program": (2, 3, 4, 5, 6, 7, 8),
}
EASY_OPERATIONS = (2, 3)
TEST_DISTRACTORS = 2


def measure_accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    operations: Mapping[str, Sequence[int]] = TEST_OPERATIONS,
    problems: int = 500,
    split: Split = "test",
    seed: int = 0,
    batch_size: int = 125,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Return one row a family and number of operations: greedy solutions judged by the checker.

    `solved` counts solutions whose every step and answer are right, `answer_right` those whose
    answer is; both come as shares with 95 % Wilson intervals over `problems` different problems.
    `first_errors` counts the verdicts of the first wrong steps.
    """
    cells = [(family, number) for family in operations for number in operations[family]]
    rows = []
    for family, number in tqdm(cells, desc="accuracy", disable=None if progress else True):
        drawn = generate_problems(
            family,
            problems,
            split,
            seed,
            operations=(number, number),
            distractors=(TEST_DISTRACTORS, TEST_DISTRACTORS),
        )
        traces = sample_traces(
            model, tokenizer, drawn, batch_size=batch_size, seed=seed, progress=False
        )
        checked = [check_solution(p, t.solution) for p, t in zip(drawn, traces)]
        errors = Counter(
            c.steps[c.first_wrong_step].verdict for c in checked if c.first_wrong_step is not None
        )
        rows.append(
            {
                "family": family,
                "operations": number,
                "distractors": TEST_DISTRACTORS,
                "n": len(drawn),
                "solved": _share(sum(c.all_right for c in checked), len(drawn)),
                "answer_right": _share(sum(c.answer_right for c in checked), len(drawn)),
                "truncated": sum(c.truncated for c in checked),
                "first_errors": dict(errors.most_common()),
            }
        )
    return rows


def pool_rows(rows: Sequence[Mapping[str, Any]], family: str, operations: Sequence[int]) -> dict:
    """Return the share solved over several cells of one family, with its interval."""
    chosen = [r for r in rows if r["family"] == family and r["operations"] in operations]
    if not chosen:
        raise ValueError(f"no row of {family} with operations {tuple(operations)} to pool")
    solved = sum(round(r["solved"]["value"] * r["n"]) for r in chosen)
    return _share(solved, sum(r["n"] for r in chosen))


def _share(successes: int, trials: int) -> dict[str, Any]:
    interval = wilson_interval(successes, trials)
    return {"value": successes / trials, "low": interval.low, "high": interval.high, "n": trials}
