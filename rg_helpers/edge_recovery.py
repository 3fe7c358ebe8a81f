"""Edge recovery: do the heavy edges of a drawn graph lie where the gold graph has edges?

Every pair (target, source) with an earlier source and a step or the answer as target is a
candidate; those joined by a gold edge are the positives. The score is the edge weight, and more
weight always means "rather an edge": the direction is never fitted. What is fitted (the head, the
threshold, the position-only table) is fitted on other problems than those measured. Intervals come
from the cluster bootstrap over problems, since the edges of one problem are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import rankdata

from rg_helpers.graphs.controls import (
    PositionOnly,
    places,
    previous_step_graph,
    random_graph,
    rewired_graph,
)
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.statistics import (
    DRAWS,
    Bootstrap,
    bootstrap_auroc,
    bootstrap_average_precision,
    bootstrap_mean,
    bootstrap_ratio,
    cluster_numbers,
    cluster_weights,
    holm,
)

PRECISION_DRAWS = 2000  # average precision costs ten times an AUROC, and 2,000 draws suffice
MOST_HEADS = 4  # of `attention_few`
METRICS = ("auroc", "ap", "f1", "row_auroc", "matched_auroc", "prompt_auroc", "step_auroc")
WRITTEN_KINDS = ("step", "answer")


@dataclass(frozen=True, eq=False)
class Candidates:
    """All candidate edges of many graphs, one entry a pair; arrays are (pairs,).

    `graphs`, `targets` and `sources` say which entry of which weight matrix a pair is, `labels`
    whether gold has that edge, `rows` numbers the target nodes, `clusters` the problems, and
    `from_prompt` tells premise or question -> step from step -> step, and pairs of equal `position`
    join nodes of the same kinds at the same places of prompt and solution. Targets without any
    gold parent are left out: about them nothing is known.
    """

    graphs: np.ndarray
    targets: np.ndarray
    sources: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    clusters: np.ndarray
    from_prompt: np.ndarray
    position: np.ndarray
    problems: int
    gold_graphs: int

    @staticmethod
    def of(gold: Sequence[StepGraph], problem_ids: Sequence[str]) -> Candidates:
        """List the candidates of gold graphs; graphs with one problem id form one cluster."""
        if len(gold) != len(problem_ids):
            raise ValueError(
                f"{len(gold)} graphs but {len(problem_ids)} problem ids: give one each"
            )
        clusters = cluster_numbers(problem_ids)
        found, row = [], 0
        positions: dict[tuple[str, str, int, int], int] = {}
        for number, graph in enumerate(gold):
            kinds, place = graph.kinds, places(graph.kinds)
            for target, kind in enumerate(kinds):
                edges = graph.weights[target, :target] > 0
                if kind not in WRITTEN_KINDS or not edges.any():
                    continue
                for source in range(target):
                    where = (kind, kinds[source], place[target], place[source])
                    found.append(
                        (
                            number,
                            target,
                            source,
                            edges[source],
                            row,
                            clusters[number],
                            kinds[source] not in WRITTEN_KINDS,
                            positions.setdefault(where, len(positions)),
                        )
                    )
                row += 1
        if not found:
            raise ValueError(
                f"no candidate edge in {len(gold)} gold graphs: they need steps with parents"
            )
        columns = np.array(found, dtype=np.int64).T
        return Candidates(
            graphs=columns[0],
            targets=columns[1],
            sources=columns[2],
            labels=columns[3].astype(bool),
            rows=columns[4],
            clusters=columns[5],
            from_prompt=columns[6].astype(bool),
            position=columns[7],
            problems=int(clusters.max()) + 1,
            gold_graphs=len(gold),
        )

    def scores(self, weights: Sequence[np.ndarray]) -> np.ndarray:
        """Read one score a pair: (..., nodes, nodes) per graph gives (..., pairs), float32."""
        if len(weights) != self.gold_graphs:
            raise ValueError(f"{len(weights)} weight matrices for {self.gold_graphs} gold graphs")
        counts = np.bincount(self.graphs, minlength=self.gold_graphs)
        parts, first = [], 0
        for matrix, count in zip(weights, counts, strict=True):
            part = slice(first, first + count)
            parts.append(matrix[..., self.targets[part], self.sources[part]])
            first += count
        return np.concatenate(parts, axis=-1)

    @cached_property
    def base_rate(self) -> float:
        """Share of candidates that are gold edges: the average precision of a random order."""
        return float(self.labels.mean())


@dataclass(frozen=True)
class Recovery:
    """How well one way of drawing graphs recovers gold, each metric with its bootstrap draws.

    `auroc`, `ap` and `f1` pool all pairs; `row_auroc` is the mean over targets of the AUROC within
    the target's own sources; `matched_auroc` compares only pairs at the same position in different
    problems, where no score that knows positions alone can beat 0.5; `prompt_auroc` and
    `step_auroc` look at premise -> step and at step -> step pairs alone.
    """

    method: str
    choice: str
    threshold: float
    auroc: Bootstrap
    ap: Bootstrap
    f1: Bootstrap
    row_auroc: Bootstrap
    matched_auroc: Bootstrap
    prompt_auroc: Bootstrap
    step_auroc: Bootstrap

    def as_dict(self) -> dict[str, Any]:
        """Return method, choice, threshold and every metric's interval for JSON."""
        plain: dict[str, Any] = {"choice": self.choice, "threshold": self.threshold}
        return plain | {name: getattr(self, name).interval().as_dict() for name in METRICS}


