"""Hidden states against hooks on single passes; nothing of the solution leaks into the question."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import ARCHITECTURES, tiny_model, tiny_traces

from rg_helpers.error_prediction.hidden_states import PLACES, trace_states
from rg_helpers.graphs import batches
from rg_helpers.language_model import new_course_model
from rg_helpers.problems import generate_problem, plant_error
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import gold_trace, trace_from_text

TOKENIZER = build_tokenizer()


def blocks_of(model):
    base = model.base_model
    return list(getattr(base, "layers", None) or base.h)


def norm_of(model):
    base = model.base_model
    return next(getattr(base, n) for n in ("norm", "ln_f", "final_layer_norm") if hasattr(base, n))


def by_hand(model, trace):
    """What the blocks leave behind in one unpadded pass: (layers, tokens, width)."""
    left = []

    def keep(module, given, output):
        left.append(output[0] if isinstance(output, tuple) else output)

    hooks = [block.register_forward_hook(keep) for block in blocks_of(model)]
    with torch.no_grad():
        model(torch.tensor([trace.token_ids]), use_cache=False)
        left[-1] = norm_of(model)(left[-1])
    for hook in hooks:
        hook.remove()
    return torch.stack([states.reshape(len(trace), -1) for states in left]).numpy()


def assert_agree(model, traces, states):
    for row, trace in enumerate(traces):
        expected = by_hand(model, trace)
        start, end = trace.prompt_tokens, trace.steps[-1].end
        mean = sum(expected[:, place] for place in range(start, end)) / (end - start)
        np.testing.assert_allclose(states.question[row], expected[:, start - 1], 1e-3, 1e-4)
        np.testing.assert_allclose(states.solution_mean[row], mean, 1e-3, 1e-4)
        np.testing.assert_allclose(states.solution_last[row], expected[:, end - 1], 1e-3, 1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_agrees_with_hooks(architecture):
    model, traces = tiny_model(architecture), tiny_traces(3)
    states = trace_states(model, traces, progress=False)
    assert states.question.shape == (3, 2, 32)
    assert states.question.dtype == np.float32
    assert_agree(model, traces, states)


@pytest.fixture(scope="module")
def model():
    return new_course_model(0, hidden_size=16, layers=3, heads=2, intermediate_size=32).eval()


@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_batches_change_nothing(model, batch_size):
    traces = [
        gold_trace(generate_problem("program", seed, operations=1 + seed), TOKENIZER)
        for seed in range(4)
    ]
    assert_agree(model, traces, trace_states(model, traces, batch_size=batch_size, progress=False))


def test_memory_bounds_the_batch(model, monkeypatch):
    monkeypatch.setattr(batches, "free_bytes", lambda model: 0)
    seen = []
    inner = model.base_model.forward

    def count(*arguments, input_ids, **options):
        seen.append(len(input_ids))
        return inner(*arguments, input_ids=input_ids, **options)

    monkeypatch.setattr(model.base_model, "forward", count)
    traces = [gold_trace(generate_problem("deduction", seed), TOKENIZER) for seed in range(3)]
    trace_states(model, traces, progress=False)
    assert seen == [1, 1, 1]


@pytest.mark.parametrize("family", ["arithmetic", "program"])
def test_the_questions_state_knows_nothing_of_the_solution(model, family):
    problem = generate_problem(family, 1)
    planted = plant_error(problem, "contradiction")
    traces = [
        trace_from_text(TOKENIZER, problem.prompt, text, family=family, separator=problem.separator)
        for text in (problem.solution, planted.text)
    ]
    states = trace_states(model, traces, progress=False)
    np.testing.assert_allclose(states.question[0], states.question[1], rtol=1e-4, atol=1e-6)
    assert np.abs(states.solution_mean[0] - states.solution_mean[1]).max() > 1e-4


def test_candidates_by_layer(model):
    traces = [gold_trace(generate_problem("deduction", seed), TOKENIZER) for seed in range(2)]
    model.train()
    states = trace_states(model, traces, progress=False)
    assert model.training
    model.eval()
    for place in PLACES:
        layers = states.by_layer(place)
        assert list(layers) == ["layer 0", "layer 1", "layer 2"]
        assert (layers["layer 1"] == getattr(states, place)[:, 1]).all()
    with pytest.raises(ValueError, match="expected one of question"):
        states.by_layer("answer")


def test_refusals(model):
    with pytest.raises(ValueError, match="no traces"):
        trace_states(model, [], progress=False)
    nothing = trace_from_text(TOKENIZER, "Ana has 2.", "", finished=False, allow_no_steps=True)
    with pytest.raises(ValueError, match="leave it out"):
        trace_states(model, [nothing], progress=False)
