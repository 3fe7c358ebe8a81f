"""How many training problems an arm needs for the accuracy that plain cross-entropy reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rg_helpers.experiment.crossed import crossed_draws, problem_weights, seed_weights
from rg_helpers.statistics import Bootstrap

CEILING = 2.0  # stands for "not reached within the ladder"


def data_ratio(
    arm: Mapping[int, np.ndarray],
    reference: Mapping[int, np.ndarray],
    draws: int = 4000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the share of the reference's largest training set that `arm` needs to equal it.

    arm, reference: outcomes (seeds, problems) by number of training problems; same seeds and test
    problems throughout. The arm's learning curve is made monotone and read off, linearly over the
    logarithm of the size, where it reaches the reference's accuracy at its largest size. 1 = as
    many problems, 0.5 = half; no less than the smallest size allows, and CEILING where the curve
    ends below. value, low, high: percentile interval over seeds and problems drawn together;
    reached: share of draws within the ladder; target: the reference's accuracy. Raises
    `ValueError` for fewer than 2 sizes or outcomes of different shapes.
    """
    sizes = sorted(arm)
    if len(sizes) < 2 or sorted(reference) != sizes:
        raise ValueError(
            f"sizes {sizes} of the arm, {sorted(reference)} of the reference: a learning curve "
            "needs the same sizes for both, at least 2"
        )
    shapes = {np.asarray(part).shape for part in (*arm.values(), *reference.values())}
    if len(shapes) > 1:
        raise ValueError(f"outcomes of shapes {sorted(shapes)}: give the same seeds and problems")
    seeds, problems = next(iter(shapes))
    by_seed = seed_weights(seeds, draws, seed)
    by_problem = problem_weights(problems, draws, seed + 1)
    curve = np.stack([np.asarray(arm[size], float).mean() for size in sizes])[None]
    drawn = np.stack(
        [crossed_draws(np.asarray(arm[n], float), by_seed, by_problem) for n in sizes], axis=1
    )
    last = np.asarray(reference[sizes[-1]], float)
    targets = crossed_draws(last, by_seed, by_problem)
    value = ratios_at(curve, np.array([last.mean()]), sizes)[0]
    found = ratios_at(drawn, targets, sizes)
    interval = Bootstrap(float(value), found, problems).interval()
    # A curve read off at the value itself can fall outside the draws where it is cut off.
    return interval.as_dict() | {
        "low": min(interval.low, float(value)),
        "high": max(interval.high, float(value)),
        "seeds": seeds,
        "reached": float((found < CEILING).mean()),
        "target": float(last.mean()),
    }


def ratios_at(curves: np.ndarray, targets: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Return, for curves (draws, sizes) and targets (draws,), the size reached over the largest.

    Linear over log2(size); the first size where it is reached there already, CEILING where never.
    """
    curves = np.maximum.accumulate(np.asarray(curves, float), axis=1)
    logs = np.log2(np.asarray(sizes, float))
    reached = curves >= targets[:, None] - 1e-12
    place = reached.argmax(1)
    before = np.maximum(place - 1, 0)
    rows = np.arange(len(curves))
    low, high = curves[rows, before], curves[rows, place]
    share = np.divide(targets - low, high - low, out=np.ones(len(rows)), where=high > low)
    at = np.where(place == 0, logs[0], logs[before] + share * (logs[place] - logs[before]))
    return np.where(reached.any(1), 2.0 ** (at - logs[-1]), CEILING)
