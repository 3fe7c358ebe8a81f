"""Intervals and tests that respect clusters: several measurements of one problem are not several.

Whole problems are drawn with replacement (the cluster bootstrap; Davison & Hinkley 1997, chapter
3.8). A draw is stored as how often each problem was drawn, so every statistic here is a product
with that one matrix: the same draws serve all methods, which makes differences paired, and 10,000
draws of an AUROC over tens of thousands of pairs take about a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.sparse import csr_matrix

DRAWS = 10_000
WINS_AT_ONCE = 8_000_000  # counts held at once while an AUROC is bootstrapped


@dataclass(frozen=True)
class Interval:
    """A value with its interval: `low` and `high` at `level`, from `n` clusters or trials."""

    value: float
    low: float
    high: float
    n: int
    level: float = 0.95

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Bootstrap:
    """A statistic on the data as they are (`value`) and on every bootstrap draw (`draws`).

    `draws` is float64 (draws,), NaN where a draw has no value (for example no positive pair).
    """

    value: float
    draws: np.ndarray
    n: int

    def interval(self, level: float = 0.95) -> Interval:
        """Return the percentile interval; raises `ValueError` if most draws have no value."""
        known = self.draws[~np.isnan(self.draws)]
        if not len(known) or len(known) < len(self.draws) / 2:
            raise ValueError(
                f"only {len(known)} of {len(self.draws)} bootstrap draws have a value: there are "
                "too few clusters, or one class is nearly empty; measure on more problems"
            )
        tail = (1 - level) / 2
        low, high = np.quantile(known, [tail, 1 - tail])
        return Interval(float(self.value), float(low), float(high), self.n, level)

    def minus(self, other: Bootstrap) -> Bootstrap:
        """Return the paired difference; both must come from the same cluster weights."""
        if len(self.draws) != len(other.draws) or self.n != other.n:
            raise ValueError(
                f"{len(self.draws)} draws of {self.n} clusters and {len(other.draws)} draws of "
                f"{other.n} cannot be paired: compute both from the same cluster_weights"
            )
        return Bootstrap(self.value - other.value, self.draws - other.draws, self.n)

    def p_value(self) -> float:
        """Return the two-sided bootstrap p-value of "this is zero" (for differences)."""
        known = self.draws[~np.isnan(self.draws)]
        fewer = min((known <= 0).sum(), (known >= 0).sum())
        return float(min(1.0, 2 * (fewer + 1) / (len(known) + 1)))


def equivalence_p_value(difference: Bootstrap, margin: float) -> float:
    """Return the p-value of "the difference is at least `margin` away from zero", either way.

    Two one-sided tests (Schuirmann 1987) on the bootstrap draws: a small value says that the
    difference lies within (-margin, margin), which a large p-value of "this is zero" never does.
    Raises `ValueError` unless `margin` is positive.
    """
    if margin <= 0:
        raise ValueError(f"margin={margin}: give the smallest difference that would matter, > 0")
    known = difference.draws[~np.isnan(difference.draws)]
    outside = max((known <= -margin).sum(), (known >= margin).sum())
    return float((outside + 1) / (len(known) + 1))


def cluster_weights(clusters: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Return how often each cluster is drawn: float32 (draws, clusters), every row sums to it."""
    if clusters < 2:
        raise ValueError(f"{clusters} cluster(s) say nothing about variation: give at least 2")
    generator = np.random.default_rng(seed)
    return generator.multinomial(clusters, np.full(clusters, 1 / clusters), draws).astype(
        np.float32
    )


