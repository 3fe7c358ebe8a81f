"""Where a solution first goes wrong and how, by what is known of every step.

The blocks are compared on the same traces: confidence, each graph method, the words alone, hidden
states, and all of them. Two rows need no training worth the name: the step's place, and `none`,
which never names a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from rg_helpers.error_prediction.error_type import (
    checker_sentence,
    classify_errors,
    evidence_sentence,
)
from rg_helpers.error_prediction.first_wrong_step import (
    NONE,
    Located,
    describe_rules,
    locate,
    location_quality,
)
from rg_helpers.error_prediction.graph_columns import agreement_tables
from rg_helpers.error_prediction.inputs import TEXT, Inputs
from rg_helpers.error_prediction.side_by_side import side_by_side
from rg_helpers.error_prediction.step_numbers import ROW_NUMBERS, written
from rg_helpers.problems import check_solution

EXAMPLES = 6


def step_blocks(inputs: Inputs) -> dict[str, list[np.ndarray]]:
    """Return what every block knows of every step: one array (steps, columns) a trace.

    Of a graph method it is the numbers of the graph itself and how far it agrees with the text
    graph. Every block also holds the step's place, and how each number differs from its mean over
    the steps before.
    """
    count = len(inputs)
    own: dict[str, list[np.ndarray]] = {}
    if inputs.confidence:
        own["confidence"] = list(inputs.confidence)
    size = len(ROW_NUMBERS)
    agreeing = agreement_tables(inputs.blocks, TEXT) if len(inputs.blocks) > 1 else None
    for name, block in inputs.blocks.items():
        tables = [
            written(table[:, :size], graph.kinds)
            for table, graph in zip(block.tables, block.graphs, strict=True)
        ]
        if name == TEXT:
            tables = [np.hstack(pair) for pair in zip(tables, inputs.step_text, strict=True)]
        elif agreeing is not None:
            place = [other for other in inputs.blocks if other != TEXT].index(name)
            tables = [
                np.hstack([table, both[:, place : place + 1]])
                for table, both in zip(tables, agreeing, strict=True)
            ]
        own[f"{name}_graph"] = tables
    graphs = [name for name in own if name.endswith("_graph")]
    blocks = {"place": [np.zeros((len(t), 0), np.float32) for t in inputs.step_text]} | own
    if len(graphs) > 1:
        blocks["all_graphs"] = [np.hstack([own[g][i] for g in graphs]) for i in range(count)]
    blocks = {name: [with_context(table) for table in tables] for name, tables in blocks.items()}
    if inputs.step_states:
        blocks["states"] = [
            np.hstack([with_context(np.zeros((len(s), 0), np.float32)), s])
            for s in inputs.step_states
        ]
    parts = [
        name for name in ("confidence", "all_graphs", "text_graph", "states") if name in blocks
    ]
    if "all_graphs" in parts:
        parts.remove("text_graph")  # it is one of them
    if len(parts) > 1:
        blocks["everything"] = [np.hstack([blocks[p][i] for p in parts]) for i in range(count)]
    return blocks


def with_context(table: np.ndarray) -> np.ndarray:
    """Add every step's place, and its numbers' difference to their mean over the steps before.

    Only what stands before a step is used, so the risk could be told while it is being written.
    """
    steps = len(table)
    place = np.arange(steps, dtype=np.float32)[:, None]
    before = np.cumsum(table, axis=0) - table
    mean = before / np.maximum(place, 1)
    change = np.where(place > 0, table - mean, 0)
    return np.hstack([place, table, change]).astype(np.float32)


def first_wrong_steps(
    inputs: Inputs, folds: int = 5, draws: int = 2000, seed: int = 0, jobs: int = 1
) -> dict[str, Any]:
    """Return, for every block, F1 with its parts and intervals, and sentences on some errors.

    Traces whose first wrong step is not known (one's own labels without steps) are left out; a
    solution counts as right here if every step is, whatever its answer. Raises `ValueError` if
    fewer than two folds of either class are left.
    """
    labels = inputs.traces.labels
    known = np.array([la.flawed is False or la.first_wrong_step is not None for la in labels], bool)
    if not known.any():
        raise ValueError("no trace says which step is its first wrong one")
    mine = inputs.where(known)
    first = np.array(
        [NONE if la.first_wrong_step is None else la.first_wrong_step for la in mine.traces.labels]
    )
    ids = mine.traces.problem_ids.tolist()
    never = location_quality(np.full(len(first), NONE), first, ids, draws, seed)
    rows = [{"name": "none", **never.as_dict(), "rules": None}]
    blocks = step_blocks(mine)
    calls = [(tables, first, ids, _boosting(seed), folds, seed) for tables in blocks.values()]
    located: Located | None = None
    for name, located in zip(blocks, side_by_side(locate, calls, jobs), strict=True):
        quality = location_quality(located.steps, first, ids, draws, seed)
        rows.append({"name": name, **quality.as_dict(), "rules": describe_rules(located.rules)})
    return {
        "traces": len(first),
        "wrong": int((first != NONE).sum()),
        "rows": rows,
        "examples": _examples(mine, located, first) if located else [],
    }


def error_types(
    inputs: Inputs, folds: int = 5, draws: int = 2000, seed: int = 0, jobs: int = 1
) -> dict[str, Any]:
    """Return how well the type of the checker's first wrong step is told, block by block."""
    labels = inputs.traces.labels
    known = np.array(
        [la.error_type is not None and la.first_wrong_step is not None for la in labels]
    )
    if not known.any():
        raise ValueError("no trace says what kind of error its first wrong step is")
    mine = inputs.where(known)
    first = [la.first_wrong_step for la in mine.traces.labels]
    types = [la.error_type for la in mine.traces.labels]
    ids = mine.traces.problem_ids.tolist()
    found: dict[str, Any] = {"given": "the checker's first wrong step"}
    blocks = step_blocks(mine)
    rows = [
        np.stack([table[step] for table, step in zip(tables, first, strict=True)])
        for tables in blocks.values()
    ]
    calls = [(own, types, ids, _boosting(seed), folds, draws, seed) for own in rows]
    results = side_by_side(classify_errors, calls, jobs)
    found["rows"] = [{"name": n, **result} for n, result in zip(blocks, results, strict=True)]
    return found


def _examples(inputs: Inputs, located: Located, first: np.ndarray) -> list[dict[str, Any]]:
    """Return sentences on the first few steps that were named, the checker's word kept apart."""
    named = np.flatnonzero(located.steps != NONE)[:EXAMPLES]
    block = next(iter(inputs.blocks.values()))
    words = inputs.blocks[TEXT]
    rows = []
    for index in named:
        step, trace = int(located.steps[index]), inputs.traces.traces[index]
        row: dict[str, Any] = {
            "trace_id": trace.trace_id,
            "step": step,
            "risk": float(located.risks[index][step]),
            "evidence": evidence_sentence(block.graphs[index], words.graphs[index], step),
            "first_wrong_step": int(first[index]),
        }
        if inputs.traces.has_problems and first[index] != NONE:
            row["checker"] = _checkers_word(inputs, int(index), int(first[index]))
        rows.append(row)
    return rows


def _checkers_word(inputs: Inputs, index: int, step: int) -> str:
    alone = inputs.traces.where([index])
    trace, problem = alone.traces[0], alone.problems()[0]
    checked = check_solution(problem, trace.solution).steps
    if step >= len(checked):
        return checker_sentence("", None, None)
    judged, texts = checked[step], trace.texts

    def said(node: int | None) -> str | None:
        return texts[node] if node is not None and node < len(texts) else None

    return checker_sentence(
        f"{judged.verdict}. {judged.detail}".strip(), said(judged.ignored), said(judged.used)
    )


def _boosting(seed: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=80, max_leaf_nodes=8, learning_rate=0.08, l2_regularization=1.0, random_state=seed
    )


BLOCK_TITLES: Mapping[str, str] = {
    "none": "never names a step",
    "place": "the step's place alone",
    "confidence": "log-probability and entropy",
    "states": "hidden state of the step",
    "all_graphs": "all graphs",
    "everything": "everything",
}
