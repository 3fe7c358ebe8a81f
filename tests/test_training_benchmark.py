"""The training benchmark runs, compares equal losses, and rebuilds the original's step."""

from __future__ import annotations

import json
from pathlib import Path

import networkx
import numpy as np
import pytest
import transformers.trainer

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
RESULTS = BENCHMARKS.parent / "data" / "results"


@pytest.fixture
def benchmark(monkeypatch):
    found = getattr(transformers.trainer, "datasets", None)
    if found is None or not hasattr(found, "Dataset"):  # a folder of tests may have that name
        monkeypatch.setattr(transformers.trainer, "is_datasets_available", lambda: False)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import training_step

    return training_step


def test_a_small_run_measures_every_contender_and_writes_nothing(benchmark, capsys, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in RESULTS.glob("*")}
    rows = []
    monkeypatch.setattr(
        benchmark, "show", lambda row, show=benchmark.show: rows.append(row) or show(row)
    )
    options = ["--device", "cpu", "--quick", "--tokens", "81", "--batch", "2"]
    assert benchmark.main(options) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in benchmark.METHODS)
    assert {path: path.stat().st_mtime_ns for path in RESULTS.glob("*")} == before
    row = rows[0]
    losses = row["first_losses"]
    # All start from one model, which hardly moves: the same cross-entropy, and terms on top of it.
    assert losses["no_term"] == pytest.approx(losses["ce"], rel=1e-4)
    for name in (*benchmark.TERMS[:1], *benchmark.TERMS[2:], "together"):
        assert losses[name] > losses["ce"] + 1e-3, f"{name} adds nothing"
    assert losses["original"] == pytest.approx(losses["ce"], rel=1e-3)
    assert row["original_graph_has_gradient"] is False
    for name in benchmark.TERMS:
        assert row["time_vs_ce"][name]["value"] > 0
        assert row["speedup_vs_original"][name]["value"] > 0
    assert row["costliest_term"] in benchmark.TERMS


def test_cross_entropy_is_bit_equal_and_eager_attention_agrees(benchmark):
    contenders = benchmark.Contenders("cpu", "float32", 81, 2)
    batch = contenders.batch
    plain = {name: batch[name] for name in ("input_ids", "labels")}
    losses = {}
    for name, given in (("ce", plain), ("no_term", batch)):
        trainer = contenders.trainer(name)
        samples, items = trainer.get_batch_samples(iter([given]), 1, trainer.args.device)
        losses[name] = trainer.compute_loss(
            contenders.model, samples[0], num_items_in_batch=items
        ).item()
    assert losses["ce"] == losses["no_term"]
    eager, graph = contenders.detached["original"].loss(contenders.model, batch)
    assert eager.item() == pytest.approx(losses["ce"], rel=1e-5)
    assert eager.requires_grad
    assert not graph.requires_grad
    assert contenders.model.config._attn_implementation == "sdpa"


def test_memory_of_a_step_is_taken(benchmark):
    small = benchmark.measure_memory("alignment", 97, 2, "cpu", "float32")
    large = benchmark.measure_memory("alignment", 385, 4, "cpu", "float32")
    assert large > small
    assert large > 2**20


def test_the_original_graph_is_made_of_the_most_attended_tokens(benchmark):
    import detached_graph_step as original

    generator = np.random.default_rng(0)
    attention = np.tril(generator.random((50, 50)))
    attention /= attention.sum(1, keepdims=True)
    states = generator.random((50, 16))
    graph = original.token_graph(attention, states, 8)
    received = {token: attention[:, token].sum() for token in range(50)}
    assert set(graph) == set(sorted(received, key=received.get)[-20:])
    for target in graph:
        sources = sorted((s for s in graph if s != target), key=lambda s: -attention[target, s])
        drawn = [source for source, _ in graph.in_edges(target)]
        # Its three strongest, of which itself is dropped where it is among them.
        assert set(drawn) <= set(sources[:3])
        assert all(attention[target, source] > 0 for source in drawn)
    data = original.graph_data(graph)
    assert data.x.shape == (20, 8)
    weights = networkx.to_numpy_array(graph, nodelist=list(graph))
    edges = data.edge_index.numpy()
    assert np.allclose(weights[edges[0], edges[1]], data.edge_weight.numpy())
    assert len(data.edge_weight) == graph.number_of_edges()


def test_committed_result_is_what_the_claims_say():
    path = RESULTS / "bench_training_step_cpu.json"
    if not path.is_file():
        pytest.skip("not measured yet: run python benchmarks/training_step.py")
    result = json.loads(path.read_text())
    assert result["provenance"]["versions"]["torch"]
    row = result["rows"][0]
    assert (row["tokens"], row["batch"]) == (512, 8)
    assert row["original_graph_has_gradient"] is False
    for figure in ("time_vs_ce", "speedup_vs_original"):
        for ratio in row[figure].values():
            assert ratio["low"] <= ratio["value"] <= ratio["high"]
    assert all(np.isfinite(peak) and peak > 0 for peak in row["peak_extra_bytes"].values())
