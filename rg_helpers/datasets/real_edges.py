"""Which drawn graph is right on real text? Edges between lines, as the annotations give them.

Measured on reference solutions that neither the reader nor any fitted choice has seen. An operand
from the question has no annotated edge, so only earlier *lines* are sources here. A line's sources
are compared with each other (`within_line_auc`), since some lines have many and others few, and
once more with pairs at the same places of other solutions (`matched_auc`), where knowing that a
line mostly follows the one before it is worth nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rg_helpers.edge_recovery import Candidates
from rg_helpers.error_prediction.fit_traces import FitTraces
from rg_helpers.error_prediction.graph_blocks import graph_block
from rg_helpers.graphs.controls import previous_step_graph, random_graph
from rg_helpers.graphs.method import FitData
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.statistics import DRAWS, bootstrap_auroc, cluster_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

MEANINGS = {
    "within_line_auc": "how often an annotated source outweighs another line before the same line",
    "matched_auc": "the same among pairs at the same places of different solutions",
}


def recover_annotated_edges(
    references: FitData,
    fit: FitTraces,
    methods: Sequence[str],
    model: PreTrainedModel | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
    *,
    folder: Path | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Return one row a method, and those of two controls, on references that `fit` does not hold.

    Controls are the chain of lines and random weights; what cannot be compared is None. Raises
    `ValueError` where `fit` leaves fewer than two problems.
    """
    pairs = [
        (trace, graph)
        for trace, graph in zip(references.traces, references.gold, strict=True)
        if trace.problem_id not in fit.problem_ids
    ]
    if len(pairs) < 2:
        raise ValueError(
            f"{len(pairs)} annotated solutions are left beside the {len(fit.data.traces)} that "
            "graphs are fitted on: give more problems, or fit on fewer"
        )
    traces, gold = [trace for trace, _ in pairs], [graph for _, graph in pairs]
    candidates = Candidates.of(gold, [trace.problem_id for trace in traces])
    weights = cluster_weights(candidates.problems, draws, seed)

    def row(name: str, graphs: Sequence[StepGraph], choice: str = "") -> dict[str, Any]:
        scores = candidates.scores([graph.weights for graph in graphs])
        return {"name": name, "choice": choice, **_figures(scores, candidates, weights)}

    rows = []
    for name in methods:
        block = graph_block(
            traces, name, model, tokenizer, fit, folder=folder, progress=progress
        )  # fmt: skip
        rows.append(row(name, block.graphs, block.choice))
    rows.append(row("previous_step", [previous_step_graph(graph) for graph in gold]))
    rows.append(row("random", [random_graph(graph, seed) for graph in gold], f"seed {seed}"))
    written = ~candidates.from_prompt
    return {
        "solutions": len(traces),
        "pairs": int(written.sum()),
        "edges": int(candidates.labels[written].sum()),
        "meanings": MEANINGS,
        "rows": rows,
    }


def _figures(scores: np.ndarray, candidates: Candidates, weights: np.ndarray) -> dict[str, Any]:
    """Return both areas over pairs of lines; question and premises are no annotated sources."""
    lines = ~candidates.from_prompt
    found = {}
    for name, strata in (
        ("within_line_auc", candidates.rows),
        ("matched_auc", candidates.position),
    ):
        chosen = (one[lines] for one in (scores, candidates.labels, candidates.clusters))
        try:
            measured = bootstrap_auroc(*chosen, weights, strata[lines])
            found[name] = measured.interval().as_dict()
        except ValueError:  # no line, or no place, has both a source and another line
            found[name] = None
    return found