@dataclass(frozen=True)
class GraphSet:
    """Gold graphs, the model's attention masses (layers, heads, nodes, nodes) and problem ids."""

    gold: Sequence[StepGraph]
    masses: Sequence[np.ndarray]
    problem_ids: Sequence[str]

    @cached_property
    def candidates(self) -> Candidates:
        """The candidate edges of these graphs."""
        return Candidates.of(self.gold, self.problem_ids)

    @cached_property
    def heads(self) -> np.ndarray:
        """Every head's scores with rows normalised: float32 (layers, heads, pairs)."""
        return self.candidates.scores([normalise_rows(mass) for mass in self.masses])


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the area under the ROC curve: how often a positive outscores a negative."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        raise ValueError(f"{positives} of {len(labels)} pairs are edges: both classes are needed")
    ranks = rankdata(scores)[labels].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def best_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the threshold with the highest F1 of "score >= threshold" over all pairs."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    hits = np.cumsum(labels[order])
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + labels.sum())
    last_of_ties = np.append(ranked[1:] != ranked[:-1], True)
    return float(ranked[np.argmax(np.where(last_of_ties, f1, -1))])


def best_heads(fit: GraphSet, most: int = 1) -> list[tuple[int, int]]:
    """Return the (layer, head) pairs whose average recovers `fit` best, the best head first.

    Heads are added one by one, each time the one that raises the pooled AUROC most, until `most`
    are chosen or none raises it: one head may read premises and another one earlier steps. Draw
    their graph with `attention_graph(trace, mass, heads, sink="drop")`.
    """
    layers, heads = fit.heads.shape[:2]
    left = [(layer, head) for layer in range(layers) for head in range(heads)]
    chosen: list[tuple[int, int]] = []
    total, reached = np.zeros(fit.heads.shape[-1]), 0.0
    while left and len(chosen) < most:
        values = [auroc(total + fit.heads[pair], fit.candidates.labels) for pair in left]
        if max(values) <= reached:
            break
        reached = max(values)
        chosen.append(left.pop(values.index(reached)))
        total += fit.heads[chosen[-1]]
    return chosen


def measure_recovery(
    scores: np.ndarray,
    candidates: Candidates,
    threshold: float,
    weights: np.ndarray,
    method: str,
    choice: str = "",
) -> Recovery:
    """Measure scores (pairs,) on candidates; `threshold` must come from other problems.

    `weights` (draws, problems) are those of `statistics.cluster_weights`; pass the same ones for
    every method, so that differences are paired.
    """
    labels, clusters = candidates.labels, candidates.clusters
    few = weights[:PRECISION_DRAWS]
    predicted = scores >= threshold
    row_values, row_clusters = _row_aurocs(scores, candidates)

    def within(chosen: np.ndarray) -> Bootstrap:
        return bootstrap_auroc(scores[chosen], labels[chosen], clusters[chosen], weights)

    return Recovery(
        method=method,
        choice=choice,
        threshold=threshold,
        auroc=bootstrap_auroc(scores, labels, clusters, weights),
        ap=bootstrap_average_precision(scores, labels, clusters, few),
        f1=bootstrap_ratio(
            2.0 * (predicted & labels), predicted.astype(float) + labels, clusters, weights
        ),
        row_auroc=bootstrap_mean(row_values, row_clusters, weights),
        matched_auroc=bootstrap_auroc(scores, labels, clusters, weights, candidates.position),
        prompt_auroc=within(candidates.from_prompt),
        step_auroc=within(~candidates.from_prompt),
    )


