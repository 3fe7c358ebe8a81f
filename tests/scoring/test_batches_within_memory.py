"""Batches stay within the budget; where memory runs out, they are halved and nothing is lost."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from tiny_models import tiny_model, tiny_traces

from rg_helpers.scoring import memory
from rg_helpers.scoring.memory import GIB, Budget, Refused, in_batches, memory_budget, ran_out

TRACES = sorted(tiny_traces(9), key=len)


@pytest.fixture(autouse=True)
def no_collection(monkeypatch):
    """Collecting garbage after every failure takes longer than all the rest."""
    monkeypatch.setattr(memory, "gc", SimpleNamespace(collect=lambda: 0))


def lengths(batch):
    return [len(trace) for trace in batch]


def test_batches_hold_what_the_budget_allows_the_largest_first():
    longest = len(TRACES[-1])
    budget = Budget(3 * longest)
    batches = list(in_batches(TRACES, lengths, len, budget))
    assert sorted(i for chosen, _ in batches for i in chosen) == list(range(9))
    order = [len(TRACES[index]) for chosen, _ in batches for index in chosen]
    assert order == sorted(order, reverse=True)
    for chosen, found in batches:
        assert found == [len(TRACES[index]) for index in chosen]
        assert len(chosen) * len(TRACES[chosen[0]]) <= 3 * longest
    assert len(batches[0][0]) == 3
    assert not budget.notes


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
        ValueError("step attention of 8 x 9 tokens needs at least 2 GiB, and 1.0 GiB are free"),
    ],
)
def test_a_batch_that_runs_out_is_halved_and_later_ones_stay_small(error):
    tried = []

    def work(batch):
        tried.append(len(batch))
        if len(batch) > 2:
            raise error
        return lengths(batch)

    budget = Budget(10**9, largest=8)
    found = dict(
        pair for chosen, got in in_batches(TRACES, work, len, budget)
        for pair in zip(chosen, got, strict=True)
    )  # fmt: skip
    assert found == {index: len(trace) for index, trace in enumerate(TRACES)}
    assert tried == [8, 4, 2, 2, 2, 2, 1]
    assert budget.largest == 2
    assert [note.split(":")[0] for note in budget.notes] == [
        "memory ran out with 8 solutions in a batch",
        "memory ran out with 4 solutions in a batch",
    ]


def test_one_that_never_fits_is_left_out_and_the_rest_goes_on():
    def work(batch):
        if TRACES[-1] in batch:
            raise MemoryError
        return lengths(batch)

    found = list(in_batches(TRACES, work, len, Budget(10**9)))
    failed = [got for chosen, got in found if chosen == [8]]
    assert isinstance(failed[0][0], Refused)
    assert "memory ran out on it alone" in failed[0][0].reason
    assert sum(len(chosen) for chosen, _ in found) == 9
    small = Budget(len(TRACES[4]))
    found = dict(
        pair for chosen, got in in_batches(TRACES, lengths, len, small)
        for pair in zip(chosen, got, strict=True)
    )  # fmt: skip
    fits = [len(trace) <= small.bytes for trace in TRACES]
    assert not all(fits)
    assert [not isinstance(found[index], Refused) for index in range(9)] == fits
    assert "estimated" in found[8].reason


def test_one_that_is_refused_is_named_and_a_defect_is_not_swallowed():
    def work(batch):
        if TRACES[3] in batch:
            raise ValueError("something else")
        return lengths(batch)

    assert not ran_out(ValueError("something else"))
    budget = Budget(10**9, largest=4)
    found = dict(
        pair for chosen, got in in_batches(TRACES, work, len, budget)
        for pair in zip(chosen, got, strict=True)
    )  # fmt: skip
    assert found.pop(3) == Refused("something else")
    assert found == {index: len(trace) for index, trace in enumerate(TRACES) if index != 3}
    assert budget.largest == 4

    def broken(batch):
        raise RuntimeError("index 7 is out of range")

    with pytest.raises(RuntimeError, match="out of range"):
        list(in_batches(TRACES, broken, len, budget))


def test_the_budget_counts_what_the_process_holds():
    model = tiny_model("qwen3")
    with pytest.raises(ValueError, match="already"):
        memory_budget(model, 0.001)
    wide, wider = memory_budget(model, 100), memory_budget(model, 101)
    assert abs(wider.bytes - wide.bytes - GIB) < GIB / 8
    assert memory_budget(model).bytes > 0