def cluster_numbers(names: Sequence[Any]) -> np.ndarray:
    """Number clusters 0, 1, ... in order of first appearance: int64 (items,)."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def bootstrap_ratio(
    numerators: np.ndarray, denominators: np.ndarray, clusters: np.ndarray, weights: np.ndarray
) -> Bootstrap:
    """Bootstrap sum(numerators) / sum(denominators), for example a mean (denominators of one).

    All arrays are (items,); `clusters` numbers each item's cluster, `weights` comes from
    `cluster_weights`. A denominator of zero gives NaN.
    """
    count = weights.shape[1]
    top = np.bincount(clusters, np.asarray(numerators, dtype=np.float64), minlength=count)
    bottom = np.bincount(clusters, np.asarray(denominators, dtype=np.float64), minlength=count)
    sums = weights.astype(np.float64) @ np.stack([top, bottom], axis=1)
    return Bootstrap(
        float(_divide(top.sum(), bottom.sum())), _divide(sums[:, 0], sums[:, 1]), count
    )


def bootstrap_mean(values: np.ndarray, clusters: np.ndarray, weights: np.ndarray) -> Bootstrap:
    """Bootstrap the mean of `values` (items,); items of one cluster are drawn together."""
    return bootstrap_ratio(values, np.ones(len(values)), clusters, weights)


def bootstrap_auroc(
    scores: np.ndarray,
    labels: np.ndarray,
    clusters: np.ndarray,
    weights: np.ndarray,
    strata: np.ndarray | None = None,
) -> Bootstrap:
    """Bootstrap the area under the ROC curve: how often a positive outscores a negative.

    Ties count one half. With `strata` (items,) only pairs of one stratum are compared, so whatever
    differs between strata cannot help. Exact: the wins of cluster p's positives over cluster q's
    negatives form a matrix U, their numbers a matrix M, and a draw with weights w has AUROC
    w'Uw / w'Mw. Raises `ValueError` if there is nothing to compare.
    """
    scores, labels, clusters = _checked(scores, labels, clusters, weights)
    count = weights.shape[1]
    drawn = weights.astype(np.float64)
    if strata is None:
        wins = _wins(scores, labels, clusters, count)
        positives = np.bincount(clusters[labels], minlength=count).astype(np.float64)
        negatives = np.bincount(clusters[~labels], minlength=count).astype(np.float64)
        total = positives.sum() * negatives.sum()
        pairs = (drawn @ positives) * (drawn @ negatives)
    else:
        wins, compared = _wins_within(scores, labels, clusters, strata, count)
        total = compared.sum()
        pairs = np.einsum("dq,dq->d", drawn @ compared, drawn)
        if total == 0:
            raise ValueError("no stratum holds both classes: use coarser strata or more problems")
    won = np.einsum("dq,dq->d", drawn @ wins, drawn)
    return Bootstrap(float(_divide(wins.sum(), total)), _divide(won, pairs), count)


def bootstrap_average_precision(
    scores: np.ndarray, labels: np.ndarray, clusters: np.ndarray, weights: np.ndarray
) -> Bootstrap:
    """Bootstrap average precision: the mean, over positives, of the precision at their score.

    Equal scores are taken together, as in scikit-learn's `average_precision_score`. Compare it
    with the share of positives, which is what a random order gets.
    """
    scores, labels, clusters = _checked(scores, labels, clusters, weights)
    count = weights.shape[1]
    levels = np.unique(scores[labels])  # precision matters only where a positive stands
    hits = np.zeros((len(levels), count), dtype=np.float32)
    np.add.at(hits, (np.searchsorted(levels, scores[labels]), clusters[labels]), 1)
    misses = np.zeros((len(levels) + 1, count), dtype=np.float32)
    # A negative counts at every level not above its score; slot 0 is below all of them.
    reached = np.searchsorted(levels, scores[~labels], "right")
    np.add.at(misses, (reached, clusters[~labels]), 1)
    hits_above = hits[::-1].cumsum(axis=0)[::-1]
    misses_above = misses[:0:-1].cumsum(axis=0)[::-1]

    def average(drawn: np.ndarray) -> np.ndarray:
        at_level = drawn @ hits.T
        found = drawn @ hits_above.T
        precision = found + drawn @ misses_above.T
        np.divide(found, precision, out=precision, where=precision > 0)
        return _divide((at_level * precision).sum(axis=1, dtype=np.float64), found[:, 0])

    block = max(1, 4_000_000 // max(1, len(levels)))
    starts = range(0, max(1, len(weights)), block)  # one empty part where no draws are asked for
    parts = [average(weights[first : first + block]) for first in starts]
    value = average(np.ones((1, count), dtype=np.float32))[0]
    return Bootstrap(float(value), np.concatenate(parts), count)


def cluster_bootstrap(
    statistic: Callable[[np.ndarray], float],
    clusters: np.ndarray,
    draws: int = 1000,
    seed: int = 0,
) -> Bootstrap:
    """Bootstrap any statistic of item indices; slow, for what has no function of its own here.

    `statistic` gets an int array of item indices (with repeats) and returns a number.
    """
    count = int(clusters.max()) + 1
    weights = cluster_weights(count, draws, seed).astype(np.int64)
    items = [np.flatnonzero(clusters == cluster) for cluster in range(count)]
    values = [
        statistic(np.concatenate([np.tile(items[c], row[c]) for c in np.flatnonzero(row)]))
        for row in weights
    ]
    return Bootstrap(float(statistic(np.arange(len(clusters)))), np.array(values, float), count)


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Return the score interval of a share (Wilson 1927); sound at 0 and 1 and for few trials."""
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials: expected 0 <= k <= n, n >= 1")
    z = stats.norm.ppf((1 + level) / 2)
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    low, high = max(0.0, float(centre - half)), min(1.0, float(centre + half))
    return Interval(share, min(low, share), max(high, share), trials, level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979), in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    if ((p < 0) | (p > 1) | np.isnan(p)).any():
        raise ValueError(f"p-values must lie between 0 and 1, got {list(p_values)}")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, stepped)
    return adjusted.tolist()


