"""How large the experiment is: what one unit does (`Recipe`), and which units there are (`Plan`).

Everything in the recipe is part of a unit's key, nothing of the plan is: a pilot of two arms and
two seeds leaves units behind that the full sweep uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rg_helpers.experiment.arms import ARMS, find_arm
from rg_helpers.problems import FAMILIES

TUNING_SEED = 10_000  # its training problems belong to no measured seed


@dataclass(frozen=True)
class Cell:
    """Test problems of one difficulty; of the trained family, or of the `others`."""

    name: str
    operations: int
    distractors: int
    problems: int
    of: Literal["trained", "others"] = "trained"


@dataclass(frozen=True)
class Recipe:
    """What one unit does, apart from its arm, family, number of problems and seed.

    Training: `steps` optimiser steps of `batch_size` solutions of problems with `operations` and
    `distractors` (ranges, ends included); steps are the same for every number of problems. The
    base model was trained on at most six operations, so that all of this is new to it, and no
    easy problem is trained on: what is forgotten shows.
    Terms: `heads` heads are supervised, those best aligned on the unit's own training problems
    before training, in `layers` or anywhere; `form` and `sink` as in `graph_loss.alignment`.
    `targets`: a step is aligned to what it follows from itself ("own"), or to what the step after
    it follows from ("next"). Terms act in the steps from `start_share` to `stop_share` of the run.
    Tests: `hardest` problems of the hardest trained difficulty, `other` of each other cell,
    `transfer` of each untrained family, `tuning` validation problems; graphs are held against gold
    on `graphs` solutions, interventions on the first `interventions` of them.
    No solution is longer than `longest` tokens, or than the model allows (None).
    Own solutions: `samples` at `temperature`; the error predictor is fitted on `fit_samples`
    solutions of each of `fit_problems` other training problems with `fit_operations`.
    """

    steps: int = 60
    batch_size: int = 8
    operations: tuple[int, int] = (7, 8)
    distractors: tuple[int, int] = (2, 4)
    heads: int = 2
    layers: tuple[int, ...] | None = None
    targets: str = "own"
    form: str = "log_mass"
    sink: str = "drop"
    start_share: float = 0.0
    stop_share: float = 1.0
    hardest: int = 100
    other: int = 20
    transfer: int = 12
    tuning: int = 60
    graphs: int = 20
    interventions: int = 4
    samples: int = 4
    temperature: float = 0.7
    fit_problems: int = 60
    fit_samples: int = 2
    fit_operations: tuple[int, int] = (4, 8)
    longest: int | None = 384
    bf16: bool = False

    def __post_init__(self) -> None:
        counts = ("steps", "batch_size", "heads", "hardest", "other", "transfer", "tuning",
                  "graphs", "samples", "fit_problems", "fit_samples")  # fmt: skip
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least 1")
        if min(self.hardest, self.other, self.transfer, self.tuning, self.graphs) < 2:
            raise ValueError("every cell needs at least 2 problems, or nothing is known of spread")
        if self.targets not in ("own", "next"):
            raise ValueError(f"targets={self.targets!r}: expected 'own' or 'next'")
        if not 0 <= self.interventions <= self.graphs:
            raise ValueError(
                f"interventions={self.interventions}: expected 0 to graphs={self.graphs}"
            )
        if not 0 <= self.start_share < self.stop_share <= 1:
            raise ValueError(
                f"terms act from {self.start_share} to {self.stop_share} of the run: expected "
                "0 <= start_share < stop_share <= 1"
            )

    def cells(self) -> tuple[Cell, ...]:
        """Return the test cells: in distribution, longer and more distracted, easy, transfer."""
        most, clutter = self.operations[1], self.distractors[1]
        least = self.operations[0]
        middle = sum(self.distractors) // 2
        cells = [
            Cell("hardest", most, clutter, self.hardest),
            Cell("longer", most + 2, clutter, self.other),
            Cell("distracted", most, 2 * clutter, self.other),
            Cell("easy", min(3, most), 2, self.other),
            Cell("transfer", most, clutter, self.transfer, "others"),
        ]
        if least < most:
            cells.insert(1, Cell("trained", least, middle, self.other))
        return tuple(cells)


@dataclass(frozen=True)
class Plan:
    """Which units there are: arms x seeds at the main size, `ladder_arms` x seeds at all sizes.

    sizes: numbers of training problems, a geometric ladder; `main_size` is one of them. seeds: of
    training problems and of their order; the test problems are the same for all. tries: settings
    tried on validation problems for every tuned arm; with one it is taken untried. draws: of the
    bootstrap for data ratios.
    """

    families: tuple[str, ...] = FAMILIES
    arms: tuple[str, ...] = tuple(name for name in ARMS if name != "alignment_random_heads")
    ladder_arms: tuple[str, ...] = (
        "ce_equal_time", "alignment", "alignment_shuffled", "combination",
    )  # fmt: skip
    sizes: tuple[int, ...] = (16, 64, 256)
    main_size: int = 64
    seeds: int = 5
    tries: int = 3
    draws: int = 4000

    def __post_init__(self) -> None:
        for name in (*self.arms, *self.ladder_arms):
            find_arm(name)
        unknown = [family for family in self.families if family not in FAMILIES]
        if unknown or not self.families:
            raise ValueError(f"families {unknown or 'empty'}: choose among {', '.join(FAMILIES)}")
        if self.main_size not in self.sizes or min(self.sizes) < 8:
            raise ValueError(
                f"sizes {self.sizes}, main size {self.main_size}: the main size is one of the "
                "sizes, and none is below 8 (a disorder target needs 8 right solutions)"
            )
        if self.seeds < 1 or not 1 <= self.tries <= 3:
            raise ValueError(f"seeds={self.seeds}, tries={self.tries}: expected seeds >= 1, 1 to 3")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)

    def measured(self) -> list[tuple[str, int, int]]:
        """Return (arm, size, seed) of everything that is measured, the references first.

        Arms that train nothing have size 0; without samples they have one seed.
        """
        found: list[tuple[str, int, int]] = []
        for seed in range(self.seeds):
            for name in self.arms:
                arm = ARMS[name]
                if not arm.trains:
                    if arm.reranks or seed == 0:
                        found.append((name, 0, seed))
                    continue
                ladder = name in self.ladder_arms
                found += [(name, n, seed) for n in self.sizes if ladder or n == self.main_size]
        return found


def main_size(sizes: Sequence[int]) -> int:
    """Return the middle of a ladder, the lower one of two: where data are scarce but not gone."""
    ordered = sorted(sizes)
    return ordered[(len(ordered) - 1) // 2]
