"""What the out-of-fold risks are good for: abstaining, and choosing among a problem's samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rg_helpers.error_prediction.best_of_samples import best_of_samples
from rg_helpers.error_prediction.entrants import EVERY, title
from rg_helpers.error_prediction.evaluation import Evaluated
from rg_helpers.error_prediction.risk_coverage import (
    area_under_risk_coverage,
    risk_at_coverage,
    risk_coverage,
)
from rg_helpers.statistics import Bootstrap, cluster_numbers, cluster_weights, holm

COVERAGES = (0.5, 0.8)
POINTS = 41  # of a curve that is kept
BASELINE = "all_baselines"  # what costs nothing beyond the writing itself
USED = (
    BASELINE,
    "mean_log_probability",
    "self_consistency",
    "probe",
    "attention_boosting",
    "text_boosting",
    "graphs_boosting",
    EVERY,
    f"{EVERY}_model_graphs",
    f"{EVERY}_graphs",
)


def uses(
    measured: Mapping[str, Evaluated],
    wrong: np.ndarray,
    problem_ids: Sequence[str],
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, list[dict[str, Any]]]:
    """Return `abstention` and `best_of_samples`: a row a predictor, all on the same draws.

    abstention: area under the risk-coverage curve, the error rate at each of `COVERAGES`, points of
    the curve, and `less`: the area of the baselines' scores minus this one's. best_of_samples:
    share of problems solved by handing in the least risky sample, and `gain` over the sample that
    the baselines choose. Both differences are paired by problem, p-values adjusted over predictors
    (Holm 1979). Problems with one sample have no choice and are left out of the latter.
    """
    wrong, problems = np.asarray(wrong, bool), cluster_numbers(problem_ids)
    scores = {name: measured[name].scores for name in USED if name in measured}
    weights = cluster_weights(int(problems.max()) + 1, draws, seed)
    found = {"abstention": _abstention(scores, wrong, problems, weights)}
    several = np.bincount(problems)[problems] > 1
    if len(set(problems[several].tolist())) > 1:
        renumbered = cluster_numbers(problems[several].tolist())
        weights = cluster_weights(int(renumbered.max()) + 1, draws, seed)
        mine = {name: risks[several] for name, risks in scores.items()}
        found["best_of_samples"] = _best(mine, ~wrong[several], renumbered, weights)
    return found


def _abstention(
    scores: Mapping[str, np.ndarray], wrong: np.ndarray, problems: np.ndarray, weights: np.ndarray
) -> list[dict[str, Any]]:
    given = (wrong, problems, weights)
    areas = {name: area_under_risk_coverage(risks, *given) for name, risks in scores.items()}
    rows = []
    for name, risks in scores.items():
        curve = risk_coverage(risks, wrong)
        shares = np.linspace(curve.coverage[0], 1, POINTS)
        rates = {f"{c:g}": risk_at_coverage(risks, *given, c) for c in COVERAGES}
        rows.append(
            {
                "name": name,
                "title": title(name),
                "area": areas[name].interval().as_dict(),
                "risk_at": {share: rate.interval().as_dict() for share, rate in rates.items()},
                "curve": [[float(share), curve.at(share)] for share in shares],
            }
        )
    if BASELINE in areas:
        less = {name: areas[BASELINE].minus(area) for name, area in areas.items()}
        _add_differences(rows, "less", less)
    return rows


def _best(
    scores: Mapping[str, np.ndarray], right: np.ndarray, problems: np.ndarray, weights: np.ndarray
) -> list[dict[str, Any]]:
    shares = best_of_samples(scores, right, problems, weights)
    rows = [
        {
            "name": name,
            "title": title(name) if name in scores else name,
            "solved": share.interval().as_dict(),
        }
        for name, share in shares.items()
    ]
    if BASELINE in shares:
        gains = {name: share.minus(shares[BASELINE]) for name, share in shares.items()}
        _add_differences(rows, "gain", gains)
    return rows


def _add_differences(
    rows: list[dict[str, Any]], key: str, differences: Mapping[str, Bootstrap]
) -> None:
    """Add each row's difference from the baseline's, with its adjusted p-value."""
    compared = [row for row in rows if row["name"] != BASELINE]
    adjusted = holm([differences[row["name"]].p_value() for row in compared])
    for row, p in zip(compared, adjusted, strict=True):
        row[key] = differences[row["name"]].interval().as_dict() | {"p_holm": p}
