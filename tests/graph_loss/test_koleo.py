"""KoLeo: nearest neighbours by brute force, and a buffer that is a value."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from graph_toys import random_attention, random_batch, toy_attention, toy_batch

from rg_helpers.graph_loss import graph_batch
from rg_helpers.graph_loss.graph_batch import GraphBatch
from rg_helpers.graph_loss.koleo import (
    KoLeoBuffer,
    graph_embeddings,
    koleo,
    koleo_step,
    load_buffer,
    save_buffer,
)
from rg_helpers.graph_loss.soft_features import SOFT_FEATURES


def drawn(seed=0, traces=5):
    found, _ = random_batch(seed, traces)
    return found, random_attention(found, seed), graph_batch(found)


def test_embeddings_have_length_one_and_do_not_know_the_batch():
    traces, attention, batch = drawn()
    embeddings = graph_embeddings(attention, batch)
    assert embeddings.shape == (5, 6 * len(SOFT_FEATURES))
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(5).double(), atol=1e-6)
    alone = graph_batch(traces[1:2])
    size = alone.nodes
    single = graph_embeddings(attention[1:2, ..., :size, :size], alone)
    assert torch.allclose(single[0], embeddings[1])


def test_equals_brute_force_over_batch_and_buffer():
    _, attention, batch = drawn()
    _, earlier_attention, earlier = drawn(seed=1)
    buffer = KoLeoBuffer.empty(8).pushed(
        graph_embeddings(earlier_attention, earlier), earlier.problem_ids
    )
    found = koleo(attention, batch, buffer=buffer)
    x = graph_embeddings(attention, batch)
    for row in range(5):
        others = [x[other] for other in range(5) if other != row] + list(buffer.embeddings)
        nearest = min((x[row] - other).norm() for other in others)
        assert found[row].item() == pytest.approx(-nearest.log().item(), abs=1e-5)


def test_traces_of_one_problem_are_no_neighbours():
    traces, attention, _ = drawn(traces=3)
    twin = graph_batch([traces[0], replace(traces[1], problem_id=traces[0].problem_id), traces[2]])
    x = graph_embeddings(attention, twin)
    to_third = (x[0] - x[2]).norm()
    assert koleo(attention, twin)[0].item() == pytest.approx(-to_third.log().item(), abs=1e-6)
    alone = graph_batch([replace(trace, problem_id="one") for trace in traces])
    assert koleo(attention, alone).tolist() == [0, 0, 0]


def test_a_trace_does_not_meet_itself_from_the_epoch_before():
    _, attention, batch = drawn()
    own = KoLeoBuffer.empty(16).pushed(graph_embeddings(attention, batch), batch.problem_ids)
    assert torch.allclose(koleo(attention, batch, buffer=own), koleo(attention, batch))


def test_equal_graphs_of_two_problems_stay_finite():
    traces, attention, _ = drawn(traces=1)
    batch = graph_batch([traces[0], replace(traces[0], problem_id="another")])
    twice = attention.repeat(2, 1, 1, 1, 1).requires_grad_(True)
    loss = koleo(twice, batch)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert twice.grad.isfinite().all()


def test_descent_spreads_the_graphs():
    _, attention, batch = drawn()
    scores = (attention + 1e-3).log().requires_grad_(True)
    before = koleo(scores.softmax(-1), batch).mean().item()
    optimizer = torch.optim.Adam([scores], 0.05)
    for _ in range(20):
        optimizer.zero_grad()
        koleo(scores.softmax(-1), batch).mean().backward()
        optimizer.step()
    assert koleo(scores.softmax(-1), batch).mean().item() < before - 0.3


def test_training_fills_a_new_buffer_and_leaves_the_old_one():
    _, attention, batch = drawn()
    attention.requires_grad_(True)
    start = KoLeoBuffer.empty(7)
    loss, first = koleo_step(attention, batch, start, training=True)
    assert torch.allclose(loss, koleo(attention, batch))
    assert start.problem_ids == ()
    assert first.problem_ids == batch.problem_ids
    assert not first.embeddings.requires_grad
    _, other_attention, other = drawn(seed=1)
    kept = first.embeddings.clone()
    loss, second = koleo_step(other_attention, other, first, training=True)
    assert torch.allclose(loss, koleo(other_attention, other, buffer=first))
    assert second.problem_ids == (*batch.problem_ids[3:], *other.problem_ids)  # the oldest left
    assert len(second.embeddings) == 7
    assert torch.equal(first.embeddings, kept)


def test_evaluation_neither_reads_nor_fills_the_buffer():
    _, attention, batch = drawn()
    _, near, earlier = drawn(seed=1)
    buffer = KoLeoBuffer.empty(8).pushed(graph_embeddings(near, earlier), earlier.problem_ids)
    before = buffer.embeddings.clone()
    loss, after = koleo_step(attention, batch, buffer, training=False)
    assert after is buffer
    assert torch.equal(buffer.embeddings, before)
    assert torch.equal(loss, koleo(attention, batch))
    assert not torch.equal(loss, koleo(attention, batch, buffer=buffer))


def test_a_resumed_run_goes_on_with_the_same_buffer(tmp_path):
    _, attention, batch = drawn()
    _, buffer = koleo_step(attention, batch, KoLeoBuffer.empty(3), training=True)
    again = load_buffer(save_buffer(tmp_path / "buffer.safetensors", buffer))
    assert again.size == 3
    assert again.problem_ids == buffer.problem_ids == batch.problem_ids[2:]
    assert torch.equal(again.embeddings, buffer.embeddings)
    empty = load_buffer(save_buffer(tmp_path / "empty.safetensors", KoLeoBuffer.empty(3)))
    assert empty.problem_ids == ()
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is not a KoLeo buffer"):
        load_buffer(tmp_path / "bad.safetensors")
    with pytest.raises(FileNotFoundError, match=r"KoLeoBuffer\.empty"):
        load_buffer(tmp_path / "missing.safetensors")


def test_what_cannot_be_compared_is_refused():
    batch = toy_batch()
    with pytest.raises(ValueError, match="does not say which problems"):
        koleo(toy_attention(), GraphBatch(batch.kinds))
    _, attention, other = drawn()
    buffer = KoLeoBuffer.empty(8).pushed(graph_embeddings(attention, other), other.problem_ids)
    with pytest.raises(ValueError, match=r"width 78, these have 13.*KoLeoBuffer\.empty"):
        koleo(toy_attention(), batch, buffer=buffer)
    with pytest.raises(ValueError, match="a buffer of -1"):
        KoLeoBuffer.empty(-1)
