"""The gradient-graph benchmark runs, compares equal things, and writes only when it should."""

from __future__ import annotations

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gradient_graph

    return gradient_graph


def test_quick_run_prints_every_method_and_writes_nothing(benchmark, capsys):
    results = BENCHMARKS.parent / "data" / "results"
    before = {path: path.stat().st_mtime_ns for path in results.glob("*")}
    assert benchmark.main(["--device", "cpu", "--quick", "--steps", "3"]) == 0
    printed = capsys.readouterr().out
    assert "3 steps" in printed
    for name in benchmark.METHODS:
        assert name in printed or name == "forward_backward"
    assert {path: path.stat().st_mtime_ns for path in results.glob("*")} == before


def test_rows_hold_what_the_claims_point_to(benchmark):
    row = benchmark.measure_steps(
        benchmark.build_model("cpu", "float32"), 3, 1, "cpu", "float32", memory=False
    )
    assert set(benchmark.CLAIMED) <= set(row["time_vs_forward_backward"])
    for name, difference in row["largest_relative_difference_from_naive"].items():
        assert difference < 1e-4, f"{name} is not what the naive version gives"
    trace = benchmark.build_trace(benchmark.build_model("cpu", "float32"), 8)
    assert sum(node.kind in ("step", "answer") for node in trace.nodes) == 8
