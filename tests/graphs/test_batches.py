"""Batches: every trace once, similar lengths together, as many as fit, padding on the right."""

from __future__ import annotations

import pytest
import torch

from rg_helpers.graphs import batches as module
from rg_helpers.graphs.batches import (
    LARGEST_BATCH,
    check_traces,
    evaluation_mode,
    forward_bytes,
    length_batches,
    padded_batch,
)
from rg_helpers.language_model import new_course_model
from rg_helpers.problems import FAMILIES, generate_problems
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import gold_trace, trace_from_text

TOKENIZER = build_tokenizer()
TRACES = [
    gold_trace(problem, TOKENIZER)
    for family in FAMILIES
    for problem in generate_problems(family, 3, seed=6)
]


@pytest.fixture(scope="module")
def model():
    return new_course_model(0, hidden_size=16, layers=2, heads=2, intermediate_size=32).eval()


def test_batches_shrink_with_free_memory(model, monkeypatch):
    monkeypatch.setattr(module, "free_bytes", lambda model: 10**12)
    assert len(length_batches(model, TRACES)) == 1
    needed = forward_bytes(model, max(TRACES, key=len))
    monkeypatch.setattr(module, "free_bytes", lambda model: needed)
    batches = length_batches(model, TRACES)
    assert sorted(index for batch in batches for index in batch) == list(range(len(TRACES)))
    assert len(batches[0]) == 1
    monkeypatch.setattr(module, "free_bytes", lambda model: 0)
    assert length_batches(model, TRACES) == [[index] for index in by_length()]


def by_length():
    return sorted(range(len(TRACES)), key=lambda index: -len(TRACES[index]))


def test_a_method_may_say_what_it_needs(model, monkeypatch):
    monkeypatch.setattr(module, "free_bytes", lambda model: 3 * 1000)
    batches = length_batches(model, TRACES, bytes_needed=lambda model, trace: 1000)
    assert batches == [by_length()[first : first + 3] for first in (0, 3, 6)]
    many = length_batches(model, TRACES * 8, bytes_needed=lambda model, trace: 0)
    assert max(len(batch) for batch in many) == LARGEST_BATCH


def test_a_given_batch_size_is_kept(model):
    assert [len(batch) for batch in length_batches(model, TRACES, 4)] == [4, 4, 1]
    with pytest.raises(ValueError, match="batch_size"):
        length_batches(model, TRACES, 0)


def test_padding_stands_on_the_right():
    short, long = sorted(TRACES, key=len)[0], sorted(TRACES, key=len)[-1]
    ids, mask, nodes = padded_batch([short, long], "cpu")
    assert ids.shape == mask.shape == nodes.shape == (2, len(long))
    assert ids[0, : len(short)].tolist() == list(short.token_ids)
    assert nodes[1].tolist() == long.node_ids()
    assert mask.sum(1).tolist() == [len(short), len(long)]
    assert set(nodes[0, len(short) :].tolist()) == {-1}
    assert ids.dtype == mask.dtype == nodes.dtype == torch.int64


def test_traces_that_cannot_be_drawn_are_refused(model):
    check_traces(model, TRACES)
    long = trace_from_text(TOKENIZER, "Ana has 2 pens.", "Ana has 2. " * 5000)
    with pytest.raises(ValueError, match="at most 2048 positions"):
        check_traces(model, [long])


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_put_back_after_an_error(model, training):
    model.train(training)

    def fails_inside():
        with evaluation_mode(model):
            assert not model.training
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails_inside()
    assert model.training is training
    model.eval()
