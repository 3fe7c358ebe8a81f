"""How often a model solves the problems, by family and by number of operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from rg_helpers.problems import FAMILIES, check_solution, generate_problems
from rg_helpers.problems.problem import Split
from rg_helpers.statistics import wilson_interval
from rg_helpers.traces import sample_traces


@dataclass(frozen=True)
class Difficulty:
    """The size of a problem; `joins=None` draws between 0 and half the operations."""

    operations: int
    distractors: int = 2
    joins: int | None = None

    def __str__(self) -> str:
        joins = "" if self.joins is None else f", {self.joins} joins"
        return f"{self.operations} operations{joins}, {self.distractors} distractors"


TRAINED: tuple[Difficulty, ...] = tuple(Difficulty(n) for n in range(2, 7))
EASY_OPERATIONS = (2, 3)
# Candidates for the end of a family's test range, measured by `rgh accuracy --choose` on validation
# problems. Operations stay within what the model was trained on; distractors and joins go beyond.
CANDIDATES: tuple[Difficulty, ...] = (
    *TRAINED[2:],
    *(Difficulty(6, distractors) for distractors in (4, 5, 6, 8)),
    *(Difficulty(6, distractors, joins=3) for distractors in (4, 6, 10, 14)),
)
WANTED_SOLVED = 0.55  # the middle of 0.3 to 0.8, where right and wrong solutions are both frequent
HARDEST: dict[str, Difficulty] = {  # what that rule chose for the shipped model
    "arithmetic": Difficulty(6, 14, joins=3),
    "deduction": Difficulty(6, 4, joins=3),
    "program": Difficulty(6, 6),
}


def test_range(family: str) -> tuple[Difficulty, ...]:
    """Return the sizes of a family's test range, from easy to its hardest.

    It holds the operations that the course model was trained on, and ends where right and wrong
    solutions are both frequent: beyond, there is too little right to compare errors with.
    """
    last = HARDEST[family]
    sizes = tuple(size for size in TRAINED if size.operations <= last.operations)
    return sizes if last in sizes else (*sizes, last)


def choose_hardest(rows: Sequence[Mapping[str, Any]]) -> Difficulty:
    """Return the candidate that is solved nearest to `WANTED_SOLVED` of the time.

    `rows` are those of `measure_accuracy` for one family and `CANDIDATES`, on validation problems.
    """
    distances = [abs(row["solved"]["value"] - WANTED_SOLVED) for row in rows]
    nearest = min(zip(distances, CANDIDATES, strict=True), key=lambda pair: pair[0])
    return nearest[1]


def measure_accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    families: Sequence[str] = FAMILIES,
    difficulties: Sequence[Difficulty] | None = None,
    problems: int = 500,
    split: Split = "test",
    seed: int = 0,
    batch_size: int = 125,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Return one row a family and difficulty: greedy solutions judged by the checker.

    Without `difficulties` each family is measured at every trained size and at its hardest.
    `solved` counts solutions whose every step and answer are right, `answer_right` those whose
    answer is; both come as shares with 95 % Wilson intervals over `problems` different problems.
    `first_errors` counts the verdicts of the first wrong steps.
    """
    cells = []
    for family in families:
        sizes = dict.fromkeys(difficulties or (*TRAINED, HARDEST[family]))
        cells += [(family, size) for size in sizes]
    rows = []
    for family, size in tqdm(cells, desc="accuracy", disable=None if progress else True):
        drawn = generate_problems(
            family,
            problems,
            split,
            seed,
            operations=(size.operations, size.operations),
            distractors=(size.distractors, size.distractors),
            joins=size.joins,
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
                **asdict(size),
                "n": len(drawn),
                "solved": _share(sum(c.all_right for c in checked), len(drawn)),
                "answer_right": _share(sum(c.answer_right for c in checked), len(drawn)),
                "truncated": sum(c.truncated for c in checked),
                "first_errors": dict(errors.most_common()),
            }
        )
    return rows


def pool_rows(
    rows: Sequence[Mapping[str, Any]], family: str, difficulties: Sequence[Difficulty]
) -> dict[str, Any]:
    """Return the share solved over several difficulties of one family, with its interval."""
    wanted = [asdict(size) for size in difficulties]
    chosen = [
        row
        for row in rows
        if row["family"] == family and {name: row[name] for name in wanted[0]} in wanted
    ]
    if not chosen:
        raise ValueError(f"no row of {family} has one of the difficulties {tuple(difficulties)}")
    solved = sum(round(row["solved"]["value"] * row["n"]) for row in chosen)
    return _share(solved, sum(row["n"] for row in chosen))


def _share(successes: int, trials: int) -> dict[str, Any]:
    interval = wilson_interval(successes, trials)
    return {"value": successes / trials, "low": interval.low, "high": interval.high, "n": trials}
