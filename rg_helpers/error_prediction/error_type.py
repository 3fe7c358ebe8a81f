"""What kind of error a wrong step is, and what the graph shows about it, in a sentence.

The kind is predicted at the step where the checker says the first error is, so the question is
"what went wrong here?", not "where?". The sentence needs no checker: what the step looks at comes
from the model's graph, what it ought to look at from the words of the premises and steps before it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import StratifiedGroupKFold

from rg_helpers.error_prediction.protocol import check_no_leak
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.statistics import (
    Bootstrap,
    bootstrap_ratio,
    cluster_numbers,
    cluster_weights,
)

LEAST_PROBLEMS = 10  # of an error type; a rarer one cannot be told from noise
_NAME = re.compile(r"\b[A-Z][a-z]+\b|\bL\d+\b")


def classify_errors(
    rows: np.ndarray,
    types: Sequence[str],
    problem_ids: Sequence[str],
    predictor: BaseEstimator,
    folds: int = 5,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Predict the error type of wrong steps (traces, columns), by cross-validation over problems.

    Returns `balanced_accuracy` (the mean of all recalls, with interval; guessing gets `chance`),
    `accuracy` and the share of the commonest type, `recall` and `n` a type, `confusion`
    {true: {predicted: count}}, and the types `left_out` because fewer than ten problems have them.
    Raises `ValueError` if fewer than two types are left.
    """
    types, problem_ids = np.asarray(types), np.asarray(problem_ids)
    met = {name: len(set(problem_ids[types == name])) for name in np.unique(types).tolist()}
    kept = [name for name, count in met.items() if count >= max(LEAST_PROBLEMS, folds)]
    if len(kept) < 2:
        raise ValueError(
            f"problems with each error type: {met}; at least two types of {LEAST_PROBLEMS} "
            "problems are needed: give more traces"
        )
    inside = np.isin(types, kept)
    rows, types, problem_ids = rows[inside], types[inside], problem_ids[inside]
    problems = cluster_numbers(problem_ids)
    named = np.empty(len(types), dtype=types.dtype)
    fold = np.empty(len(types), dtype=int)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for number, (fit, test) in enumerate(splitter.split(rows, types, problems)):
        fold[test] = number
        named[test] = clone(predictor).fit(rows[fit], types[fit]).predict(rows[test])
    check_no_leak(problems, fold)
    weights = cluster_weights(int(problems.max()) + 1, draws, seed)
    hit = named == types
    recalls = [bootstrap_ratio(hit & (types == n), types == n, problems, weights) for n in kept]
    balanced = Bootstrap(
        float(np.mean([recall.value for recall in recalls])),
        np.mean([recall.draws for recall in recalls], axis=0),
        int(problems.max()) + 1,
    )
    common = Counter(types.tolist()).most_common(1)[0][1]
    return {
        "balanced_accuracy": balanced.interval().as_dict(),
        "chance": 1 / len(kept),
        "accuracy": float(hit.mean()),
        "commonest": common / len(types),
        "recall": {name: float(recall.value) for name, recall in zip(kept, recalls, strict=True)},
        "n": {name: int((types == name).sum()) for name in kept},
        "confusion": {str(name): dict(Counter(named[types == name].tolist())) for name in kept},
        "left_out": {str(name): count for name, count in met.items() if name not in kept},
    }


def evidence_sentence(graph: StepGraph, words: StepGraph, step: int) -> str:
    """Say what a step looks at and what its own words point to: "step 5 attends to Gus, ...".

    `graph` is drawn from the model, `words` is the text graph of the same trace; `step` counts
    written nodes from 0 (the sentence counts from 1). Nothing of the checker is read. Raises
    `ValueError` for graphs of different nodes or a step that does not exist.
    """
    if graph.kinds != words.kinds or graph.texts != words.texts:
        raise ValueError(f"graphs of {graph.trace_id!r} and {words.trace_id!r} differ in nodes")
    given = sum(kind in ("premise", "question") for kind in graph.kinds)
    node = given + step
    if not given <= node < len(graph):
        raise ValueError(f"step {step} of a trace with {len(graph) - given} written steps")
    verb = "attends to" if graph.method.startswith("attention") else "leans on"
    seen, asked = strongest_source(graph, node), strongest_source(words, node)
    start = f"step {step + 1} ({graph.texts[node]!r})"
    if seen is None:
        return f"{start} has no source in the {graph.method} graph"
    looked = f"{start} {verb} {_called(graph, seen, given)}"
    if asked is None:
        return f"{looked}; its words point to nothing before it"
    if seen == asked:
        return f"{looked}, and its words point there too"
    a, b = _called(graph, seen, given), _called(graph, asked, given)
    owner_a, owner_b = _owner(graph.texts[seen]), _owner(graph.texts[asked])
    short = f": {verb} {owner_a}, needs {owner_b}" if owner_a and owner_b != owner_a else ""
    return f"{start} {verb} {a} while its words point to {b}{short if owner_b else ''}"


def checker_sentence(detail: str, ignored: str | None, used: str | None) -> str:
    """Say what the checker knows of a wrong step; always marked as the checker's word."""
    said = f"checker: {detail}" if detail else "checker: no detail"
    if ignored:
        said += f"; passes over {ignored!r}"
    if used:
        said += f"; reads {used!r}"
    return said


def strongest_source(graph: StepGraph, node: int) -> int | None:
    """Return the source with most weight (ties: the later one), or None where there is none."""
    row = graph.weights[node, :node]
    if not len(row) or row.max() <= 0:
        return None
    return int(len(row) - 1 - row[::-1].argmax())


def _called(graph: StepGraph, node: int, given: int) -> str:
    kind = graph.kinds[node]
    name = f"{kind} {node + 1}" if kind == "premise" else kind
    if node >= given:
        name = f"step {node - given + 1}"
    return f"{name} ({graph.texts[node]!r})"


def _owner(text: str) -> str | None:
    """Return what a line is about: its first name or line label."""
    found = _NAME.search(text)
    return found[0] if found else None
