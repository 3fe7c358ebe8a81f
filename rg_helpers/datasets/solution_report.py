"""Do graphs tell which of real models' solutions are wrong? The default report, on GSM8K.

Heads and clusters are fitted on reference solutions of training problems that a reader trained here
has not read, whose edges the calculator annotations give, so all solutions are scored. Several
models wrote the solutions, and some are right far more often than others: whoever recognises the
writer predicts errors without reading a step. So everything is compared once more among the
solutions of one writer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rg_helpers.datasets.annotations import graph_grade, read_annotated_lines, solution_graph
from rg_helpers.datasets.model_solutions import WRITER
from rg_helpers.datasets.reader import ONE_IN, held_out, reference_trace
from rg_helpers.datasets.word_problems import WordProblem
from rg_helpers.error_prediction.entrants import (
    baseline_entrants,
    graph_entrants,
    graph_sources,
    title,
)
from rg_helpers.error_prediction.evaluation import Entrant, evaluate, increments
from rg_helpers.error_prediction.fit_traces import FitTraces
from rg_helpers.error_prediction.inputs import Inputs
from rg_helpers.error_prediction.predictors import logistic
from rg_helpers.error_prediction.protocol import grouped_folds
from rg_helpers.error_prediction.report import Settings
from rg_helpers.error_prediction.stacked import Stacked, stack_rows
from rg_helpers.graphs.methods import FitData
from rg_helpers.statistics import bootstrap_auroc, cluster_numbers, cluster_weights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WRITERS, KNOWN = "writer", "writer_and_numbers"
INCREMENT = f"{KNOWN}_graphs"
TITLES = {
    WRITERS: "who wrote the solution",
    KNOWN: "writer + all numbers + self-consistency",
    INCREMENT: "the same + all graphs",
}


def annotated_references(
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[WordProblem],
    without: Collection[str] = (),
) -> FitData:
    """Return held-out reference solutions with gold annotated graphs, in the order of their ids.

    Problems whose id is in `without` are left out, and so are graphs without an edge. Raises
    `ValueError` if there are none.
    """
    traces, graphs = [], []
    for problem in sorted(problems, key=lambda one: one.problem_id):
        if not held_out(problem) or problem.problem_id in without:
            continue
        lines = read_annotated_lines(problem.lines, problem.question)
        if graph_grade(lines) != "gold" or not any(line.edges for line in lines):
            continue
        trace = reference_trace(tokenizer, problem)
        graph = solution_graph(trace, problem)
        if graph is not None:
            traces.append(trace)
            graphs.append(graph)
    if not traces:
        raise ValueError(
            f"none of {len(problems)} problems can be fitted on: one in {ONE_IN} is held out, and "
            "its annotations must name edges; give GSM8K's train.jsonl"
        )
    return FitData(tuple(traces), tuple(graphs))


def annotated_fit(references: FitData, count: int = 100) -> FitTraces:
    """Return the first `count` annotated references as what graph methods are fitted on."""
    data = references.first(count)
    origin = f"reference solutions of {len(data.traces)} held-out problems with annotated edges"
    return FitTraces(data, True, origin)


def writer_report(inputs: Inputs, settings: Settings, progress: bool = True) -> dict[str, Any]:
    """Return how well entrants do among the solutions of one writer, and what graphs add to it.

    `rows` hold AUROC over all pairs and `within_writer_auc`, over pairs of one writer and of one
    held-out fold (predictors of two folds differ in their level, which says nothing of a pair);
    `increments` hold what all graphs add to knowing writer, numbers and self-consistency. Raises
    `ValueError` for traces without the column `writer`.
    """
    traces = inputs.traces
    names = [trace.extra.get(WRITER) for trace in traces.traces]
    if None in names:
        raise ValueError(
            f"{names.count(None)} of {len(names)} traces have no column {WRITER}: name the model "
            "that wrote each, or leave this part out"
        )
    wrong, ids = traces.target(settings.target), traces.problem_ids
    writers = cluster_numbers(names)
    entrants = _entrants(inputs, writers, settings.seed)
    measured = evaluate(
        entrants,
        wrong,
        ids,
        folds=settings.folds,
        draws=settings.side_draws,
        seed=settings.seed,
        progress=progress,
    )
    problems = cluster_numbers(ids)
    weights = cluster_weights(int(problems.max()) + 1, settings.side_draws, settings.seed)
    fold = grouped_folds(wrong, problems, settings.folds, settings.seed)
    strata = writers * settings.folds + fold
    rows = []
    for name, one in measured.items():
        within = bootstrap_auroc(one.scores, wrong, problems, weights, strata)
        rows.append(
            {
                "name": name,
                "title": TITLES.get(name) or title(name),
                "kind": one.entrant.kind,
                "auroc": one.quality.auroc.interval().as_dict(),
                "within_writer_auc": within.interval().as_dict(),
            }
        )
    return {
        "writers": [
            {"name": name, "traces": names.count(name), "wrong": float(wrong[writers == n].mean())}
            for n, name in enumerate(dict.fromkeys(names))
        ],
        "rows": rows,
        "increments": increments(measured, settings.margin),
    }


def _entrants(inputs: Inputs, writers: np.ndarray, seed: int) -> list[Entrant]:
    """Return the writer alone, the few entrants that are shown, and the stacks with the writer."""
    who = np.eye(int(writers.max()) + 1)[writers]
    wanted = ["length", "all_baselines", "self_consistency", "lexical", "probe"]
    wanted += [*(f"{name}_logistic" for name in inputs.blocks), "graphs_logistic"]
    offered = {e.name: e for e in (*baseline_entrants(inputs, seed), *graph_entrants(inputs, seed))}
    known = [(who, logistic()), (inputs.numbers.values, logistic())]
    if inputs.disagreement is not None:
        known.append((inputs.disagreement[:, None], logistic()))
    graphs = [one for name in inputs.blocks for one in graph_sources(inputs, name, seed)]
    problems = cluster_numbers(inputs.traces.problem_ids)

    def stack(name: str, kind: str, sources: Sequence[tuple], over: str | None = None) -> Entrant:
        rows = stack_rows(problems, *(values for values, _ in sources))
        return Entrant(name, kind, rows, Stacked([p for _, p in sources], seed=seed), over)

    return [
        Entrant(WRITERS, "baseline", who, logistic()),
        *(offered[name] for name in wanted if name in offered),
        stack(KNOWN, "baseline", known),
        stack(INCREMENT, "increment", [*known, *graphs], KNOWN),
    ]
