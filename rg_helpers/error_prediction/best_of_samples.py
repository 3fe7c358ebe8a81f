"""Which of several samples of a problem to hand in: ways to choose, held against each other.

The risk that a vote gives (self-consistency) is `consistency.answer_disagreement`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rg_helpers.statistics import Bootstrap, bootstrap_mean

ORACLE = "oracle"


def chosen_right(risks: np.ndarray, right: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return, a problem, the share of right ones among its least risky samples: float (problems,).

    `risks`, `right` (bool) and `clusters` (problem numbers 0, 1, ...) are (samples,). Samples of
    equal risk share the choice, so that no order among them is made up.
    """
    risks, right = np.asarray(risks, np.float64), np.asarray(right, bool)
    count = int(clusters.max()) + 1
    least = np.full(count, np.inf)
    np.minimum.at(least, clusters, risks)
    chosen = risks == least[clusters]
    taken = np.bincount(clusters[chosen], minlength=count)
    return np.bincount(clusters[chosen], right[chosen], minlength=count) / taken


def best_of_samples(
    risks: Mapping[str, np.ndarray], right: np.ndarray, clusters: np.ndarray, weights: np.ndarray
) -> dict[str, Bootstrap]:
    """Bootstrap the share of problems solved by each way to choose, and by "any" and the oracle.

    "any" hands in a sample at random; the oracle a right one where there is one: the most that any
    way could reach. `weights` comes from `statistics.cluster_weights`, so that differences between
    ways are paired by problem.
    """
    right, problems = np.asarray(right, bool), np.arange(int(clusters.max()) + 1)
    ways = {"any": np.zeros(len(right)), **risks, ORACLE: -right.astype(np.float64)}
    return {
        name: bootstrap_mean(chosen_right(risk, right, clusters), problems, weights)
        for name, risk in ways.items()
    }
