"""Capturing while a model writes gives the graphs of a pass over what it wrote."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import ARCHITECTURES, tiny_model

from rg_helpers.graphs.capture import capture_attention
from rg_helpers.graphs.lightweight import Lightweight, lightweight_scores
from rg_helpers.language_model import load_model
from rg_helpers.problems import generate_problems
from rg_helpers.traces import Node, Trace, sample_traces
from rg_helpers.traces.key_value_cache import doubling_cache

CHOSEN = Lightweight(((1, 2), (0, 3), (1, 0)), 0.0)


def written_traces(model, prompts=(14, 19, 16), new=9) -> list[Trace]:
    """Let `generate` continue random prompts, padded on the left, and cut the result into nodes."""
    generator = torch.Generator().manual_seed(5)
    texts = [torch.randint(3, 61, (length,), generator=generator).tolist() for length in prompts]
    width = max(prompts)
    ids = torch.zeros(len(texts), width, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, width - len(text) :] = torch.tensor(text)
        mask[row, width - len(text) :] = 1
    output = model.generate(
        input_ids=ids,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=new,
        min_new_tokens=new,
        pad_token_id=0,
        past_key_values=doubling_cache(model),
    )
    traces = []
    for row, text in enumerate(texts):
        tokens = [*text, *output[row, width:].tolist()]
        spans = [
            (1, 4),
            (5, len(text)),
            (len(text), len(text) + 3),
            (len(text) + 3, len(tokens) - 1),
        ]
        kinds = ("premise", "question", "step", "answer")
        nodes = [Node(kind, kind, *span) for kind, span in zip(kinds, spans, strict=True)]
        name = f"row-{row}"
        traces.append(Trace(name, name, "text", "p", "s", tokens, len(text), nodes, False))
    return traces


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equals_a_pass_over_the_finished_trace(name):
    model = tiny_model(name)
    plain = written_traces(model)
    with capture_attention(model, CHOSEN) as capture:
        traces = written_traces(model)
    assert [trace.token_ids for trace in traces] == [trace.token_ids for trace in plain]
    assert model.config._attn_implementation == "sdpa"
    found = capture.scores(traces)
    windows = name in ("gemma3", "mistral")  # their cache drops keys, so nothing can be captured
    assert capture.missed == (3 if windows else 0)
    for one, other in zip(found, lightweight_scores(model, traces, CHOSEN), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    assert found[0].std() > 0.05


def test_several_batches_and_strangers():
    model = tiny_model("qwen3")
    with capture_attention(model, CHOSEN) as capture:
        traces = [*written_traces(model), *written_traces(model, prompts=(21, 13))]
    others = written_traces(model, prompts=(17,), new=8)
    unfed = written_traces(model)[0]
    last = Node("answer", "a", unfed.nodes[-1].start, len(unfed))
    longer = Trace(
        "x", "x", "text", "p", "s", unfed.token_ids, 14, [*unfed.nodes[:-1], last], False
    )
    mixed = [traces[4], others[0], *traces[:4], longer]
    found = capture.scores(mixed)
    assert capture.missed == 2
    for one, other in zip(found, lightweight_scores(model, mixed, CHOSEN), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    assert capture.graphs(mixed)[0].method == "lightweight"


@pytest.mark.parametrize("draft", [True, False])
def test_sampling_from_the_course_model(draft):
    model, tokenizer = load_model("course")
    problems = generate_problems("deduction", 5, split="test", seed=2, operations=(2, 2))
    chosen = Lightweight(((1, 3), (0, 2)), 0.0)
    plain = sample_traces(model, tokenizer, problems, draft=draft, progress=False)
    with capture_attention(model, chosen) as capture:
        traces = sample_traces(model, tokenizer, problems, draft=draft, progress=False)
    assert [trace.token_ids for trace in traces] == [trace.token_ids for trace in plain]
    found = capture.scores(traces, progress=False)
    for one, other in zip(found, lightweight_scores(model, traces, chosen), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    finished = sum(trace.finished and not trace.extra["retokenised"] for trace in traces)
    assert finished > 0
    assert capture.missed <= len(traces) - finished


def test_refusals_leave_the_model_as_it_was():
    model = tiny_model("llama")
    with (
        pytest.raises(ValueError, match="rows"),
        capture_attention(model, Lightweight(((0, 0),), 0, 1)),
    ):
        pass
    with (
        pytest.raises(ValueError, match="layer 9"),
        capture_attention(model, Lightweight(((9, 0),), 0)),
    ):
        pass
    with (
        pytest.raises(ValueError, match="heads 0 to 3"),
        capture_attention(model, Lightweight(((0, 7),), 0)),
    ):
        written_traces(model)
    assert model.config._attn_implementation == "sdpa"
    assert written_traces(model)
