"""Variants of the alignment term, tried on validation problems before anything is concluded.

One change at a time from the term that the experiment runs: its strength, how many heads and in
which layer, the form of the loss, what counts as missing the parents, when in training it acts,
and whether a step is aligned to its own parents or to those of the step after it. Training problems
belong to no measured seed and the problems asked are validation problems, so that looking here
costs the experiment nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rg_helpers.experiment.arms import LEARNING_RATES
from rg_helpers.experiment.crossed import crossed_mean, crossed_share
from rg_helpers.experiment.plan import TUNING_SEED
from rg_helpers.experiment.unit import Unit
from rg_helpers.experiment.workers import Opening, in_processes, unit_record
from rg_helpers.statistics import holm

USUAL = 0.05  # strength of the alignment that the others differ from in one thing
PLAIN = "cross-entropy"


@dataclass(frozen=True)
class Variant:
    """One way to align: the recipe's fields that differ, the strength, the arm that trains it."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    strength: float = USUAL
    arm: str = "alignment"


VARIANTS: tuple[Variant, ...] = (
    Variant(PLAIN, strength=0.0, arm="ce"),
    Variant("as measured"),
    Variant("to shuffled graphs", arm="alignment_shuffled"),
    Variant("five times weaker", strength=USUAL / 5),
    Variant("five times stronger", strength=5 * USUAL),
    Variant("one head", {"heads": 1}),
    Variant("four heads", {"heads": 4}),
    *(Variant(f"two heads of layer {number}", {"layers": (number,)}) for number in range(4)),
    Variant("Kullback-Leibler form", {"form": "kl"}),
    Variant("margin form", {"form": "margin"}),
    Variant("attention on BOS counts as missing", {"sink": "keep"}),
    Variant("in the first half of training", {"stop_share": 0.5}),
    Variant("in the second half of training", {"start_share": 0.5}),
    Variant("to the next step's parents", {"targets": "next"}),
    Variant("to the next step's parents, five times stronger", {"targets": "next"}, 5 * USUAL),
)


def variant_rows(
    opening: Opening,
    families: Sequence[str],
    size: int = 64,
    seeds: int = 3,
    jobs: int = 1,
    variants: Sequence[Variant] = VARIANTS,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Train every variant on every seed and hold it against the first, pair by pair.

    Rows hold family, variant, changes, strength, `solved` (with interval), validation cross-entropy
    `ce` and `gain` over the first variant, plain cross-entropy, with p-values corrected over all
    variants and families (Holm 1979). The learning rate is the one that tuning starts from.
    """
    tasks = [
        (
            replace(opening, recipe=replace(opening.recipe, **variant.changes)),
            _unit(opening, variant, family, size, seed),
        )
        for family in families
        for variant in variants
        for seed in range(seeds)
    ]
    records = iter(in_processes(_run, opening, tasks, jobs, "variants", progress))
    rows = []
    for family in families:
        plain: np.ndarray | None = None
        for variant in variants:
            found = [next(records)["validation"] for _ in range(seeds)]
            solved = np.array([one["each"] for one in found], np.float64)
            plain = solved if plain is None else plain
            rows.append(
                {
                    "family": family,
                    "variant": variant.name,
                    "changes": {name: _plain(value) for name, value in variant.changes.items()},
                    "strength": variant.strength,
                    "solved": crossed_share(solved).as_dict(),
                    "ce": float(np.mean([one["ce"] for one in found])),
                    "gain": crossed_mean(solved - plain).as_dict(),
                }
            )
    asked = [row for row in rows if row["variant"] != variants[0].name]
    for row, p in zip(asked, holm([row["gain"]["p"] for row in asked]), strict=True):
        row["gain"]["p_holm"] = p
    return rows


def _unit(opening: Opening, variant: Variant, family: str, size: int, seed: int) -> Unit:
    strengths = (("alignment", variant.strength),) if variant.strength else ()
    return Unit(
        family,
        variant.arm,
        size,
        TUNING_SEED + seed,
        LEARNING_RATES[1],
        strengths,
        opening.recipe.steps,
        "tuning",
    )


def _run(_: Opening, task: tuple[Opening, Unit]) -> dict[str, Any]:
    return unit_record(*task)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
