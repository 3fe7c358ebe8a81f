"""Means over seeds and problems at once: both are samples, and few seeds are few.

Every model (seed) answers every test problem, so an outcome belongs to a row and a column. A test
over problems alone claims something about these very models, one over seeds alone about these very
problems (the language-as-fixed-effect fallacy, Clark 1973). Here both count as random: variances
come from the two-way analysis of variance, degrees of freedom from Satterthwaite (1946).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from rg_helpers.statistics import cluster_weights, wilson_interval

LEVEL = 0.95
MARGIN = 0.05  # smallest difference in accuracy that would matter


@dataclass(frozen=True)
class CrossedMean:
    """A mean with its interval; n problems x seeds.

    p: two-sided, of "this is zero". p_equivalent: of "this is at least MARGIN away from zero".
    """

    value: float
    low: float
    high: float
    n: int
    seeds: int
    p: float
    p_equivalent: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


def crossed_mean(values: np.ndarray, level: float = LEVEL) -> CrossedMean:
    """Return the mean of values (seeds, problems) with an interval over both.

        variance = (MS_seeds + MS_problems - MS_rest) / (seeds x problems)

    and never less than either of the first two alone would give. For a difference between two arms
    give the difference of their outcomes, cell by cell: it is paired in seeds and in problems. With
    one seed the interval speaks of that one model. Raises `ValueError` for fewer than 2 problems.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] < 2:
        raise ValueError(f"outcomes are {values.shape}: expected (seeds, problems), 2 problems up")
    seeds, problems = values.shape
    mean = float(values.mean())
    variance, freedom = _variance(values)
    error = float(np.sqrt(variance))
    if error <= 1e-12:  # every cell says the same: what is left is the chance of equal signs
        p = 1.0 if abs(mean) <= 1e-12 else 2 * 0.5**problems
        # ... and the chance that no problem shows a difference which a share of MARGIN has
        apart = 1.0 if abs(mean) >= MARGIN else (1 - MARGIN) ** problems
        return CrossedMean(mean, mean, mean, problems, seeds, p, apart)
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, freedom))
    apart = max(
        float(stats.t.sf((MARGIN - mean) / error, freedom)),
        float(stats.t.sf((MARGIN + mean) / error, freedom)),
    )
    return CrossedMean(mean, mean - half, mean + half, problems, seeds, min(1.0, p), apart)


def crossed_share(outcomes: np.ndarray) -> CrossedMean:
    """Return `crossed_mean` of outcomes 0 or 1, its interval kept within 0 and 1.

    Where all outcomes are equal the interval is Wilson's over the problems.
    """
    found = crossed_mean(outcomes)
    low, high = max(0.0, found.low), min(1.0, found.high)
    if found.low == found.high:
        wilson = wilson_interval(round(found.value * found.n), found.n)
        low, high = wilson.low, wilson.high
    return CrossedMean(found.value, low, high, found.n, found.seeds, found.p, found.p_equivalent)


def seed_weights(seeds: int, draws: int, seed: int = 0) -> np.ndarray:
    """Return how often each seed is drawn: float64 (draws, seeds), rows sum to `seeds`.

    One fewer than there are is drawn and scaled up (Rao & Wu 1988): drawing all of n gives too
    small a variance by (n - 1) / n, which matters for five. One seed is drawn always.
    """
    if seeds == 1:
        return np.ones((draws, 1))
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(seeds - 1, np.full(seeds, 1 / seeds), draws)
    return drawn * (seeds / (seeds - 1))


def crossed_draws(values: np.ndarray, by_seed: np.ndarray, by_problem: np.ndarray) -> np.ndarray:
    """Return the bootstrapped means of values (seeds, problems): float64 (draws,).

    by_seed: (draws, seeds) of `seed_weights`; by_problem: (draws, problems) of `cluster_weights`.
    Seeds and problems are drawn independently (the pigeonhole bootstrap, Owen 2007).
    """
    return np.einsum("ds,sp,dp->d", by_seed, values, by_problem, optimize=True) / values.size


def problem_weights(problems: int, draws: int, seed: int = 0) -> np.ndarray:
    """Return how often each problem is drawn: float64 (draws, problems)."""
    return cluster_weights(problems, draws, seed).astype(np.float64)


def _variance(values: np.ndarray) -> tuple[float, float]:
    """Return the variance of the grand mean and its degrees of freedom."""
    seeds, problems = values.shape
    by_problem = values.mean(0)
    if seeds == 1:
        return float(by_problem.var(ddof=1)) / problems, problems - 1
    by_seed, grand = values.mean(1), values.mean()
    ms_seed = problems * by_seed.var(ddof=1)
    ms_problem = seeds * by_problem.var(ddof=1)
    rest = values - by_seed[:, None] - by_problem + grand
    ms_rest = (rest**2).sum() / ((seeds - 1) * (problems - 1))
    both = ms_seed + ms_problem - ms_rest
    largest = max(both, ms_seed, ms_problem)
    if largest <= 0:
        return 0.0, 1.0
    if largest == both:
        parts = (ms_seed**2 / (seeds - 1) + ms_problem**2 / (problems - 1)
                 + ms_rest**2 / ((seeds - 1) * (problems - 1)))  # fmt: skip
        freedom = both**2 / parts
    else:
        freedom = float(seeds - 1 if largest == ms_seed else problems - 1)
    return float(largest) / values.size, float(freedom)
