"""What can be said of one node: where its support comes from, how sure the model was, what it says.

Every table is float32 (nodes, numbers), one row a node of the trace, premises included. Nothing
here is fitted and nothing reads a label: a row depends on its own trace alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from rg_helpers.error_prediction.written_truths import truth_numbers
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.graphs.text import read_mentions
from rg_helpers.token_scores import TokenScores
from rg_helpers.traces import Trace
from rg_helpers.traces.trace import PROMPT_KINDS

ROW_NUMBERS: Mapping[str, str] = {
    "strongest": "weight of the strongest source",
    "entropy": "entropy of the weights over sources, in nats",
    "premises": "weight on premises",
    "question": "weight on the question",
    "previous": "weight on the node just before",
    "kept": "raw score that the row adds up to before it is scaled to one",
}
CONFIDENCE_NUMBERS: Mapping[str, str] = {
    "mean_log_probability": "mean log-probability of the step's tokens, in nats",
    "min_log_probability": "log-probability of the step's most surprising token",
    "first_log_probability": "log-probability of the step's first token",
    "mean_entropy": "mean entropy of the next-token distributions, in nats",
    "max_entropy": "largest of these entropies",
    "tokens": "tokens of the step",
}
TEXT_NUMBERS: Mapping[str, str] = {
    "place": "number of written steps before it",
    "new_numbers": "numbers it uses that no earlier line mentions",
    "new_words": "words that no earlier line mentions",
    "wrong_sums": "written sums and comparisons that do not come out",
    "premise_cover": "largest share of what it takes from the prompt that one premise says",
    "foreign_values": "numbers it uses whose lines share no rare word with it",
    "repeated": "whether an earlier step says the same",
    "unwritten_values": "numbers it uses that only the prompt gives, no step before it",
    "unwritten_words": "rare words it uses that the prompt mentions and no step before it",
    "wrong_truths": 'written truths that do not follow from what stands before "so"',
    "other_truths": "names whose truth it gives otherwise than the last line about them",
}
_SUM = re.compile(
    r"(?<![\d.])(-?\d+(?:\.\d+)?) ?([-+*/<>]) ?(-?\d+(?:\.\d+)?) = (-?\d+(?:\.\d+)?|True|False)"
)


def row_numbers(scores: np.ndarray, kinds: Sequence[str]) -> np.ndarray:
    """Return `ROW_NUMBERS` of raw scores (..., nodes, nodes): float32 (..., nodes, 6)."""
    raw = np.tril(np.asarray(scores, np.float64), k=-1)
    weights = normalise_rows(raw).astype(np.float64)
    premise = np.array([kind == "premise" for kind in kinds])
    question = np.array([kind == "question" for kind in kinds])
    logs = np.log(weights, out=np.zeros_like(weights), where=weights > 0)
    previous = np.zeros(weights.shape[:-1])
    previous[..., 1:] = np.diagonal(weights, offset=-1, axis1=-2, axis2=-1)
    found = [
        weights.max(axis=-1),
        -(weights * logs).sum(axis=-1),
        weights[..., premise].sum(axis=-1),
        weights[..., question].sum(axis=-1),
        previous,
        raw.sum(axis=-1),
    ]
    return np.stack(found, axis=-1).astype(np.float32)


def overlap(graph: StepGraph, other: StepGraph) -> np.ndarray:
    """Return how much of each node's support two graphs agree on: float32 (nodes,), 0 to 1."""
    return np.minimum(graph.weights, other.weights).sum(axis=1)


def confidence_numbers(trace: Trace, scores: TokenScores) -> np.ndarray:
    """Return `CONFIDENCE_NUMBERS` of every written node: float32 (steps, 6)."""
    rows = []
    for node in trace.steps:
        span = slice(node.start - trace.prompt_tokens, node.end - trace.prompt_tokens)
        logs, entropies = scores.log_probabilities[span], scores.entropies[span]
        tokens = node.end - node.start
        rows.append([logs.mean(), logs.min(), logs[0], entropies.mean(), entropies.max(), tokens])
    return np.array(rows, np.float32).reshape(-1, len(CONFIDENCE_NUMBERS))


def text_numbers(trace: Trace) -> np.ndarray:
    """Return `TEXT_NUMBERS` of every written node, from its text and those before it alone.

    float32 (steps, 11). Written sums and truths are worked out again, as a pocket calculator would;
    no gold solution, no checker and no model is asked.
    """
    lines = [read_mentions(text) for text in trace.texts]
    given = len(trace.nodes) - len(trace.steps)
    premises = [lines[i].tokens for i, kind in enumerate(trace.kinds) if kind == "premise"]
    prompt = frozenset().union(*(line.tokens for line in lines[:given]))
    truths = truth_numbers(trace.texts, given)
    rows = []
    for index in range(given, len(lines)):
        line, earlier = lines[index], lines[:index]
        seen: dict[str, int] = {}
        for other in earlier:
            for token in other.tokens:
                seen[token] = seen.get(token, 0) + 1
        numbers = {token for token in line.used if token[0].isdigit()}
        rare = {t for t in line.tokens - numbers if 0 < seen.get(t, 0) <= max(2, index / 3)}
        foreign = unwritten = 0
        for number in numbers:
            sources = [k for k, other in enumerate(earlier) if number in other.values]
            foreign += bool(sources) and not any(rare & lines[k].tokens for k in sources)
            unwritten += bool(sources) and max(sources) < given
        said = frozenset().union(*(other.tokens for other in lines[given:index]))
        taken = (line.used & prompt) - {"answer", "the", "is"}
        covers = [len(taken & premise) / len(taken) for premise in premises] if taken else []
        rows.append(
            [
                index - given,
                sum(number not in seen for number in numbers),
                sum(token not in seen for token in line.used - numbers),
                wrong_sums(trace.texts[index]),
                max(covers, default=1.0),
                foreign,
                trace.texts[index] in trace.texts[given:index],
                unwritten,
                len((rare & prompt) - said),
                *truths[index - given],
            ]
        )
    return np.array(rows, np.float32).reshape(-1, len(TEXT_NUMBERS))


def wrong_sums(text: str) -> int:
    """Count the written sums and comparisons of two numbers in a line that do not come out."""
    return sum(not _holds(*match.groups()) for match in _SUM.finditer(text))


def written(table: np.ndarray, kinds: Sequence[str]) -> np.ndarray:
    """Return the rows of written nodes: (steps, ...)."""
    return table[[kind not in PROMPT_KINDS for kind in kinds]]


def over_steps(tables: Sequence[np.ndarray], names: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Sum step tables (steps, numbers) up: mean, least and most over steps, and the last step's.

    Returns float64 (traces, 4 * numbers) and the names of the columns. One wrong step shows in the
    extremes, which a mean would hide.
    """
    rows = []
    for table in tables:
        steps = np.asarray(table, np.float64)
        if not len(steps):
            raise ValueError("a trace without written steps has no step numbers: leave it out")
        rows.append(np.concatenate([steps.mean(0), steps.min(0), steps.max(0), steps[-1]]))
    words = [f"{how} {name}" for how in ("mean", "least", "most", "last") for name in names]
    return np.array(rows).reshape(-1, len(words)), words


def _holds(left: str, operator: str, right: str, said: str) -> bool:
    a, b = float(left), float(right)
    if operator in "<>":
        return said == str(a < b if operator == "<" else a > b)
    if said in ("True", "False"):
        return False
    if operator == "/" and b == 0:
        return False
    result = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else 0.0}[operator]
    return abs(result - float(said)) < 1e-6 * max(1.0, abs(result))
