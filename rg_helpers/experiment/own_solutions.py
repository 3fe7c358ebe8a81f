"""What practitioners try without any graph loss: learning from solutions the model wrote itself."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from rg_helpers.experiment.arms import Data
from rg_helpers.experiment.place import BATCH, Place
from rg_helpers.experiment.problem_sets import training_problems, unlabelled_problems
from rg_helpers.graph_loss import graph_batch
from rg_helpers.graph_loss.error_predictor import GraphErrorPredictor
from rg_helpers.graphs.attention import attention_masses
from rg_helpers.problems import Problem, check_solution
from rg_helpers.traces import Trace, sample_traces

TRUSTED_SHARE = 0.5  # of the sampled solutions that self-training keeps


def own_solutions(
    place: Place,
    data: Data,
    family: str,
    size: int,
    seed: int,
    predictor: GraphErrorPredictor | None = None,
) -> list[Trace]:
    """Return solutions written by the base model that an arm learns from beside the gold ones.

    "rejection": different samples for the arm's own problems whose answer is right (rejection
    sampling fine-tuning, Yuan et al. 2023, arXiv 2308.01825). "self": samples for as many other
    problems, of which the predictor's least risky half is kept; nobody looks at their answers.
    "self_random": as many of the same samples, drawn at random: what the filter is worth.
    """
    if data == "rejection":
        problems = training_problems(family, size, seed, place.recipe)
        return right_samples(_samples(place, problems, seed), problems)
    problems = unlabelled_problems(family, size, seed, place.recipe)
    samples = [trace for trace in _samples(place, problems, seed) if trace.finished and trace.steps]
    keep = max(1, int(TRUSTED_SHARE * len(samples))) if samples else 0
    if data == "self_random":
        order = random.Random(f"self-training|{seed}").sample(range(len(samples)), keep)
    else:
        if predictor is None:
            raise ValueError("self-training needs an error predictor: fit one for the family")
        risk = predicted_risk(place, samples, predictor)
        order = sorted(range(len(samples)), key=lambda index: risk[index])[:keep]
    return [samples[index] for index in sorted(order)]


def right_samples(samples: Sequence[Trace], problems: Sequence[Problem]) -> list[Trace]:
    """Keep samples with the right answer, each text once and none equal to the gold solution."""
    known = {problem.problem_id: problem for problem in problems}
    kept: dict[tuple[str, str], Trace] = {}
    for trace in samples:
        problem = known[trace.problem_id]
        if not trace.finished or not trace.steps or trace.solution == problem.solution:
            continue
        if check_solution(problem, trace.solution).answer_right:
            kept.setdefault((trace.problem_id, trace.solution), trace)
    return list(kept.values())


def predicted_risk(
    place: Place,
    traces: Sequence[Trace],
    predictor: GraphErrorPredictor,
    model: torch.nn.Module | None = None,
) -> list[float]:
    """Return the predictor's logit for each trace, read by `model` (default: the base model)."""
    if not traces:
        return []
    masses = attention_masses(model or place.model, traces, progress=False)
    risks = []
    predictor = predictor.to("cpu")
    with torch.no_grad():
        for trace, mass in zip(traces, masses, strict=True):
            risks.append(float(predictor(torch.as_tensor(mass)[None], graph_batch([trace]))))
    return risks


def _samples(place: Place, problems: Sequence[Problem], seed: int) -> list[Trace]:
    return sample_traces(
        place.model,
        place.tokenizer,
        problems,
        samples=place.recipe.samples,
        temperature=place.recipe.temperature,
        batch_size=BATCH,
        max_new_tokens=place.recipe.longest,
        seed=seed,
        progress=False,
    )
