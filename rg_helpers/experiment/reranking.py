"""Best of n: several samples of a problem, one is handed in; no training is needed for it.

The rivals of the graph error predictor are those that cost nothing: the model's own probability and
the vote among the samples (self-consistency, Wang et al. 2022, arXiv 2203.11171).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import torch

from rg_helpers.error_prediction.written_answer import written_answer
from rg_helpers.experiment.arms import RERANKED
from rg_helpers.experiment.evaluation import Row, judged_row, written_log_probabilities
from rg_helpers.experiment.own_solutions import predicted_risk
from rg_helpers.experiment.place import BATCH, Place
from rg_helpers.experiment.plan import Cell
from rg_helpers.experiment.problem_sets import cell_problems
from rg_helpers.graph_loss.error_predictor import GraphErrorPredictor
from rg_helpers.problems import check_solution
from rg_helpers.traces import Trace, sample_traces

WORST = float("inf")


def reranked_rows(
    place: Place,
    model: torch.nn.Module,
    predictor: GraphErrorPredictor,
    cell: Cell,
    family: str,
    seed: int,
) -> dict[str, list[Row]]:
    """Return the rows of `evaluation.judged_row` for every way to choose among n samples.

    "first": the first sample, which is what sampling alone gives. "predictor": the sample whose
    graph looks least wrong. "likelihood": the highest mean log-probability of a token. "vote": the
    first sample with the most frequent answer. "oracle": a solved one, if there is any: the most
    that any choice could reach.
    """
    problems = cell_problems(cell, family)
    recipe = place.recipe
    traces = sample_traces(
        model,
        place.tokenizer,
        problems,
        samples=recipe.samples,
        temperature=recipe.temperature,
        batch_size=BATCH,
        max_new_tokens=recipe.longest,
        seed=seed,
        progress=False,
    )
    log_probabilities = written_log_probabilities(model, traces)
    read = [index for index, trace in enumerate(traces) if trace.finished and trace.steps]
    risks = dict(
        zip(read, predicted_risk(place, [traces[i] for i in read], predictor, model), strict=True)
    )
    samples: dict[str, list[int]] = defaultdict(list)
    for index, trace in enumerate(traces):
        samples[trace.problem_id].append(index)
    rows: dict[str, list[Row]] = {name: [] for name in RERANKED}
    for problem in problems:
        mine = samples[problem.problem_id]
        solved = [i for i in mine if check_solution(problem, traces[i].solution).all_right]
        per_token = {
            i: -log_probabilities[i] / max(1, len(traces[i]) - traces[i].prompt_tokens)
            for i in mine
        }
        chosen = {
            "first": mine[0],
            "predictor": min(mine, key=lambda i: risks.get(i, WORST)),
            "likelihood": min(mine, key=lambda i: per_token[i] if i in risks else WORST),
            "vote": _vote(mine, traces),
            "oracle": (solved or mine)[0],
        }
        for name, index in chosen.items():
            rows[name].append(
                judged_row(cell.name, family, problem, traces[index], log_probabilities[index],
                           place.tokenizer)
            )  # fmt: skip
    return rows


def _vote(mine: Sequence[int], traces: Sequence[Trace]) -> int:
    answers = {i: written_answer(traces[i]) for i in mine if traces[i].finished}
    counts = Counter(answer for answer in answers.values() if answer is not None)
    if not counts:
        return mine[0]
    most = max(counts.values())
    return next(i for i in mine if counts.get(answers.get(i), 0) == most)