def _checked(
    scores: np.ndarray, labels: np.ndarray, clusters: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores = np.asarray(scores, dtype=np.float64)
    labels = np.asarray(labels, dtype=bool)
    clusters = np.asarray(clusters)
    if not len(scores) == len(labels) == len(clusters):
        raise ValueError(
            f"{len(scores)} scores, {len(labels)} labels and {len(clusters)} clusters: expected "
            "one of each per item"
        )
    if np.isnan(scores).any():
        raise ValueError("some scores are NaN: find out where they come from, they have no rank")
    if not labels.any() or labels.all():
        raise ValueError(
            f"{int(labels.sum())} of {len(labels)} items are positive: both classes are needed"
        )
    if clusters.min() < 0 or clusters.max() >= weights.shape[1]:
        raise ValueError(
            f"cluster numbers {clusters.min()} to {clusters.max()} do not fit weights of "
            f"{weights.shape[1]} clusters: number them 0, 1, ... with cluster_numbers"
        )
    return scores, labels, clusters


def _wins(scores: np.ndarray, labels: np.ndarray, clusters: np.ndarray, count: int) -> np.ndarray:
    """Return wins (count, count) of each cluster's positives over each cluster's negatives.

    Per level of the positives' scores it is counted how many negatives of each cluster lie below;
    a negative at the very level counts one half. A block of clusters at a time bounds the memory.
    """
    levels, level = np.unique(scores[labels], return_inverse=True)
    owners = csr_matrix(
        (np.ones(len(level)), (clusters[labels], level)), shape=(count, len(levels))
    )
    negative, rival = scores[~labels], clusters[~labels]
    reached = np.searchsorted(levels, negative, "left"), np.searchsorted(levels, negative, "right")
    wins = np.zeros((count, count))
    width = max(1, WINS_AT_ONCE // (len(levels) + 1))
    for first in range(0, count, width):
        columns = min(width, count - first)
        mine = (rival >= first) & (rival < first + columns)
        cells = [side[mine] * columns + rival[mine] - first for side in reached]
        below = np.bincount(np.concatenate(cells), minlength=(len(levels) + 1) * columns)
        below = below.reshape(-1, columns)[:-1].cumsum(axis=0) / 2
        wins[:, first : first + columns] = owners @ below
    return wins


def _wins_within(
    scores: np.ndarray, labels: np.ndarray, clusters: np.ndarray, strata: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return wins and number of comparisons (count, count), within strata alone."""
    wins, compared = np.zeros(count * count), np.zeros(count * count)
    order = np.argsort(strata, kind="stable")
    for items in np.split(order, np.flatnonzero(np.diff(np.asarray(strata)[order])) + 1):
        positive, negative = items[labels[items]], items[~labels[items]]
        cell = (clusters[positive, None] * count + clusters[negative]).ravel()
        gap = scores[positive, None] - scores[negative]
        outcome = ((np.sign(gap) + 1) / 2).ravel()
        wins += np.bincount(cell, outcome, minlength=count * count)
        compared += np.bincount(cell, minlength=count * count)
    return wins.reshape(count, count), compared.reshape(count, count)


def _divide(top: np.ndarray | float, bottom: np.ndarray | float) -> np.ndarray:
    top, bottom = np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
