"""Self-consistency: do the other samples of the same problem give another answer?

The vote of Wang et al. (2022, arXiv 2203.11171) read as a risk. It needs no labels and no fitting,
only several samples a problem, and it is the baseline that costs the most to run.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from rg_helpers.error_prediction.written_answer import written_answer
from rg_helpers.traces import Trace


def answer_disagreement(traces: Sequence[Trace]) -> np.ndarray:
    """Return the share of the problem's other samples with another answer: float64 (traces,).

    0: all others agree, 1: none does. Give every sample, also those that break off: a solution
    without an answer (no step, or not finished) agrees with none, not even with its like. Take the
    readable ones out of the result, not out of the vote. Raises `ValueError` for a problem with a
    single sample.
    """
    answers = [written_answer(trace) if trace.finished else None for trace in traces]
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    samples = Counter(trace.problem_id for trace in traces)
    alone = [problem for problem, count in samples.items() if count < 2]
    if alone:
        raise ValueError(
            f"{len(alone)} of {len(samples)} problems have a single sample (the first is "
            f"{alone[0]}): self-consistency needs two or more, better four; sample again, or leave "
            "this baseline out"
        )
    for trace, answer in zip(traces, answers, strict=True):
        if answer is not None:
            votes[trace.problem_id][answer] += 1
    found = np.ones(len(traces))
    for index, (trace, answer) in enumerate(zip(traces, answers, strict=True)):
        if answer is not None:
            agreeing = votes[trace.problem_id][answer] - 1
            found[index] = 1 - agreeing / (samples[trace.problem_id] - 1)
    return found
