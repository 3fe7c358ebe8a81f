"""The lightweight benchmark measures what it says and compares equal things."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rg_helpers.edge_recovery import GraphSet, auroc
from rg_helpers.graphs.gold import gold_graph
from rg_helpers.problems import generate_problems
from rg_helpers.statistics import Bootstrap

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import lightweight

    return lightweight


def test_quick_run_prints_a_table_and_writes_nothing(benchmark, capsys):
    results = BENCHMARKS.parent / "data" / "results"
    before = {path: path.stat().st_mtime_ns for path in results.iterdir()}
    sizes = ["--problems", "6", "--generate", "2", "--draws", "50"]
    assert benchmark.main(["--quick", "--families", "deduction", *sizes]) == 0
    printed = capsys.readouterr().out
    assert "deduction: full AUROC" in printed
    assert printed.count("  * ") == 1  # the chosen point of the curve
    assert {path: path.stat().st_mtime_ns for path in results.iterdir()} == before


def test_the_share_is_counted_above_chance(benchmark):
    light = Bootstrap(0.74, np.full(20, 0.74), 9)
    full = Bootstrap(0.80, np.full(20, 0.80), 9)
    assert benchmark.share(light, full, 0.5)["value"] == pytest.approx(0.8)
    assert benchmark.share(light, full, 0.0)["value"] == pytest.approx(0.925)


def test_the_full_graph_is_the_strongest_on_the_fit_problems(benchmark):
    """A head that is gold beats every mean; with noise in all heads a mean beats single heads."""
    problems = generate_problems("arithmetic", 8, seed=1)
    gold = [gold_graph(problem) for problem in problems]
    names = [problem.problem_id for problem in problems]
    generator = np.random.default_rng(0)
    noise = [generator.random((3, 4, len(graph), len(graph))) for graph in gold]
    planted = [mass.copy() for mass in noise]
    for mass, graph in zip(planted, gold, strict=True):
        mass[2, 1] = graph.weights
    side = GraphSet(gold, planted, names)
    name, score = benchmark.full_graphs(side)
    assert name == "layer 2 head 1"
    assert auroc(score(side), side.candidates.labels) == 1
    weak = [m + 0.4 * (g.weights > 0) for m, g in zip(noise, gold, strict=True)]
    side = GraphSet(gold, weak, names)
    name, score = benchmark.full_graphs(side)
    assert name.startswith("mean of all heads")
    assert auroc(score(side), side.candidates.labels) > 0.9
