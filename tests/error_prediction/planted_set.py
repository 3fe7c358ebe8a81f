"""Right and wrong solutions of generated problems for tests: errors are planted, not sampled."""

from __future__ import annotations

import random

from rg_helpers.error_prediction.trace_set import TraceSet
from rg_helpers.problems import generate_problems, plant_error
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import trace_from_text

TOKENIZER = build_tokenizer()
KINDS = ("wrong operand", "arithmetic slip", "irrelevant step", "missing step", "contradiction")


def planted_set(family: str, problems: int, samples: int = 2, seed: int = 0) -> TraceSet:
    """Return `samples` solutions of every problem, about half of them with a planted error."""
    rng = random.Random(f"{family}|{seed}")
    drawn = generate_problems(family, problems, seed=seed, operations=(2, 3), distractors=(1, 1))
    traces = []
    for problem in drawn:
        for sample in range(samples):
            text = problem.solution
            if rng.random() < 0.5:
                kinds = rng.sample(KINDS, len(KINDS))
                found = next(filter(None, (plant_error(problem, k, sample) for k in kinds)), None)
                text = found.text if found else text
            traces.append(
                trace_from_text(
                    TOKENIZER,
                    problem.prompt,
                    text,
                    family=family,
                    separator=problem.separator,
                    problem_id=problem.problem_id,
                    trace_id=f"{problem.problem_id}-{sample}",
                    extra={"sample": sample},
                )
            )
    return TraceSet.of(traces, drawn)
