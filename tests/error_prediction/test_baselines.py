"""Baseline numbers against plain loops over single forward passes, on every architecture."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import ARCHITECTURES, tiny_model, tiny_traces

from rg_helpers.error_prediction.baselines import (
    BASELINES,
    CONFIDENCE,
    FORM,
    baseline_columns,
    baseline_numbers,
)
from rg_helpers.error_prediction.solution_span import answer_node, last_step, solution_span
from rg_helpers.graphs import batches
from rg_helpers.language_model import new_course_model
from rg_helpers.problems import FAMILIES, generate_problem
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import gold_trace, trace_from_text

TOKENIZER = build_tokenizer()


@pytest.fixture(scope="module")
def model():
    return new_course_model(0, hidden_size=16, layers=2, heads=2, intermediate_size=32).eval()


@pytest.fixture(scope="module")
def traces():
    return [
        gold_trace(generate_problem(family, seed, operations=2 + seed), TOKENIZER)
        for family in FAMILIES
        for seed in range(2)
    ]


def by_hand(model, trace) -> dict[str, float]:
    """One unpadded pass; every number from its words."""
    with torch.no_grad():
        logits = model(torch.tensor([trace.token_ids])).logits[0].double()
    surprise, entropy = {}, {}
    written = [t for node in trace.steps for t in range(node.start, node.end)]
    for place in range(trace.prompt_tokens, max(written) + 1):
        p = torch.softmax(logits[place - 1], -1).tolist()
        surprise[place] = -math.log(p[trace.token_ids[place]])
        entropy[place] = -sum(q * math.log(q) for q in p if q > 0)
    answer, before = trace.steps[-1], trace.steps[-2]
    of_answer = [surprise[t] for t in range(answer.start, answer.end)]
    of_last = [surprise[t] for t in range(before.start, before.end)]
    return {
        "length": len(surprise),
        "steps": len(trace.steps),
        "mean_log_probability": -sum(surprise.values()) / len(surprise),
        "min_log_probability": -max(surprise.values()),
        "last_log_probability": -sum(of_last) / len(of_last),
        "mean_entropy": sum(entropy.values()) / len(entropy),
        "max_entropy": max(entropy.values()),
        "answer_perplexity": math.exp(sum(of_answer) / len(of_answer)),
    }


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_agrees_with_single_passes(architecture):
    model = tiny_model(architecture)
    traces = tiny_traces(3)
    numbers = baseline_numbers(model, traces, progress=False)
    assert numbers.shape == (3, len(BASELINES))
    for row, trace in zip(numbers, traces, strict=True):
        expected = by_hand(model, trace)
        assert list(expected) == list(BASELINES)
        np.testing.assert_allclose(row, list(expected.values()), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("batch_size", [1, 4, None])
def test_batches_change_nothing(model, traces, batch_size):
    numbers = baseline_numbers(model, traces, batch_size=batch_size, progress=False)
    for row, trace in zip(numbers, traces, strict=True):
        np.testing.assert_allclose(row, list(by_hand(model, trace).values()), rtol=1e-4, atol=1e-5)


def test_large_vocabularies_make_small_batches(model, traces, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "rg_helpers.error_prediction.baselines.score_tokens",
        lambda model, batch, **options: seen.append(len(batch)) or score(model, batch, **options),
    )
    vocabulary, longest = model.config.vocab_size, max(map(len, traces))
    monkeypatch.setattr(batches, "free_bytes", lambda model: 2 * 4 * 5 * vocabulary * longest)
    baseline_numbers(model, traces, progress=False)
    assert max(seen) <= 2
    monkeypatch.setattr(batches, "free_bytes", lambda model: 10**12)
    baseline_numbers(model, traces, progress=False)
    assert seen[-1] == len(traces)


def score(*arguments, **options):
    from rg_helpers.token_scores import score_tokens

    return score_tokens(*arguments, **options)


def test_whether_a_text_ended_does_not_show(model, traces):
    trace = traces[0]
    broken_off = replace(trace, token_ids=trace.token_ids[:-1], finished=False)
    numbers = baseline_numbers(model, [trace, broken_off], progress=False)
    np.testing.assert_allclose(numbers[0], numbers[1], rtol=1e-5)


def test_spans_and_lines_by_hand():
    trace = trace_from_text(
        TOKENIZER, "Ana has 2 pens.", "Ana has 2. The answer is 2.", separator=" "
    )
    start, end = solution_span(trace)
    assert TOKENIZER.decode(trace.token_ids[start:end]).strip() == trace.solution
    assert (answer_node(trace).text, last_step(trace).text) == ("The answer is 2.", "Ana has 2.")
    alone = trace_from_text(TOKENIZER, "Ana has 2 pens.", "The answer is 2.")
    assert last_step(alone) == answer_node(alone) == alone.steps[0]
    unannounced = trace_from_text(TOKENIZER, "Ana has 2 pens.", "Ana has 2. Ana has 3.")
    assert answer_node(unannounced).text == "Ana has 3."
    assert last_step(unannounced).text == "Ana has 2."


def test_a_solution_without_steps_is_refused(model):
    nothing = trace_from_text(TOKENIZER, "Ana has 2 pens.", "", finished=False, allow_no_steps=True)
    with pytest.raises(ValueError, match="0 written steps: leave it out"):
        baseline_numbers(model, [nothing], progress=False)
    long = trace_from_text(TOKENIZER, "Ana has 2 pens.", "Ana has 2. " * 5000)
    with pytest.raises(ValueError, match="positions"):
        baseline_numbers(model, [long], progress=False)
    assert baseline_numbers(model, [], progress=False).shape == (0, len(BASELINES))


def test_columns_by_name(model, traces):
    numbers = baseline_numbers(model, traces[:2], progress=False)
    form = baseline_columns(numbers, FORM)
    assert form[:, 1].tolist() == [len(trace.steps) for trace in traces[:2]]
    assert baseline_columns(numbers, CONFIDENCE).shape == (2, 6)
    with pytest.raises(ValueError, match="no baseline 'luck'"):
        baseline_columns(numbers, ["luck"])


def test_the_models_mode_is_put_back(model, traces):
    model.train()
    baseline_numbers(model, traces[:1], progress=False)
    assert model.training
    model.eval()
