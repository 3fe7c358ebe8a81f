"""Wrong answers to the exercises of notebook 00."""

from __future__ import annotations

import numpy as np
from planted import rejected


@rejected(1, "look at columns, not rows")
def unused_by_rows(weights, kinds):
    """Asks who has no sources instead of whom nobody uses."""
    unused = ~np.asarray(weights).any(axis=1)
    return [i for i, kind in enumerate(kinds) if kind == "premise" and unused[i]]


@rejected(1, "nobody uses the answer either")
def unused_of_any_kind(weights, kinds):
    """Lists every unused node, the answer among them."""
    return [i for i in range(len(kinds)) if not np.asarray(weights)[:, i].any()]


@rejected(1, "node 3 is the question")
def premises_before_the_steps(weights, kinds):
    """Takes everything in the prompt for a premise."""
    return [i for i, kind in enumerate(kinds) if kind not in ("step", "answer")]


@rejected(2, "have no gold parent: leave them out")
def hits_over_all_rows(drawn_weights, gold_weights):
    """Divides by all nodes, those without parents included."""
    heaviest = drawn_weights.argmax(axis=1)
    return float(np.mean([gold_weights[i, j] > 0 for i, j in enumerate(heaviest)]))


@rejected(2, "either of them is a hit")
def hits_on_the_first_parent(drawn_weights, gold_weights):
    """Accepts only the gold graph's own heaviest parent, the first of several."""
    rows = np.flatnonzero(gold_weights.any(axis=1))
    same = drawn_weights.argmax(axis=1) == gold_weights.argmax(axis=1)
    return float(same[rows].mean())


@rejected(2, "is a row a target?")
def hits_by_columns(drawn_weights, gold_weights):
    """Takes the heaviest target of each column."""
    rows = np.flatnonzero(gold_weights.any(axis=1))
    heaviest = drawn_weights.argmax(axis=0)
    return float(np.mean([gold_weights[i, heaviest[i]] > 0 for i in rows]))
