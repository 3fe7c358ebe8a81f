"""Samples as a model might have written them, without a model: right, reordered, and wrong."""

from __future__ import annotations

import numpy as np

from rg_helpers.graphs.gold import written_graph
from rg_helpers.graphs.methods import Given, Method
from rg_helpers.problems import check_solution, plant_error, reordered_solution
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import trace_from_text

TOKENIZER = build_tokenizer()


def write(problem, text, sample, finished=True):
    given = [(n.kind, n.text) for n in problem.nodes if n.kind in ("premise", "question")]
    return trace_from_text(
        TOKENIZER,
        problem.prompt,
        text,
        family=problem.family,
        separator=problem.separator,
        problem_id=problem.problem_id,
        trace_id=f"{problem.problem_id}-{sample}",
        prompt_nodes=given,
        finished=finished,
    )


def samples_of(problem):
    """Gold, reordered where the problem has another order, and a planted wrong operand."""
    texts = [
        problem.solution,
        reordered_solution(problem, 0),
        plant_error(problem, "wrong operand"),
    ]
    texts[2] = texts[2] and texts[2].text
    return [write(problem, text, number) for number, text in enumerate(texts) if text]


def sampled(model, tokenizer, problems, *_, **__):
    """Stand-in for `solutions.sampled_traces`."""
    return [trace for problem in problems for trace in samples_of(problem)]


def claimed(given: Given, fitted) -> list[np.ndarray]:
    """Scores of a method that knows what every written step claims."""
    graphs = []
    for trace in given.traces:
        checked = check_solution(given.problems[trace.problem_id], trace.solution)
        graphs.append(written_graph(trace, checked).weights)
    return graphs


def noise(given: Given, fitted) -> list[np.ndarray]:
    """Scores of a method that knows nothing; other draws than the random control's."""
    sizes = [len(trace.nodes) for trace in given.traces]
    rng = np.random.default_rng(len(sizes))
    return [np.tril(rng.random((size, size)), -1).astype(np.float32) for size in sizes]


def method(name, score, **changes) -> Method:
    return Method(name, "for tests", "made up", score, needs=(), **changes)