def compare_with_controls(
    fit: GraphSet, test: GraphSet, draws: int = DRAWS, seed: int = 0
) -> dict[str, Recovery]:
    """Measure attention graphs and their controls on `test`, all choices made on `fit`.

    Methods: `attention` (the one head that is best on `fit`), `attention_few` (the average of up
    to four heads, chosen there too), `attention_mean` and `attention_max` over all layers and
    heads; `previous_step`, `position_only`, `random`, and `rewired` (the best head's graph with
    the same row and column sums). Pooled over targets, even random weights come out a little above
    0.5, since rows sum to one and early targets have fewer sources; `row_auroc` is free of that.
    Raises `ValueError` if a problem is on both sides.
    """
    both = set(fit.problem_ids) & set(test.problem_ids)
    if both:
        raise ValueError(
            f"{len(both)} problem(s) stand in fit and in test, for example {sorted(both)[0]}: "
            "choices must be made on other problems than those measured"
        )
    few = best_heads(fit, most=MOST_HEADS)
    layer, head = few[0]
    weights = cluster_weights(test.candidates.problems, draws, seed)

    def measured(name: str, choice: str, score: Callable[[GraphSet], np.ndarray]) -> Recovery:
        threshold = best_threshold(score(fit), fit.candidates.labels)
        return measure_recovery(
            score(test), test.candidates, threshold, weights, name.replace("_", " "), choice
        )

    def drawn(draw: Callable[[StepGraph], StepGraph]) -> Callable[[GraphSet], np.ndarray]:
        return lambda side: side.candidates.scores([draw(graph).weights for graph in side.gold])

    def reduced(reduce: Callable[..., np.ndarray]) -> Callable[[GraphSet], np.ndarray]:
        return lambda side: side.candidates.scores(
            [normalise_rows(reduce(mass, axis=(0, 1))) for mass in side.masses]
        )

    def rewired(side: GraphSet) -> np.ndarray:
        graphs = []
        for gold, mass in zip(side.gold, side.masses, strict=True):
            weights = normalise_rows(mass[layer, head])
            graph = StepGraph(weights, gold.kinds, gold.texts, "attention", "", gold.trace_id)
            graphs.append(rewired_graph(graph, seed, keep="strength").weights)
        return side.candidates.scores(graphs)

    position = PositionOnly.fit(fit.gold)
    where = f"layer {layer} head {head}"
    over = f"{len(test.heads)} layers x {test.heads.shape[1]} heads"
    ways = {
        "attention": (f"{where}, best of {len(fit.gold)} other graphs", _average([(layer, head)])),
        "attention_few": (", ".join(f"layer {i} head {j}" for i, j in few), _average(few)),
        "attention_mean": (f"mean over {over}", reduced(np.mean)),
        "attention_max": (f"maximum over {over}", reduced(np.max)),
        "previous_step": ("", drawn(previous_step_graph)),
        "position_only": (f"counted on {len(fit.gold)} other graphs", drawn(position.graph)),
        "random": (f"seed {seed}", drawn(lambda graph: random_graph(graph, seed))),
        "rewired": (f"{where}, same row and column sums", rewired),
    }
    return {name: measured(name, choice, score) for name, (choice, score) in ways.items()}


def differences(
    recoveries: Mapping[str, Recovery], method: str = "attention"
) -> dict[str, dict[str, Any]]:
    """Return the paired AUROC difference of `method` to every other, Holm-corrected p beside it."""
    others = [name for name in recoveries if name != method]
    gaps = [recoveries[method].auroc.minus(recoveries[name].auroc) for name in others]
    corrected = holm([gap.p_value() for gap in gaps])
    return {
        name: {**gap.interval().as_dict(), "p_holm": p}
        for name, gap, p in zip(others, gaps, corrected, strict=True)
    }


def head_table(fit: GraphSet, test: GraphSet, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """Measure every head alone: (layers, heads) lists of AUROC with interval, AP and F1."""
    candidates = test.candidates
    weights = cluster_weights(candidates.problems, draws, seed)
    no_draws = weights[:0]
    table: dict[str, Any] = {name: [] for name in ("auroc", "auroc_low", "auroc_high", "ap", "f1")}
    for layer in range(len(test.heads)):
        rows: dict[str, list[float]] = {name: [] for name in table}
        for head in range(test.heads.shape[1]):
            scores = test.heads[layer, head]
            pairs = scores, candidates.labels, candidates.clusters
            interval = bootstrap_auroc(*pairs, weights).interval()
            least = best_threshold(fit.heads[layer, head], fit.candidates.labels)
            predicted = scores >= least
            rows["auroc"].append(interval.value)
            rows["auroc_low"].append(interval.low)
            rows["auroc_high"].append(interval.high)
            rows["ap"].append(bootstrap_average_precision(*pairs, no_draws).value)
            hits = (predicted & candidates.labels).sum()
            rows["f1"].append(float(2 * hits / (predicted.sum() + candidates.labels.sum())))
        for name, values in rows.items():
            table[name].append(values)
    return table


def _average(heads: Sequence[tuple[int, int]]) -> Callable[[GraphSet], np.ndarray]:
    return lambda side: np.mean([side.heads[pair] for pair in heads], axis=0)


def _row_aurocs(scores: np.ndarray, candidates: Candidates) -> tuple[np.ndarray, np.ndarray]:
    """Return the AUROC among the sources of each target that has both classes, and its cluster."""
    values, clusters = [], []
    bounds = np.flatnonzero(np.diff(candidates.rows)) + 1
    for row in np.split(np.arange(len(scores)), bounds):
        labels = candidates.labels[row]
        if labels.all() or not labels.any():
            continue
        edges, others = scores[row][labels], scores[row][~labels]
        wins = (edges[:, None] > others).mean() + (edges[:, None] == others).mean() / 2
        values.append(wins)
        clusters.append(candidates.clusters[row[0]])
    return np.array(values), np.array(clusters, dtype=np.int64)
