"""What a run learns from: labels, padding, graphs, weights, and the order of the examples."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_models import tiny_model, tiny_traces
from training_toys import toy_data, toy_problems

from rg_helpers.graph_loss.graph_batch import graph_batch
from rg_helpers.graphs.gold import gold_graph
from rg_helpers.problems import generate_problem
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import gold_trace
from rg_helpers.training import GraphCollator, GraphDataset
from rg_helpers.training.order import EpochOrder


def test_an_example_is_the_trace_its_solution_and_its_graph():
    tokenizer, problems = build_tokenizer(), toy_problems(6)
    data = GraphDataset.of_problems(problems, tokenizer)
    for problem, example in zip(problems, data, strict=True):
        trace = gold_trace(problem, tokenizer)
        assert example.input_ids.tolist() == list(trace.token_ids)
        assert example.node_ids.tolist() == trace.node_ids()
        for place, (token, label) in enumerate(zip(trace.token_ids, example.labels.tolist())):
            assert label == (-100 if place < trace.prompt_tokens else token)
        for target, node in enumerate(problem.nodes):
            for source in range(len(problem.nodes)):
                wanted = 1 / len(node.parents) if source in node.parents else 0.0
                assert example.gold[target, source].item() == pytest.approx(wanted)


def test_a_batch_is_padded_behind_the_last_token_and_node():
    problems = toy_problems(5)
    data = toy_data(5)
    batch = GraphCollator(pad=3, multiple=8)(list(data))
    assert batch["input_ids"].shape[1] % 8 == 0
    assert "weights" not in batch
    whole = graph_batch(
        [gold_trace(p, build_tokenizer()) for p in problems], [gold_graph(p) for p in problems]
    )
    assert torch.equal(batch["graph"].kinds, whole.kinds)
    assert torch.equal(batch["graph"].gold, whole.gold)
    assert batch["graph"].trace_ids == whole.trace_ids
    assert batch["graph"].problem_ids == whole.problem_ids
    for row, example in enumerate(data):
        size = len(example)
        assert torch.equal(batch["input_ids"][row, :size], example.input_ids)
        assert torch.equal(batch["labels"][row, :size], example.labels)
        assert batch["input_ids"][row, size:].unique().tolist() in ([], [3])
        assert batch["labels"][row, size:].unique().tolist() in ([], [-100])
        assert batch["node_ids"][row, size:].unique().tolist() in ([], [-1])


def test_weights_have_a_mean_of_one_and_change_the_fingerprint():
    data = toy_data(4, weights=[1.0, 3.0, 2.0, 2.0])
    assert [example.weight for example in data] == [0.5, 1.5, 1.0, 1.0]
    batch = GraphCollator(pad=0, weighted=data.is_weighted)(list(data))
    assert batch["weights"].tolist() == [0.5, 1.5, 1.0, 1.0]
    assert data.fingerprint() != toy_data(4).fingerprint() == toy_data(4).fingerprint()


def test_bad_data_are_refused_with_a_cure():
    traces, tokenizer = tiny_traces(2), build_tokenizer()
    with pytest.raises(ValueError, match="no traces"):
        GraphDataset([])
    with pytest.raises(ValueError, match="2 traces but 1 graphs"):
        GraphDataset(traces, [gold_graph(toy_problems(1)[0])])
    with pytest.raises(ValueError, match="draw it from this very trace"):
        GraphDataset(traces[:1], [gold_graph(toy_problems(1)[0])])
    with pytest.raises(ValueError, match="2 traces but 3 weights"):
        GraphDataset(traces, weights=[1, 1, 1])
    with pytest.raises(ValueError, match="weight 1 is nan"):
        GraphDataset(traces, weights=[1, math.nan])
    with pytest.raises(ValueError, match="all weights are 0"):
        GraphDataset(traces, weights=[0, 0])
    test_problem = generate_problem("program", 1, split="test")
    with pytest.raises(ValueError, match="belongs to the test split"):
        GraphDataset.of_problems([test_problem], tokenizer)
    assert len(GraphDataset.of_problems([test_problem], tokenizer, split="test")) == 1
    with pytest.raises(ValueError, match="tokenizer of this very model"):
        toy_data(2).check_fits(tiny_model("llama"))
    small = tiny_model("gpt2")
    small.config.max_position_embeddings = 10
    with pytest.raises(ValueError, match="takes at most 10 positions"):
        GraphDataset(traces).check_fits(small)


def test_an_epoch_shows_every_example_once_in_batches_of_similar_length():
    lengths = [10 + 7 * (i % 23) for i in range(103)]
    order = EpochOrder(lengths, batch=4, seed=5)
    first = list(order)
    order.set_epoch(1)
    second = list(order)
    assert sorted(first) == sorted(second) == list(range(103))
    assert first != second
    again = EpochOrder(lengths, batch=4, seed=5)
    again.set_epoch(1)
    assert list(again) == second
    again.seed = 6
    assert list(again) != second

    def padding(indices):
        batches = [indices[i : i + 4] for i in range(0, 100, 4)]
        return sum(4 * max(lengths[i] for i in b) - sum(lengths[i] for i in b) for b in batches)

    assert padding(first) < 0.5 * padding(list(range(103)))
    # The batches themselves come in no order of length.
    longest = [max(lengths[i] for i in first[k : k + 4]) for k in range(0, 100, 4)]
    assert longest != sorted(longest)
