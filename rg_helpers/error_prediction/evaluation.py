"""Several predictors measured side by side: the same folds, the same bootstrap draws.

Increments answer the question that matters: does a graph add to what is known without it? They
compare the predictor that sees baselines and graph with the one that sees the baselines alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator

from rg_helpers.error_prediction.metrics import PredictionQuality, measure_prediction
from rg_helpers.error_prediction.protocol import (
    FOLDS,
    check_fit,
    grouped_folds,
    held_out_scores,
    put_together,
)
from rg_helpers.error_prediction.side_by_side import side_by_side
from rg_helpers.statistics import (
    DRAWS,
    Bootstrap,
    cluster_numbers,
    cluster_weights,
    equivalence_p_value,
    holm,
)

MARGIN = 0.02  # of AUROC: a smaller gain would change nobody's mind
Kind = Literal["baseline", "graph", "increment", "control"]


@dataclass(frozen=True, eq=False)
class Entrant:
    """A predictor to be measured: its features (those of `cross_validated_scores`) and classifier.

    An increment names the entrant it is held against in `over`.
    """

    name: str
    kind: Kind
    features: Any
    predictor: BaseEstimator
    over: str | None = None


@dataclass(frozen=True, eq=False)
class Evaluated:
    """An entrant's out-of-fold risks (traces,), their quality and what the inner folds chose."""

    entrant: Entrant
    scores: np.ndarray
    quality: PredictionQuality
    chosen: tuple[str, ...]


def evaluate(
    entrants: Sequence[Entrant],
    wrong: np.ndarray,
    problem_ids: Sequence[str],
    folds: int = FOLDS,
    draws: int = DRAWS,
    seed: int = 0,
    progress: bool = True,
    jobs: int = 1,
) -> dict[str, Evaluated]:
    """Measure every entrant on the same folds and bootstrap draws; the result is by name.

    `wrong` is bool (traces,), `problem_ids` names each trace's problem; `jobs` processes share the
    fits. Raises `ValueError` for
    two entrants of one name or an increment over an entrant that is not there.
    """
    names = [entrant.name for entrant in entrants]
    twice = {name for name in names if names.count(name) > 1}
    missing = {entrant.over for entrant in entrants if entrant.over} - set(names)
    if twice or missing:
        raise ValueError(
            f"entrants named twice: {sorted(twice)}, increments over unknown ones: "
            f"{sorted(missing)}; give every entrant a name of its own"
        )
    wrong, problems = np.asarray(wrong, bool), cluster_numbers(problem_ids)
    fold = grouped_folds(wrong, problems, folds, seed)
    weights = cluster_weights(int(problems.max()) + 1, draws, seed)
    numbers = np.unique(fold)
    calls = []
    for entrant in entrants:
        check_fit(entrant.features, wrong, problems, fold)
        given = (entrant.predictor, entrant.features, wrong, problems, fold)
        calls += [(*given, number, seed) for number in numbers]
    parts = side_by_side(held_out_scores, calls, jobs, "fits of predictors", progress)
    found = {}
    for place, entrant in enumerate(entrants):
        mine = parts[place * len(numbers) : (place + 1) * len(numbers)]
        held_out = put_together(mine, fold)
        quality = measure_prediction(held_out.scores, wrong, problems, weights)
        found[entrant.name] = Evaluated(entrant, held_out.scores, quality, held_out.chosen)
    return found


def increments(found: Mapping[str, Evaluated], margin: float = MARGIN) -> dict[str, dict[str, Any]]:
    """Return, for every increment, its paired gain in AUROC with interval and both tests.

    `p_holm` tests "no gain at all", corrected for the number of increments; `p_equivalent` tests
    "a gain or loss of at least `margin`": small values say that the graph adds nothing that
    matters. `within_problem` is the gain in within-problem AUC, or None.
    """
    pairs = {
        name: (one.quality, found[one.entrant.over].quality)
        for name, one in found.items()
        if one.entrant.over
    }
    gaps = {name: with_it.auroc.minus(without.auroc) for name, (with_it, without) in pairs.items()}
    corrected = holm([gap.p_value() for gap in gaps.values()])
    rows = {}
    for (name, gap), p in zip(gaps.items(), corrected, strict=True):
        inside = [quality.within_problem_auc for quality in pairs[name]]
        within: Bootstrap | None = None if None in inside else inside[0].minus(inside[1])
        rows[name] = {
            "over": found[name].entrant.over,
            **gap.interval().as_dict(),
            "p_holm": p,
            "p_equivalent": equivalence_p_value(gap, margin),
            "margin": margin,
            "within_problem": within.interval().as_dict() if within else None,
        }
    return rows


def joined(*blocks: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray | dict[str, np.ndarray]:
    """Put feature blocks (traces, columns) side by side; at most one may be a mapping.

    With a mapping (for example a probe's layers) the result is one too, so that its entry is still
    chosen inside the folds.
    """
    mappings = [block for block in blocks if isinstance(block, Mapping)]
    if len(mappings) > 1:
        raise ValueError(f"{len(mappings)} blocks are mappings: only one choice can be left open")
    if not mappings:
        return np.hstack(blocks)
    return {
        name: np.hstack([block[name] if block is mappings[0] else block for block in blocks])
        for name in mappings[0]
    }


def shuffled_within_problems(
    wrong: np.ndarray, problem_ids: Sequence[str], seed: int = 0
) -> np.ndarray:
    """Return the labels dealt anew among the traces of each problem: a control.

    Difficulty stays, whatever tells a problem's wrong solutions from its right ones goes.
    """
    generator = np.random.default_rng(seed)
    dealt, problems = np.array(wrong, bool), cluster_numbers(problem_ids)
    for problem in np.unique(problems):
        inside = np.flatnonzero(problems == problem)
        dealt[inside] = dealt[generator.permutation(inside)]
    return dealt


def matched_by(sizes: np.ndarray, wrong: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return indices of a subset in which right and wrong traces are equally long.

    Every value of `sizes` (traces,), for example the number of steps, keeps as many right as wrong
    traces, drawn at random from the more frequent class; what length alone predicts is gone.
    """
    generator, kept = np.random.default_rng(seed), []
    for size in np.unique(sizes):
        sides = [np.flatnonzero((sizes == size) & (wrong == side)) for side in (False, True)]
        count = min(map(len, sides))
        kept += [generator.choice(side, count, replace=False) for side in sides]
    return np.sort(np.concatenate(kept)) if kept else np.empty(0, dtype=np.int64)
