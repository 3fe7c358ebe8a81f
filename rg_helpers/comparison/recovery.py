"""Edge recovery on right and on wrong traces, with paired intervals and the best control.

Four readings of the same graphs: on `right` traces (claimed edges are the true ones), on `wrong`
traces against what their steps claim, and on the wrong steps alone against what they claim
(`wrong_steps_claimed`) and what they needed (`wrong_steps_needed`), on the very same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rg_helpers.comparison.pairs import Pairs
from rg_helpers.comparison.solutions import DIFFICULTIES, Solution
from rg_helpers.edge_recovery import Candidates
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.statistics import (
    Bootstrap,
    bootstrap_auroc,
    bootstrap_average_precision,
    bootstrap_ratio,
    cluster_weights,
)

READINGS = ("right", "wrong", "wrong_steps_claimed", "wrong_steps_needed")
METRICS = ("auroc", "ap", "f1", "matched_auroc", "prompt_auroc", "step_auroc")
BASIC = ("auroc", "ap", "f1")
LEAST_PROBLEMS = 5  # fewer say nothing; the table shows a gap
PRECISION_DRAWS = 300  # average precision costs several times an AUROC


@dataclass(frozen=True, eq=False)
class Reading:
    """One question put to every graph: which traces, which rows, which edges are true.

    `where` (candidates,) says where the candidate edges stand in the flat arrays of `Pairs`.
    """

    name: str
    difficulty: str
    candidates: Candidates
    where: np.ndarray
    weights: np.ndarray  # bootstrap draws over problems, shared by all methods: paired

    @property
    def traces(self) -> int:
        """Number of traces."""
        return self.candidates.gold_graphs


def readings(
    solutions: Sequence[Solution], pairs: Pairs, draws: int, seed: int
) -> dict[tuple[str, str], Reading]:
    """Return the readings (name, difficulty) that enough problems take part in."""
    right = [i for i, solution in enumerate(solutions) if solution.outcome == "right"]
    wrong = [i for i, solution in enumerate(solutions) if solution.outcome == "wrong"]
    claimed = {i: solutions[i].claimed() for i in (*right, *wrong)}
    questions = {("right", "all"): {i: claimed[i] for i in right}}
    questions["wrong", "all"] = {i: claimed[i] for i in wrong}
    for edges in ("claimed", "needed"):
        questions[f"wrong_steps_{edges}", "all"] = {
            i: solutions[i].of_wrong_steps(edges) for i in wrong
        }
    for level in DIFFICULTIES:
        chosen = [i for i in right if solutions[i].difficulty == level]
        questions["right", level] = {i: claimed[i] for i in chosen}
    found = {}
    for key, gold in questions.items():
        reading = _reading(key, gold, solutions, pairs, draws, seed)
        if reading is not None:
            found[key] = reading
    return found


def _reading(
    key: tuple[str, str],
    gold: dict[int, StepGraph],
    solutions: Sequence[Solution],
    pairs: Pairs,
    draws: int,
    seed: int,
) -> Reading | None:
    gold = {i: graph for i, graph in gold.items() if graph.weights.any()}
    names = [solutions[i].problem.problem_id for i in gold]
    if len(set(names)) < LEAST_PROBLEMS:
        return None
    candidates = Candidates.of(list(gold.values()), names)
    if candidates.labels.all():
        return None
    return Reading(
        *key,
        candidates=candidates,
        where=pairs.where(candidates, list(gold)),
        weights=cluster_weights(candidates.problems, draws, seed),
    )


def measure(
    weights: np.ndarray, reading: Reading, threshold: float, metrics: Sequence[str] = METRICS
) -> dict[str, Bootstrap]:
    """Measure a graph's flat weights (pairs,) on a reading; names are those of `edge_recovery`.

    `threshold` must come from other problems. A metric that has nothing to compare (no step ->
    step edge, say) is absent from the result.
    """
    scores, candidates = weights[reading.where], reading.candidates
    labels, clusters = candidates.labels, candidates.clusters
    predicted = scores >= threshold

    def within(chosen: np.ndarray) -> Bootstrap:
        return bootstrap_auroc(scores[chosen], labels[chosen], clusters[chosen], reading.weights)

    ways = {
        "auroc": lambda: bootstrap_auroc(scores, labels, clusters, reading.weights),
        "ap": lambda: bootstrap_average_precision(
            scores, labels, clusters, reading.weights[:PRECISION_DRAWS]
        ),
        "f1": lambda: bootstrap_ratio(
            2.0 * (predicted & labels), predicted.astype(float) + labels, clusters, reading.weights
        ),
        "matched_auroc": lambda: bootstrap_auroc(
            scores, labels, clusters, reading.weights, candidates.position
        ),
        "prompt_auroc": lambda: within(candidates.from_prompt),
        "step_auroc": lambda: within(~candidates.from_prompt),
    }
    return {name: ways[name]() for name in metrics if _asks(name, candidates)}


def _asks(metric: str, candidates: Candidates) -> bool:
    """Say whether there is an edge and a non-edge to tell apart."""
    labels = candidates.labels
    if metric == "matched_auroc":
        pairs = np.bincount(candidates.position)
        edges = np.bincount(candidates.position, labels)
        return bool(((edges > 0) & (edges < pairs)).any())
    if metric in ("prompt_auroc", "step_auroc"):
        labels = labels[candidates.from_prompt == (metric == "prompt_auroc")]
    return bool(labels.any() and not labels.all())
