"""What a reader can do, and cannot: how it foresees solutions, and how many problems it solves.

Both stand beside what needs no reading: the loss of a model that knows how frequent each token is
and nothing else, and the accuracy of answers that were never worked out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from rg_helpers.datasets.answers import extract_answer, read_number, same_answer
from rg_helpers.datasets.word_problems import WordProblem
from rg_helpers.graphs.annotated import annotated_numbers
from rg_helpers.statistics import (
    Bootstrap,
    bootstrap_ratio,
    cluster_numbers,
    cluster_weights,
    wilson_interval,
)
from rg_helpers.token_scores import score_tokens
from rg_helpers.traces import Trace, encode_text
from rg_helpers.traces.decoding import Request, decode_batch, end_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

MOST_NEW_TOKENS = 256
BATCH = 64
LOSS_DRAWS = 2000


@dataclass(frozen=True)
class Written:
    """A greedy solution: its text, and whether the model ended it."""

    text: str
    finished: bool


def token_log_frequencies(texts: Sequence[Sequence[int]], entries: int) -> np.ndarray:
    """Return log-frequencies of tokens, each counted once more than seen: float64 (entries,)."""
    counts = np.ones(entries)
    for ids in texts:
        np.add.at(counts, np.asarray(ids, dtype=np.int64), 1)
    return np.log(counts / counts.sum())


def solution_losses(
    model: PreTrainedModel,
    groups: Mapping[str, Sequence[Trace]],
    log_frequencies: np.ndarray,
    *,
    draws: int = LOSS_DRAWS,
    seed: int = 0,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Return one row a named group of traces: loss and perplexity of a solution token, EOS too.

    `loss` is in nats, with its interval over problems, `perplexity` is exp of all three;
    `frequency_perplexity` is that of the tokens' frequencies alone, `token_accuracy` the share of
    tokens that are the model's first choice. Groups without traces of two problems are left out.
    """
    rows = []
    for name, traces in groups.items():
        if len({trace.problem_id for trace in traces}) < 2:
            continue
        scored = score_tokens(model, traces, progress=progress)
        problems = cluster_numbers([trace.problem_id for trace in traces])
        weights = cluster_weights(int(problems.max()) + 1, draws, seed)
        counts = np.array([len(one.token_ids) for one in scored])
        losses = np.array([one.loss for one in scored]) * counts
        blind = sum(-log_frequencies[one.token_ids].sum() for one in scored) / counts.sum()
        first = sum(int(one.correct.sum()) for one in scored) / counts.sum()
        loss = bootstrap_ratio(losses, counts, problems, weights)
        rows.append(
            {
                "name": name,
                "traces": len(traces),
                "tokens": int(counts.sum()),
                "loss": loss.interval().as_dict(),
                "perplexity": _exp(loss),
                "frequency_perplexity": float(np.exp(blind)),
                "token_accuracy": float(first),
            }
        )
    return rows


def greedy_solutions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[WordProblem],
    *,
    max_new_tokens: int = MOST_NEW_TOKENS,
    batch_size: int = BATCH,
    progress: bool = True,
) -> list[Written]:
    """Let the model continue question + line break, greedily; no example is shown to it."""
    ends = end_ids(model, tokenizer)
    requests = [
        Request(encode_text(tokenizer, f"{problem.question}\n")[0], 0) for problem in problems
    ]
    ordered = sorted(requests, key=len)
    bar = tqdm(total=len(requests), desc="greedy solutions", disable=None if progress else True)
    with bar:
        for first in range(0, len(ordered), batch_size):
            batch = ordered[first : first + batch_size]
            decode_batch(model, tokenizer, batch, 0.0, ends, max_new_tokens)
            bar.update(len(batch))
    found = []
    for request in requests:
        finished = request.done(ends, max_new_tokens) and request.written[-1] in ends
        text = tokenizer.decode(request.written, skip_special_tokens=True).strip()
        found.append(Written(text, finished))
    return found


def measure_solving(
    written: Sequence[Written], problems: Sequence[WordProblem], known: Sequence[WordProblem]
) -> dict[str, Any]:
    """Return how many problems are solved, beside answers that nobody worked out.

    `accuracy` is the share of right answers, `most_common_answer` that of always giving the most
    frequent answer of the `known` problems, `last_number` that of repeating the question's last
    number (each with its Wilson interval), and `dealt_answers` the share that would be right if the
    model's own answers were dealt to the problems at random, as often as they were given.
    """
    answers = [extract_answer(one.text) for one in written]
    right = [same_answer(a, problem.answer) for a, problem in zip(answers, problems, strict=True)]
    common = Counter(problem.answer for problem in known).most_common(1)
    guess = common[0][0] if common else None
    last = [(annotated_numbers(problem.question) or [None])[-1] for problem in problems]
    given = Counter(read_number(a) for a in answers if a is not None)
    wanted = Counter(read_number(problem.answer) for problem in problems)
    pairs = sum(n * wanted[value] for value, n in given.items() if value is not None)
    return {
        "problems": len(problems),
        "accuracy": _share(right),
        "most_common_answer": _share([same_answer(guess, p.answer) for p in problems]),
        "last_number": _share(
            [
                one is not None and same_answer(f"{one:g}", p.answer)
                for one, p in zip(last, problems)
            ]
        ),
        "dealt_answers": pairs / len(problems) ** 2,
        "with_answer": _share([answer is not None for answer in answers]),
        "finished": _share([one.finished for one in written]),
    }


def _share(hits: Sequence[bool]) -> dict[str, Any]:
    found = wilson_interval(sum(hits), len(hits))
    return {"value": sum(hits) / len(hits), "low": found.low, "high": found.high, "n": len(hits)}


def _exp(loss: Bootstrap) -> dict[str, Any]:
    found = Bootstrap(float(np.exp(loss.value)), np.exp(loss.draws), loss.n)
    return found.interval().as_dict()
