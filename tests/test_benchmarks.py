"""The benchmarks run, measure what they say, and compare equal things."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def measure(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import measure

    return measure


def test_step_attention_quick_run_prints_a_row_and_writes_nothing(measure, monkeypatch, capsys):
    import step_attention as benchmark

    def here(script, arguments):
        _, method, _, tokens, _, device, _, dtype = arguments
        return {"bytes": benchmark.measure_memory(method, int(tokens), device, dtype)}

    monkeypatch.setattr(benchmark, "json_of_child", here)  # an interpreter each takes seconds
    results = BENCHMARKS.parent / "data" / "results"
    before = {path: path.stat().st_mtime_ns for path in results.glob("*step_attention*")}
    options = ["--device", "cpu", "--quick", "--lengths", "96", "--rounds", "1"]
    assert benchmark.main(options) == 0
    printed = capsys.readouterr().out
    assert "96 tokens" in printed
    assert "faster than eager" in printed
    assert {path: path.stat().st_mtime_ns for path in results.glob("*step_attention*")} == before


def test_ours_and_eager_compute_the_same_masses_in_the_benchmark(measure):
    import step_attention as benchmark

    model = benchmark.build_model("cpu", "float32")
    trace = benchmark.build_trace(model, 128)
    with torch.no_grad():
        eager = benchmark.run_eager(model, *trace)
        for route in benchmark.ROUTES:
            ours = benchmark.run_ours(model, *trace, route=route)
            torch.testing.assert_close(ours, eager, atol=1e-5, rtol=0)
    assert model.config._attn_implementation == "sdpa"


def test_contenders_run_in_turns_and_ratios_are_taken_within_a_round(measure):
    order = []

    def contender(name, seconds):
        return lambda: (order.append(name), time.sleep(seconds))

    seconds = measure.interleaved_seconds(
        {"a": contender("a", 0.02), "b": contender("b", 0.001)}, rounds=3, device="cpu"
    )
    assert order == ["a", "b"] * 4
    assert min(seconds["a"]) >= 0.02
    # A machine twice as slow in one round does not move a ratio taken within the round.
    ratio = measure.ratio_with_interval([2.0, 4.0, 2.0], [1.0, 2.0, 1.0])
    assert ratio == {"value": 2.0, "low": 2.0, "high": 2.0, "n": 3}


def test_peak_memory_sees_what_was_freed_again(measure, tmp_path):
    script = tmp_path / "child.py"
    script.write_text(
        "import json, sys, torch\n"
        f"sys.path.insert(0, {str(BENCHMARKS)!r})\n"
        "import measure\n"
        "held = torch.ones(5 * 2**20)\n"
        "run = lambda: torch.ones(int(sys.argv[1])).sum()\n"
        "print(json.dumps({'bytes': measure.peak_extra_bytes(run, 'cpu')}))\n"
    )
    peak = measure.json_of_child(script, [str(25 * 2**20)])["bytes"]
    assert 99 * 2**20 <= peak <= 150 * 2**20
    with pytest.raises(RuntimeError, match="ended with code"):
        measure.json_of_child(script, ["many"])


def test_committed_result_is_what_the_claims_say():
    path = BENCHMARKS.parent / "data" / "results" / "bench_step_attention_cpu.json"
    if not path.is_file():
        pytest.skip("not measured yet: run python benchmarks/step_attention.py")
    result = json.loads(path.read_text())
    assert result["provenance"]["versions"]["torch"]
    for row in result["rows"]:
        assert row["time_vs_sdpa"]["low"] <= row["time_vs_sdpa"]["value"]
        assert row.get("largest_difference_from_eager", 0.0) <= 1e-4
        assert np.isfinite(row["time_vs_sdpa"]["value"])
