"""How well a risk score tells wrong solutions from right ones, with intervals over problems.

Error is the positive class and a higher score is riskier. All bootstrapped metrics take the same
cluster weights (`statistics.cluster_weights`), so differences between predictors are paired.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rg_helpers.statistics import (
    Bootstrap,
    bootstrap_auroc,
    bootstrap_average_precision,
    bootstrap_mean,
)

PRECISION_DRAWS = 2000  # average precision costs as many operations a draw as there are errors
RECALL = 0.95


@dataclass(frozen=True)
class PredictionQuality:
    """Every metric of one predictor; `base_rate` is the share of errors.

    `within_problem_auc` compares only solutions of the same problem, so the problem's difficulty
    cannot help. `balanced_accuracy`, `brier` and `fpr95` read the scores as probabilities that
    were fitted on other problems; `fpr95` is the share of right solutions flagged where 95 % of
    the errors are.
    """

    base_rate: float
    auroc: Bootstrap
    aupr: Bootstrap
    within_problem_auc: Bootstrap | None
    balanced_accuracy: Bootstrap
    fpr95: Bootstrap
    brier: Bootstrap

    def as_dict(self) -> dict[str, Any]:
        """Return every metric's interval as plain values for JSON; `None` where there is none."""
        found: dict[str, Any] = {"base_rate": self.base_rate}
        for name, value in vars(self).items():
            if name != "base_rate":
                found[name] = None if value is None else value.interval().as_dict()
        return found


def measure_prediction(
    scores: np.ndarray, wrong: np.ndarray, problems: np.ndarray, weights: np.ndarray
) -> PredictionQuality:
    """Measure probabilities `scores` (traces,) of being wrong against `wrong` (traces,) bool.

    `problems` (traces,) numbers each trace's problem 0, 1, ...; `weights` (draws, problems) are
    bootstrap weights. `within_problem_auc` is None where no problem has both right and wrong
    solutions. Raises `ValueError` for scores outside 0 to 1 or a single class.
    """
    scores, wrong = np.asarray(scores, np.float64), np.asarray(wrong, bool)
    if not (np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1):
        raise ValueError(
            "scores must be probabilities between 0 and 1: calibrate raw scores on other problems "
            "first (cross_validated_scores does)"
        )
    return PredictionQuality(
        base_rate=float(wrong.mean()),
        auroc=bootstrap_auroc(scores, wrong, problems, weights),
        aupr=bootstrap_average_precision(scores, wrong, problems, weights[:PRECISION_DRAWS]),
        within_problem_auc=within_problem_auc(scores, wrong, problems, weights),
        balanced_accuracy=balanced_accuracy(scores >= 0.5, wrong, problems, weights),
        fpr95=false_positive_rate(scores, wrong, problems, weights),
        brier=bootstrap_mean((scores - wrong) ** 2, problems, weights),
    )


def within_problem_auc(
    scores: np.ndarray, wrong: np.ndarray, problems: np.ndarray, weights: np.ndarray
) -> Bootstrap | None:
    """Bootstrap how often a wrong solution outscores a right one *of the same problem*.

    Each problem with both classes counts by its number of such pairs. None without any such
    problem. This is ReasonOps' protocol (arXiv 2605.29192): a score that only knows how hard
    the problem is gets 0.5.
    """
    won, pairs = np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
    order = np.argsort(problems, kind="stable")
    for items in np.split(order, np.flatnonzero(np.diff(np.asarray(problems)[order])) + 1):
        errors, others = scores[items][wrong[items]], scores[items][~wrong[items]]
        gap = errors[:, None] - others
        won[problems[items[0]]] = (gap > 0).sum() + (gap == 0).sum() / 2
        pairs[problems[items[0]]] = gap.size
    if not pairs.any():
        return None
    return _ratio(won, pairs, weights)


def balanced_accuracy(
    flagged: np.ndarray, wrong: np.ndarray, problems: np.ndarray, weights: np.ndarray
) -> Bootstrap:
    """Bootstrap the mean of the share of errors flagged and of right solutions not flagged."""

    def rate(hit: np.ndarray, among: np.ndarray) -> Bootstrap:
        count = weights.shape[1]
        hits = np.bincount(problems, hit & among, minlength=count)
        return _ratio(hits, np.bincount(problems, among, minlength=count), weights)

    found, passed = rate(flagged, wrong), rate(~flagged, ~wrong)
    value, draws = (found.value + passed.value) / 2, (found.draws + passed.draws) / 2
    return Bootstrap(value, draws, found.n)


def false_positive_rate(
    scores: np.ndarray,
    wrong: np.ndarray,
    problems: np.ndarray,
    weights: np.ndarray,
    recall: float = RECALL,
) -> Bootstrap:
    """Bootstrap the share of right solutions flagged at the threshold that finds `recall` errors.

    The threshold is the highest at which at least that share of the (drawn) errors scores as high
    or higher.
    """
    levels = np.unique(scores)[::-1]
    place = np.searchsorted(-levels, -scores)
    count = weights.shape[1]

    def above(chosen: np.ndarray) -> np.ndarray:
        table = np.zeros((count, len(levels)))
        np.add.at(table, (problems[chosen], place[chosen]), 1)
        return table

    errors, rights = above(wrong), above(~wrong)

    def rates(drawn: np.ndarray) -> np.ndarray:
        found = np.cumsum(drawn @ errors, axis=1)
        flagged = np.cumsum(drawn @ rights, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            enough = found >= recall * found[:, -1:] - 1e-9
            at = enough.argmax(axis=1)[:, None]
            share = np.take_along_axis(flagged, at, 1)[:, 0] / flagged[:, -1]
        share[found[:, -1] == 0] = np.nan
        return share

    return _in_blocks(rates, weights, len(levels))


def reliability(scores: np.ndarray, wrong: np.ndarray, bins: int = 10) -> list[dict[str, float]]:
    """Return, for bins of equally many traces, mean predicted risk and share wrong.

    Rows hold `predicted`, `observed` and `n`: the points of a reliability diagram (Niculescu-Mizil
    & Caruana 2005). Equal scores stay in one bin.
    """
    order = np.argsort(scores, kind="stable")
    edges = np.linspace(0, len(order), min(bins, len(order)) + 1).astype(int)[1:]
    rows, start = [], 0
    for end in edges:
        while 0 < end < len(order) and scores[order[end]] == scores[order[end - 1]]:
            end += 1
        chosen = order[start:end]
        if len(chosen):
            predicted, observed = np.mean(scores[chosen]), np.mean(wrong[chosen])
            rows.append(
                {"predicted": float(predicted), "observed": float(observed), "n": len(chosen)}
            )
        start = max(start, end)
    return rows


def _ratio(top: np.ndarray, bottom: np.ndarray, weights: np.ndarray) -> Bootstrap:
    sums = weights.astype(np.float64) @ np.stack([top, bottom], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = np.where(sums[:, 1] > 0, sums[:, 0] / sums[:, 1], np.nan)
    return Bootstrap(float(top.sum() / bottom.sum()), draws, weights.shape[1])


def _in_blocks(
    statistic: Callable[[np.ndarray], np.ndarray], weights: np.ndarray, width: int
) -> Bootstrap:
    """Evaluate a statistic of weight rows in blocks that fit into memory."""
    block = max(1, 8_000_000 // max(1, width))
    parts = [
        statistic(weights[first : first + block].astype(np.float64))
        for first in range(0, len(weights), block)
    ]
    value = statistic(np.ones((1, weights.shape[1])))[0]
    draws = np.concatenate(parts) if parts else np.empty(0)
    return Bootstrap(float(value), draws, weights.shape[1])
