"""Token-level scores of a written solution: what fine-tuning optimises and papers report.

Two kinds. `score_tokens` asks a model how probable each written token is (loss, perplexity,
teacher-forced accuracy). `compare_texts` and `compare_tokens` hold a written solution against a
reference (exact match, edit similarity, BLEU, ROUGE-L); published libraries do the arithmetic.
None of them knows what a step is. All are "higher = more alike"; a risk is one minus that.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from rg_helpers.pretraining_data import collate
from rg_helpers.traces import Trace, check_positions


@dataclass(frozen=True)
class TokenScores:
    """How a model rates each token of one solution, given everything before it.

    `log_probabilities` and `entropies` are float32 (solution tokens,), in nats; `predicted` is
    int64 (solution tokens,): the token the model would have chosen there. Token k of them is
    token `prompt_tokens + k` of the trace; EOS, if written, is the last.
    """

    token_ids: np.ndarray
    log_probabilities: np.ndarray
    entropies: np.ndarray
    predicted: np.ndarray

    @property
    def loss(self) -> float:
        """Mean cross-entropy of a token, in nats: what fine-tuning lowers."""
        return float(-self.log_probabilities.mean())

    @property
    def perplexity(self) -> float:
        """exp(loss): as if the model chose evenly between that many tokens."""
        return float(np.exp(self.loss))

    @property
    def lowest_log_probability(self) -> float:
        """Log-probability of the most surprising token, in nats."""
        return float(self.log_probabilities.min())

    @property
    def correct(self) -> np.ndarray:
        """bool (solution tokens,): would greedy decoding have chosen this very token?"""
        return self.predicted == self.token_ids

    @property
    def token_accuracy(self) -> float:
        """Share of tokens that are the model's first choice (teacher forcing)."""
        return float(self.correct.mean())


@dataclass(frozen=True)
class TextScores:
    """A written text held against a reference; all from 0 (nothing alike) to 1 (the same)."""

    exact_match: float
    edit_similarity: float
    bleu: float
    rouge_l: float

    def as_dict(self) -> dict[str, float]:
        """Return the scores by name."""
        return asdict(self)


@dataclass(frozen=True)
class TokenDifferences:
    """Which tokens of a written solution are not the reference's, by the shortest edit script.

    `edits` is the Levenshtein distance in tokens, `changed` the indices of written tokens that
    the script replaces or deletes, `missing` how many reference tokens it has to insert.
    """

    edits: int
    changed: tuple[int, ...]
    missing: int
    written_tokens: int
    reference_tokens: int

    @property
    def similarity(self) -> float:
        """1 - edits / length of the longer sequence; 1 for two empty ones."""
        longer = max(self.written_tokens, self.reference_tokens)
        return 1.0 - self.edits / longer if longer else 1.0


@torch.no_grad()
def score_tokens(
    model: PreTrainedModel, traces: Sequence[Trace], batch_size: int = 32, progress: bool = True
) -> list[TokenScores]:
    """Return how probable the model finds each trace's solution, token by token.

    Works on any text, whoever wrote it: on gold traces it gives teacher-forced loss and token
    accuracy, on the model's own traces its confidence. Batches are sorted by length and padded on
    the right. Raises `ValueError` for a trace without solution tokens, without a token before
    them, or longer than the model's positions.
    """
    for trace in traces:
        if not 1 <= trace.prompt_tokens < len(trace):
            raise ValueError(
                f"trace {trace.trace_id!r} has {trace.prompt_tokens} prompt tokens of {len(trace)}:"
                " a solution is scored given at least one token before it, and holds at least one"
            )
        check_positions(model, len(trace), f"trace {trace.trace_id!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: expected at least 1")
    order = sorted(range(len(traces)), key=lambda index: len(traces[index]))
    scores: list[TokenScores | None] = [None] * len(traces)
    was_training = model.training
    model.eval()
    bar = tqdm(total=len(order), desc="score", disable=None if progress else True)
    try:
        for first in range(0, len(order), batch_size):
            chosen = order[first : first + batch_size]
            for index, row in zip(chosen, _score_batch(model, [traces[i] for i in chosen])):
                scores[index] = row
            bar.update(len(chosen))
    finally:
        bar.close()
        model.train(was_training)
    return [score for score in scores if score is not None]


