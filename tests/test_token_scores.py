"""Token-level scores: hand-worked values for the texts, one-by-one forward passes for the model."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rg_helpers.language_model import new_course_model
from rg_helpers.problems import FAMILIES, generate_problem
from rg_helpers.token_scores import (
    TokenScores,
    compare_texts,
    compare_tokens,
    positional_agreement,
    score_tokens,
    solution_tokens,
    summarise,
)
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import gold_trace


@pytest.fixture(scope="module")
def model():
    return new_course_model(0, hidden_size=32, layers=2, heads=2, intermediate_size=64).eval()


@pytest.fixture(scope="module")
def traces():
    tokenizer = build_tokenizer()
    return [
        gold_trace(generate_problem(family, seed, operations=2 + seed), tokenizer)
        for family in FAMILIES
        for seed in range(3)
    ]


def test_edit_similarity_of_the_textbook_pair():
    scores = compare_texts("kitten", "sitting")  # two replacements and one insertion
    assert scores.edit_similarity == pytest.approx(1 - 3 / 7)
    assert scores.exact_match == 0.0


def test_bleu_worked_by_hand():
    scores = compare_texts("the cat sat on a mat", "the cat sat on the mat")
    precisions = (5 / 6) * (3 / 5) * (2 / 4) * (1 / 3)  # 1- to 4-grams; equal lengths, no penalty
    assert scores.bleu == pytest.approx(precisions**0.25, abs=1e-6)
    assert scores.rouge_l == pytest.approx(5 / 6)  # "the cat sat on mat" of six words each


def test_bleu_punishes_a_text_that_stops_early():
    scores = compare_texts("a b c d", "a b c d e f g h")
    assert scores.bleu == pytest.approx(math.exp(1 - 8 / 4))  # all n-grams right, brevity penalty
    assert scores.rouge_l == pytest.approx(2 * 1.0 * 0.5 / 1.5)


def test_equal_texts_score_one_and_different_ones_zero():
    same = compare_texts(" The answer is 7.\n", "The answer is 7.")
    assert set(same.as_dict().values()) == {1.0}
    nothing = compare_texts("abc", "xyz")
    assert nothing.edit_similarity == nothing.exact_match == nothing.rouge_l == 0.0
    assert compare_texts("", "x y").bleu == 0.0


def test_rouge_does_not_see_the_sign():
    flipped = compare_texts("b = 9 - 4", "b = 9 + 4")
    assert flipped.rouge_l == 1.0
    assert flipped.bleu < 1.0
    assert flipped.edit_similarity == pytest.approx(8 / 9)


def test_token_differences_by_hand():
    found = compare_tokens([1, 2, 3, 4], [1, 9, 3, 4, 5])
    assert (found.edits, found.changed, found.missing) == (2, (1,), 1)
    assert found.similarity == pytest.approx(3 / 5)
    extra = compare_tokens([1, 7, 2], [1, 2])
    assert (extra.edits, extra.changed, extra.missing) == (1, (1,), 0)
    assert compare_tokens([], []).similarity == 1.0


def test_one_inserted_token_shifts_all_later_positions():
    assert positional_agreement([1, 2, 3], [1, 2, 3]) == 1.0
    assert positional_agreement([1, 9, 2, 3], [1, 2, 3]) == pytest.approx(1 / 3)
    assert positional_agreement([1], [1, 2, 3, 4]) == 0.25
    with pytest.raises(ValueError, match="reference is empty"):
        positional_agreement([1], [])


def test_a_model_that_knows_nothing_is_uniform(traces):
    blank = new_course_model(0, hidden_size=32, layers=1, heads=2, intermediate_size=64)
    with torch.no_grad():
        blank.get_input_embeddings().weight.zero_()  # tied to the output: all logits are 0
    size = blank.config.vocab_size
    for score in score_tokens(blank, traces, progress=False):
        assert score.loss == pytest.approx(math.log(size), abs=1e-5)
        assert score.perplexity == pytest.approx(size, rel=1e-4)
        assert score.entropies == pytest.approx(math.log(size), abs=1e-5)
    assert blank.training  # left in the mode it was in


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_batches_equal_one_by_one_passes(model, traces, batch_size):
    for trace, score in zip(traces, score_tokens(model, traces, batch_size, progress=False)):
        ids = torch.tensor([trace.token_ids])
        labels = ids.clone()
        labels[:, : trace.prompt_tokens] = -100
        output = model(input_ids=ids, labels=labels)
        assert score.loss == pytest.approx(output.loss.item(), abs=1e-5)
        assert score.token_ids.tolist() == list(solution_tokens(trace))
        logits = output.logits[0, trace.prompt_tokens - 1 : -1].detach()
        assert score.predicted.tolist() == logits.argmax(-1).tolist()
        entropy = torch.distributions.Categorical(logits=logits).entropy()
        assert np.allclose(score.entropies, entropy.numpy(), atol=1e-4)


def test_scalars_of_a_solution_by_hand():
    score = TokenScores(
        token_ids=np.array([5, 6, 7, 8]),
        log_probabilities=np.log([0.5, 0.25, 1.0, 0.5]).astype(np.float32),
        entropies=np.array([0.0, 1.0, 2.0, 3.0], dtype=np.float32),
        predicted=np.array([5, 0, 7, 0]),
    )
    assert score.loss == pytest.approx(math.log(2))  # (1 + 2 + 0 + 1) bits over four tokens
    assert score.perplexity == pytest.approx(2.0)
    assert score.token_accuracy == 0.5
    assert score.lowest_log_probability == pytest.approx(math.log(0.25))
    assert summarise(score) == pytest.approx(
        {
            "loss": math.log(2),
            "perplexity": 2.0,
            "token_accuracy": 0.5,
            "mean_log_probability": -math.log(2),
            "lowest_log_probability": math.log(0.25),
            "mean_entropy": 1.5,
            "tokens": 4,
        }
    )


def test_what_cannot_be_scored_is_refused(model, traces):
    trace = traces[0]
    empty = replace(trace, token_ids=trace.token_ids[: trace.prompt_tokens], nodes=())
    with pytest.raises(ValueError, match="holds at least one"):
        score_tokens(model, [empty])
    with pytest.raises(ValueError, match="batch_size=0"):
        score_tokens(model, traces, batch_size=0)
    assert score_tokens(model, [], progress=False) == []
    small = new_course_model(0, hidden_size=32, layers=1, heads=2, intermediate_size=64)
    small.config.max_position_embeddings = 30
    with pytest.raises(ValueError, match="takes at most 30 positions"):
        score_tokens(small, traces)
