"""What a trained model is asked: solutions of every test cell, and graphs of gold solutions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata

from rg_helpers.edge_recovery import GraphSet, auroc, best_heads
from rg_helpers.experiment.place import BATCH
from rg_helpers.experiment.plan import Cell, Recipe
from rg_helpers.experiment.problem_sets import cell_problems, families_asked
from rg_helpers.graphs.attention import attention_masses
from rg_helpers.graphs.gold import gold_graph
from rg_helpers.graphs.intervention import intervention_scores
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.problems import Problem, check_solution
from rg_helpers.token_scores import score_tokens
from rg_helpers.traces import Trace, gold_trace, sample_traces

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Row = dict[str, Any]


def solution_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    cells: Sequence[Cell],
    family: str,
    recipe: Recipe,
    split: str = "test",
) -> list[Row]:
    """Return one row a test problem: its greedy solution, judged step by step.

    See `judged_row` for what a row holds. All cells are written together, in batches by length.
    """
    asked = [
        (cell.name, other, problem)
        for cell in cells
        for other in families_asked(cell, family)
        for problem in cell_problems(cell, other, split)
    ]
    traces = sample_traces(
        model,
        tokenizer,
        [problem for _, _, problem in asked],
        batch_size=BATCH,
        max_new_tokens=recipe.longest,
        progress=False,
    )
    log_probabilities = written_log_probabilities(model, traces)
    return [
        judged_row(cell, other, problem, trace, log_probability, tokenizer)
        for (cell, other, problem), trace, log_probability in zip(
            asked, traces, log_probabilities, strict=True
        )
    ]


def judged_row(
    cell: str,
    family: str,
    problem: Problem,
    trace: Trace,
    log_probability: float,
    tokenizer: PreTrainedTokenizerFast,
) -> Row:
    """Return what is kept of one solution.

    solved: every step and the answer right. first_error: verdict on the first wrong step, None
    without one. errors: wrong steps by verdict. steps, tokens: written; gold_tokens: of the
    problem's own solution. log_probability: of all written tokens, in nats, at temperature one, so
    that its exponential is the probability the model itself gives to what it wrote.
    """
    checked = check_solution(problem, trace.solution)
    first = checked.first_wrong_step
    verdicts = Counter(step.verdict for step in checked.steps if step.verdict != "right")
    gold = gold_trace(problem, tokenizer)
    return {
        "cell": cell,
        "family": family,
        "problem": problem.problem_id,
        "solved": checked.all_right,
        "answer_right": checked.answer_right,
        "truncated": checked.truncated or not trace.finished,
        "first_error": None if first is None else checked.steps[first].verdict,
        "errors": dict(verdicts),
        "steps": len(checked.steps),
        "tokens": len(trace) - trace.prompt_tokens,
        "gold_tokens": len(gold) - gold.prompt_tokens,
        "log_probability": log_probability,
    }


def written_log_probabilities(model: PreTrainedModel, traces: Sequence[Trace]) -> list[float]:
    """Return the summed log-probability of every solution; an empty one has probability one."""
    scored = [trace for trace in traces if trace.prompt_tokens < len(trace)]
    values = {
        id(trace): float(score.log_probabilities.astype(np.float64).sum())
        for trace, score in zip(scored, score_tokens(model, scored, progress=False), strict=True)
    }
    return [values.get(id(trace), 0.0) for trace in traces]


def graph_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    chosen_on: Sequence[Problem],
    tested: Sequence[Problem],
    supervised: Sequence[tuple[int, int]],
    interventions: int,
) -> list[Row]:
    """Return one row a gold solution: how true the model's graph of it is.

    All AUROCs are means over steps of the AUROC within the step's own sources, gold parents
    against all others. attention: of the one head that is best on `chosen_on` (training problems)
    in this very model. attention_mean: of the mean over all heads. gold_share: mean attention of
    the `supervised` heads on gold parents. Of the first `interventions` solutions also:
    intervention: of the direct effects of cutting a source out; agreement: mean Spearman
    correlation within rows between the attention of that head and those effects.
    """
    fit_traces, fit_gold = _gold(chosen_on, tokenizer)
    ids = [problem.problem_id for problem in chosen_on]
    masses = attention_masses(model, fit_traces, progress=False)
    layer, head = best_heads(GraphSet(fit_gold, masses, ids))[0]
    traces, gold = _gold(tested, tokenizer)
    masses = attention_masses(model, traces, progress=False)
    effects = intervention_scores(model, traces[:interventions], effect="direct", progress=False)
    rows = []
    for place, (problem, graph, mass) in enumerate(zip(tested, gold, masses, strict=True)):
        shares = normalise_rows(mass)
        best = shares[layer, head]
        edges = graph.weights > 0
        row: Row = {
            "problem": problem.problem_id,
            "attention": row_auroc(best, graph),
            "attention_mean": row_auroc(normalise_rows(mass.mean((0, 1))), graph),
            "gold_share": float(
                np.mean([
                    (shares[pair] * edges).sum(-1)[edges.any(-1)].mean() for pair in supervised
                ])
            ),
            "intervention": None,
            "agreement": None,
        }  # fmt: skip
        if place < interventions:
            row["intervention"] = row_auroc(effects[place], graph)
            row["agreement"] = row_agreement(best, effects[place], graph)
        rows.append(row)
    return rows


def row_auroc(weights: np.ndarray, gold: StepGraph) -> float:
    """Return the mean over steps of the AUROC among the step's sources, gold parents positive.

    weights: (nodes, nodes), row = target. Steps without parents, or with nothing but parents
    before them, are left out; 0.5 where no step is left.
    """
    values = [
        auroc(weights[target, :target], gold.weights[target, :target] > 0)
        for target in range(1, len(gold))
        if 0 < (gold.weights[target, :target] > 0).sum() < target
    ]
    return float(np.mean(values)) if values else 0.5


def row_agreement(weights: np.ndarray, effects: np.ndarray, gold: StepGraph) -> float:
    """Return the mean Spearman correlation of two graphs within the rows of written nodes.

    weights, effects: (nodes, nodes). Rows of fewer than 3 sources and rows in which the effects
    are all equal say nothing; a row in which only `weights` are all equal counts 0.
    """
    values = []
    for target, kind in enumerate(gold.kinds):
        if kind not in ("step", "answer") or target < 3 or not np.ptp(effects[target, :target]) > 0:
            continue
        ours, theirs = (rankdata(part[target, :target]) for part in (weights, effects))
        flat = not np.ptp(ours) > 0
        values.append(0.0 if flat else float(np.corrcoef(ours, theirs)[0, 1]))
    return float(np.mean(values)) if values else 0.0


def _gold(
    problems: Sequence[Problem], tokenizer: PreTrainedTokenizerFast
) -> tuple[list[Trace], list[StepGraph]]:
    return [gold_trace(p, tokenizer) for p in problems], [gold_graph(p) for p in problems]
