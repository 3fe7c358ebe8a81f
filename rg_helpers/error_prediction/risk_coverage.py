"""What a risk score is worth to somebody who may abstain: errors left at each share answered.

Selective prediction (Geifman & El-Yaniv 2017, arXiv 1705.08500): answer the least risky questions,
leave the rest. The area under the risk-coverage curve (Geifman et al. 2019, arXiv 1805.08206) is
the mean error rate among what is answered, over all shares answered; lower is better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rg_helpers.statistics import Bootstrap


@dataclass(frozen=True)
class RiskCoverage:
    """`risk[k]`: share of wrong ones among the `coverage[k]` least risky; both float64 (points,).

    Solutions of equal risk are answered together, so that no order among them is made up.
    """

    coverage: np.ndarray
    risk: np.ndarray

    def at(self, coverage: float) -> float:
        """Return the error rate when at least this share is answered."""
        return float(self.risk[np.searchsorted(self.coverage, coverage - 1e-12)])


def risk_coverage(risks: np.ndarray, wrong: np.ndarray) -> RiskCoverage:
    """Return the curve of risk scores (solutions,), higher is riskier, for bool `wrong`."""
    risks, wrong = _checked(risks, wrong)
    answered, errors = _counts(risks, wrong, np.ones((1, len(risks))))
    return RiskCoverage(answered[0] / len(risks), errors[0] / answered[0])


def area_under_risk_coverage(
    risks: np.ndarray, wrong: np.ndarray, clusters: np.ndarray, weights: np.ndarray
) -> Bootstrap:
    """Bootstrap the area under the risk-coverage curve; whole clusters are drawn together.

        sum over groups of equal risk: share of the group x error rate of all answered up to it

    `clusters` numbers each solution's problem, `weights` comes from `statistics.cluster_weights`.
    """
    risks, wrong = _checked(risks, wrong)

    def areas(drawn: np.ndarray) -> np.ndarray:
        answered, errors = _counts(risks, wrong, drawn)
        share = np.diff(answered, axis=1, prepend=0.0) / answered[:, -1:]
        rates = np.divide(errors, answered, out=np.zeros_like(errors), where=answered > 0)
        return (share * rates).sum(axis=1)

    value = areas(np.ones((1, len(risks))))[0]
    draws = np.concatenate([areas(part[:, clusters]) for part in _blocks(weights, len(risks))])
    return Bootstrap(float(value), draws, weights.shape[1])


def risk_at_coverage(
    risks: np.ndarray,
    wrong: np.ndarray,
    clusters: np.ndarray,
    weights: np.ndarray,
    coverage: float = 0.8,
) -> Bootstrap:
    """Bootstrap the error rate when the least risky `coverage` of solutions is answered.

    Raises `ValueError` for a coverage that is not a share above zero.
    """
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage={coverage}: give the share that is answered, above 0, up to 1")
    risks, wrong = _checked(risks, wrong)

    def rates(drawn: np.ndarray) -> np.ndarray:
        answered, errors = _counts(risks, wrong, drawn)
        enough = answered >= coverage * answered[:, -1:] - 1e-9
        first = enough.argmax(axis=1)[:, None]
        return (np.take_along_axis(errors, first, 1) / np.take_along_axis(answered, first, 1))[:, 0]

    value = rates(np.ones((1, len(risks))))[0]
    draws = np.concatenate([rates(part[:, clusters]) for part in _blocks(weights, len(risks))])
    return Bootstrap(float(value), draws, weights.shape[1])


def _counts(
    risks: np.ndarray, wrong: np.ndarray, drawn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return answered and wrong ones up to each level of risk: two (draws, levels)."""
    order = np.argsort(risks, kind="stable")
    last = np.flatnonzero(np.append(np.diff(risks[order]) > 0, True))
    drawn = drawn[:, order].astype(np.float64)
    answered = drawn.cumsum(axis=1)[:, last]
    errors = (drawn * wrong[order]).cumsum(axis=1)[:, last]
    return answered, errors


def _blocks(weights: np.ndarray, solutions: int) -> list[np.ndarray]:
    block = max(1, 4_000_000 // max(1, solutions))
    return [weights[first : first + block] for first in range(0, len(weights), block)]


def _checked(risks: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    risks, wrong = np.asarray(risks, np.float64), np.asarray(wrong, bool)
    if not len(risks) or len(risks) != len(wrong):
        raise ValueError(f"{len(risks)} risks and {len(wrong)} labels: give one of each a solution")
    if np.isnan(risks).any():
        raise ValueError("some risks are NaN: find out where they come from, they have no rank")
    return risks, wrong
