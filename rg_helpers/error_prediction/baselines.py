"""What is known without any graph: length, steps, and how sure the model was, from one pass.

These are numbers, not verdicts: which direction is risky is for a classifier to learn. Long
solutions may be wrong more often because hard problems need long ones, so a predictor is worth
something only beside `length` and `steps`. All probabilities are taken at temperature 1, whatever
the solution was sampled at, and from the model that reads it, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from rg_helpers.error_prediction.solution_span import (
    answer_node,
    check_solutions,
    last_step,
    solution_span,
)
from rg_helpers.graphs.batches import length_batches
from rg_helpers.token_scores import TokenScores, score_tokens
from rg_helpers.traces import Node, Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BASELINES: dict[str, str] = {
    "length": "tokens of the solution, EOS left out",
    "steps": "written lines, the answer line included",
    "mean_log_probability": "mean log-probability of the solution's tokens, in nats",
    "min_log_probability": "log-probability of the most surprising token, in nats",
    "last_log_probability": "mean log-probability of the last step's tokens before the answer line",
    "mean_entropy": "mean entropy of the model's next-token distributions, in nats",
    "max_entropy": "largest of these entropies",
    "answer_perplexity": "exp of the mean surprise, in nats, of the answer line's tokens",
}
FORM = ("length", "steps")
CONFIDENCE = tuple(name for name in BASELINES if name not in FORM)


def baseline_numbers(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    batch_size: int | None = None,
    progress: bool = True,
) -> np.ndarray:
    """Return the numbers of `BASELINES`, in that order: float64 (traces, 8).

    Traces are batched by length within a quarter of the free memory, logits included. Raises
    `ValueError` for a trace without a solution or longer than the model's positions.
    """
    check_solutions(model, traces)
    found = np.empty((len(traces), len(BASELINES)))
    bar = tqdm(total=len(traces), desc="baselines", disable=None if progress else True)
    with bar:
        for chosen in length_batches(model, traces, batch_size, logit_bytes):
            batch = [traces[index] for index in chosen]
            scored = score_tokens(model, batch, batch_size=len(batch), progress=False)
            for index, trace, scores in zip(chosen, batch, scored, strict=True):
                found[index] = baselines_of(trace, scores)
            bar.update(len(chosen))
    return found


def baseline_columns(numbers: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return the named columns of `baseline_numbers`: float64 (traces, names)."""
    order = list(BASELINES)
    unknown = [name for name in names if name not in order]
    if unknown:
        raise ValueError(f"no baseline {unknown[0]!r}: there are {', '.join(order)}")
    return numbers[:, [order.index(name) for name in names]]


def baselines_of(trace: Trace, scores: TokenScores) -> np.ndarray:
    """Return the numbers of `BASELINES`, in that order, of one scored solution: float64 (8,)."""
    start, end = solution_span(trace)
    surprise = -scores.log_probabilities[: end - start].astype(np.float64)
    entropies = scores.entropies[: end - start].astype(np.float64)

    def mean_of(node: Node) -> float:
        return float(surprise[node.start - start : node.end - start].mean())

    numbers = {
        "length": end - start,
        "steps": len(trace.steps),
        "mean_log_probability": -surprise.mean(),
        "min_log_probability": -surprise.max(),
        "last_log_probability": -mean_of(last_step(trace)),
        "mean_entropy": entropies.mean(),
        "max_entropy": entropies.max(),
        "answer_perplexity": np.exp(mean_of(answer_node(trace))),
    }
    return np.array([numbers[name] for name in BASELINES], np.float64)


def logit_bytes(model: PreTrainedModel, trace: Trace) -> int:
    """Estimate, on the high side, what one trace takes in a pass whose logits are kept."""
    config = model.config.get_text_config()
    tokens = len(trace)
    scores = 2 * config.num_attention_heads * tokens * min(tokens, 2048)
    # The logits of every trace of a batch are held, their float copies of one trace at a time.
    return 4 * (tokens * (24 * config.hidden_size + 5 * config.vocab_size) + scores)
