"""The benchmark of the features runs, compares equal values, and writes nothing when quick."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RESULT = BENCHMARKS.parent / "data" / "results" / "bench_features.json"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import importlib.util

    spec = importlib.util.spec_from_file_location("bench_features", BENCHMARKS / "features.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_quick_run_prints_the_speedup_and_writes_nothing(benchmark, capsys):
    before = RESULT.stat().st_mtime_ns if RESULT.is_file() else None
    assert benchmark.main(["--quick"]) == 0
    assert "x faster than NetworkX" in capsys.readouterr().out
    assert (RESULT.stat().st_mtime_ns if RESULT.is_file() else None) == before


def test_graphs_are_dense_seeded_and_of_the_size_stated(benchmark):
    graphs = benchmark.build_graphs(20)
    sizes = [len(graph) for graph in graphs]
    assert 20 <= min(sizes) < max(sizes) <= 40
    for graph, again in zip(graphs, benchmark.build_graphs(20), strict=True):
        np.testing.assert_array_equal(graph.weights, again.weights)
        assert len(graph.edges) > 0.9 * len(graph) * (len(graph) - 1) / 2


def test_no_claim_is_made_where_values_differ(benchmark, tmp_path):
    row = {"metrics": 1, "largest_difference": 1e-3, "of": "density",
           "speedup_vs_networkx": {"value": 99.0}}  # fmt: skip
    with pytest.raises(RuntimeError, match="no claim"):
        benchmark.register_claim(tmp_path / "x.json", row)


def test_committed_result_is_of_equal_values():
    if not RESULT.is_file():
        pytest.skip("not measured yet: run python benchmarks/features.py")
    result = json.loads(RESULT.read_text())
    assert result["largest_difference"] <= 1e-6
    ratio = result["speedup_vs_networkx"]
    assert ratio["low"] <= ratio["value"] <= ratio["high"]
