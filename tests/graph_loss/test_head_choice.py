"""Head choice: planted heads are found, random ones are repeatable."""

from __future__ import annotations

import numpy as np
import pytest
from graph_toys import TOY_ATTENTION, graph_of, random_attention, random_batch, toy_batch, trace_of
from tiny_models import tiny_model, tiny_traces

from rg_helpers.graph_loss.head_choice import (
    best_aligned_heads,
    best_aligned_heads_of,
    head_alignment,
    random_heads,
)
from rg_helpers.graphs.attention import attention_masses


def planted(seed=0):
    """Head (1, 2) looks at the parents alone, head (0, 1) half, the others at random."""
    traces, gold = random_batch(seed, traces=4)
    masses = []
    for number, graph in enumerate(gold):
        mass = random_attention(traces[number : number + 1], number)[0].numpy()
        mass[1, 2] = 0.7 * graph.weights
        mass[0, 1] = 0.5 * graph.weights + 0.5 * np.tril(mass[0, 1], -1)
        masses.append(mass)
    return traces, gold, masses


def test_alignment_of_the_toy_by_hand():
    batch = toy_batch()
    trace = trace_of([["premise", "question", "step", "answer"][kind] for kind in batch.kinds[0]])
    gold = graph_of(trace, {2: (0,), 3: (1, 2), 4: (3,), 5: (4,)})
    table = head_alignment([TOY_ATTENTION.numpy()[None, None]], [gold])
    assert table.shape == (1, 1)
    assert table[0, 0] == pytest.approx((3 / 4 + 3 / 4 + 1 / 4 + 1) / 4)


def test_planted_heads_are_found_best_first():
    _, gold, masses = planted()
    assert best_aligned_heads(masses, gold, 2) == ((1, 2), (0, 1))
    assert best_aligned_heads(masses, gold, 1, layers=[0]) == ((0, 1),)
    assert len(best_aligned_heads(masses, gold, 6)) == 6


def test_the_rows_count_alike_whatever_the_trace():
    """One table over all rows is not the mean of the traces' tables."""
    _, gold, masses = planted()
    rows = [int((graph.weights > 0).any(1).sum()) for graph in gold]
    each = [head_alignment([mass], [graph]) for mass, graph in zip(masses, gold, strict=True)]
    assert np.allclose(head_alignment(masses, gold), np.average(each, axis=0, weights=rows))


def test_of_a_model():
    model, traces = tiny_model("qwen3"), tiny_traces(3)
    gold = [graph_of(trace, {3: (0,), 4: (1, 3)}) for trace in traces]
    found = best_aligned_heads_of(model, traces, gold, 3, progress=False)
    masses = attention_masses(model, traces, progress=False)
    table = head_alignment(masses, gold)
    assert sorted(table[pair] for pair in found) == sorted(table.flatten())[-3:]


def test_random_heads_are_repeatable_and_leave_out_what_they_should():
    first = random_heads(4, 4, 3, seed=1)
    assert first == random_heads(4, 4, 3, seed=1)
    assert len({random_heads(4, 4, 3, seed=seed) for seed in range(6)}) > 3
    for seed in range(20):
        left = random_heads(2, 2, 2, seed=seed, exclude=[(0, 0), (1, 1)])
        assert left == ((0, 1), (1, 0))
    with pytest.raises(ValueError, match="3 heads of 2"):
        random_heads(2, 2, 3, exclude=[(0, 0), (1, 1)])


def test_what_does_not_fit_is_named():
    _, gold, masses = planted()
    with pytest.raises(ValueError, match="4 attention masses and 3 gold graphs"):
        head_alignment(masses, gold[:3])
    with pytest.raises(ValueError, match="of the same trace"):
        head_alignment([masses[0][..., :-1, :-1]], gold[:1])
    bare = graph_of(trace_of(("premise", "step")), {})
    with pytest.raises(ValueError, match="no step of these graphs has a parent"):
        head_alignment([np.zeros((1, 1, 2, 2))], [bare])
    with pytest.raises(ValueError, match=r"layers \[2\] do not exist"):
        best_aligned_heads(masses, gold, 1, layers=[0, 2])
    with pytest.raises(ValueError, match="7 heads of 6"):
        best_aligned_heads(masses, gold, 7)