def compare_texts(written: str, reference: str) -> TextScores:
    """Hold a written text against a reference text.

    - exact match: 1 if the texts agree character by character, spaces at the ends aside;
    - edit similarity: 1 - Levenshtein distance / length of the longer text, in characters
      (Levenshtein 1966; rapidfuzz);
    - BLEU of one sentence, up to 4-grams, "13a" tokens, exponential smoothing, effective order
      (Papineni et al. 2002; sacrebleu, Post 2018), divided by 100;
    - ROUGE-L: F-measure of the longest common subsequence of words (Lin 2004; rouge-score). Its
      standard tokeniser lowers case and drops every sign, so "9 + 4" and "9 - 4" are the same.
    """
    written, reference = written.strip(), reference.strip()
    return TextScores(
        exact_match=float(written == reference),
        edit_similarity=Levenshtein.normalized_similarity(written, reference),
        bleu=min(1.0, _bleu().sentence_score(written, [reference]).score / 100),  # 1 + rounding
        rouge_l=_rouge().score(reference, written)["rougeL"].fmeasure,
    )


def compare_tokens(written: Sequence[int], reference: Sequence[int]) -> TokenDifferences:
    """Return which tokens differ, by the Levenshtein distance over token ids (rapidfuzz)."""
    script = Levenshtein.editops(list(written), list(reference))
    changed = tuple(op.src_pos for op in script if op.tag != "insert")
    missing = sum(op.tag == "insert" for op in script)
    return TokenDifferences(len(script), changed, missing, len(written), len(reference))


def positional_agreement(written: Sequence[int], reference: Sequence[int]) -> float:
    """Return the share of the reference's positions at which the written text has its token.

    The free-running twin of teacher-forced token accuracy: one inserted token shifts everything
    after it. Raises `ValueError` for an empty reference.
    """
    if not len(reference):
        raise ValueError("the reference is empty: there is no position to agree at")
    return sum(a == b for a, b in zip(written, reference)) / len(reference)


def solution_tokens(trace: Trace) -> tuple[int, ...]:
    """Return the token ids of a trace's solution, EOS included if it was written."""
    return trace.token_ids[trace.prompt_tokens :]


def summarise(scores: TokenScores) -> dict[str, Any]:
    """Return the scalar scores of one solution by name."""
    return {
        "loss": scores.loss,
        "perplexity": scores.perplexity,
        "token_accuracy": scores.token_accuracy,
        "mean_log_probability": -scores.loss,
        "lowest_log_probability": scores.lowest_log_probability,
        "mean_entropy": float(scores.entropies.mean()),
        "tokens": len(scores.token_ids),
    }


def _score_batch(model: PreTrainedModel, traces: Sequence[Trace]) -> list[TokenScores]:
    width = max(len(trace) for trace in traces)
    examples = [(list(trace.token_ids), trace.prompt_tokens) for trace in traces]
    tokens, _ = collate(examples, width, pad=0)  # any id: nothing real looks at padding
    batch = model(input_ids=tokens.to(model.device), use_cache=False).logits
    scores = []
    for trace, row, logits in zip(traces, tokens, batch, strict=True):
        # Copies of one solution's logits at a time: a vocabulary may have 100,000 entries.
        start, end = trace.prompt_tokens, len(trace)
        targets = row[start:end].to(model.device)
        log_probabilities = logits[start - 1 : end - 1].float().log_softmax(-1)
        entropies = -(log_probabilities.exp() * log_probabilities).nan_to_num().sum(-1)
        chosen = log_probabilities.gather(-1, targets[:, None])[:, 0]
        arrays = (targets, chosen, entropies, log_probabilities.argmax(-1))
        scores.append(TokenScores(*(array.cpu().numpy() for array in arrays)))
    return scores


@functools.cache
def _bleu() -> BLEU:
    return BLEU(effective_order=True)  # sentences shorter than four words have no 4-grams


@functools.cache
def _rouge() -> RougeScorer:
    return RougeScorer(["rougeL"], use_stemmer=False)
