"""What an experiment could have seen: simulated again and again, with and without a gain.

The power asked for here is that of a gain which would matter, planted into differences that spread
as those measured do. Power computed from the gain that was observed says nothing that its p-value
does not say already (Hoenig & Heisey 2001, The American Statistician 55:19).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from rg_helpers.experiment.crossed import MARGIN, crossed_mean

POWER = 0.8  # the usual chance of seeing what is there
LEVEL = 0.05


@dataclass(frozen=True)
class Spread:
    """Standard deviations of a paired difference: of its seed, of its problem, of the rest."""

    seed: float
    problem: float
    rest: float


@dataclass(frozen=True, eq=False)
class Simulated:
    """Simulated experiments without any gain: float64 (draws,) each.

    values: what was measured where the truth is zero. lows: lower ends of the 95 % intervals; a
    planted gain shifts both by itself.
    p_equivalent: p-values of "the difference is at least the margin".
    """

    values: np.ndarray
    lows: np.ndarray
    p_equivalent: np.ndarray

    def power(self, gain: float) -> float:
        """Return how often a true gain would have been called one."""
        return float((self.lows + gain > 0).mean())

    def least_gain(self, power: float = POWER) -> float:
        """Return the smallest true gain that would have been called one so often."""
        return float(0.0 - np.quantile(self.lows, 1 - power))

    def exaggeration(self, gain: float) -> float:
        """Return how many times too large a true gain looks where it is called one.

        The type M error (Gelman & Carlin 2014, Perspectives on Psychological Science 9:641); NaN
        where it never is. Raises `ValueError` unless the gain is positive.
        """
        if gain <= 0:
            raise ValueError(f"gain={gain}: give a true gain above zero")
        seen = self.lows + gain > 0
        return float((self.values[seen] + gain).mean() / gain) if seen.any() else float("nan")

    def equivalent(self) -> float:
        """Return how often a true difference of zero would have been shown to be too small."""
        return float((self.p_equivalent < LEVEL).mean())


def spread_of(differences: np.ndarray) -> Spread:
    """Return the spread of paired differences (seeds, problems), by the two-way table.

    Variances are those for which the mean squares are what is expected of them (the ANOVA
    estimator, Searle, Casella & McCulloch 1992), and zero where that would be negative. Raises
    `ValueError` for fewer than 2 seeds or 2 problems.
    """
    differences = np.asarray(differences, dtype=np.float64)
    if differences.ndim != 2 or min(differences.shape) < 2:
        raise ValueError(
            f"differences are {differences.shape}: expected (seeds, problems), at least 2 of each, "
            "or nothing is known of how seeds differ"
        )
    seeds, problems = differences.shape
    by_seed, by_problem = differences.mean(1), differences.mean(0)
    rest = differences - by_seed[:, None] - by_problem + differences.mean()
    ms_rest = (rest**2).sum() / ((seeds - 1) * (problems - 1))
    seed = by_seed.var(ddof=1) - ms_rest / problems
    problem = by_problem.var(ddof=1) - ms_rest / seeds
    return Spread(*(float(np.sqrt(max(0.0, part))) for part in (seed, problem, ms_rest)))


def simulated_differences(
    spread: Spread, seeds: int, problems: int, draws: int, seed: int = 0
) -> np.ndarray:
    """Return differences without a gain, normal in all parts: float64 (draws, seeds, problems)."""
    generator = np.random.default_rng(seed)
    return (
        generator.normal(0, spread.seed, (draws, seeds, 1))
        + generator.normal(0, spread.problem, (draws, 1, problems))
        + generator.normal(0, spread.rest, (draws, seeds, problems))
    )


def simulate(
    spread: Spread, seeds: int, problems: int, draws: int = 1000, seed: int = 0
) -> Simulated:
    """Return what `crossed_mean` says of so many simulated experiments; see `Simulated`."""
    if seeds < 1 or problems < 2 or draws < 1:
        raise ValueError(
            f"{draws} draws of {seeds} seeds and {problems} problems: expected 1, 1 and 2 at least"
        )
    found = [
        crossed_mean(each) for each in simulated_differences(spread, seeds, problems, draws, seed)
    ]
    parts = [(one.value, one.low, one.p_equivalent) for one in found]
    return Simulated(*np.array(parts).T)


def seeds_needed(
    spread: Spread,
    problems: int,
    gain: float = MARGIN,
    tried: Iterable[int] = (2, 3, 5, 8, 12, 20, 30),
    draws: int = 400,
    seed: int = 0,
) -> int | None:
    """Return the first number of seeds tried that sees `gain` often enough, or None.

    None is an answer too: where the problems are few, no number of seeds is enough.
    """
    for seeds in tried:
        if simulate(spread, seeds, problems, draws, seed).least_gain() <= gain:
            return seeds
    return None


def simulated_solved(
    shares: Mapping[str, float],
    seeds: int,
    problems: int,
    *,
    difficulty: float = 1.0,
    taste: float = 0.0,
    luck: float = 0.0,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Return made-up outcomes of arms that solve these shares in truth: bool (seeds, problems).

    A problem is solved where a normal latent value is positive (a probit model). Its parts:
    `difficulty` of the problem, shared by all arms; `taste`, of an arm for a problem, shared by its
    seeds; `luck`, of an arm's seed, shared by its problems; and noise of one. The share is that
    over all problems and seeds there could be, so that an experiment's own share differs from it.
    """
    generator = np.random.default_rng(seed)
    scale = np.sqrt(1 + difficulty**2 + taste**2 + luck**2)
    hard = generator.normal(0, difficulty, (1, problems))
    found = {}
    for arm, share in shares.items():
        if not 0 < share < 1:
            raise ValueError(f"{arm} solves a share of {share}: expected more than 0, less than 1")
        latent = (
            ndtri(share) * scale
            + hard
            + generator.normal(0, taste, (1, problems))
            + generator.normal(0, luck, (seeds, 1))
            + generator.normal(0, 1, (seeds, problems))
        )
        found[arm] = latent > 0
    return found
