"""The benchmark of peak memory runs, and compares files that differ in nothing but their length."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rg_helpers.scoring import chunks, draw

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import score_memory

    for name in ("CHUNK_SOLUTIONS", "CHUNK_TOKENS"):  # a child process sets them for itself alone
        monkeypatch.setattr(chunks, name, getattr(chunks, name))
    monkeypatch.setattr(draw, "put_together", draw.put_together)
    return score_memory


def test_a_child_scores_the_file_it_is_told(benchmark, tmp_path, capsys):
    path = benchmark.write_solutions(tmp_path / "rows.jsonl", 9)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({row["id"] for row in rows}) == 9
    assert {row["family"] for row in rows} == set(benchmark.FAMILIES)
    assert benchmark.main(["--child", "5", "at_once"]) == 0
    child = json.loads(capsys.readouterr().out.splitlines()[-1])
    found = child["bytes"]
    assert len(child["resident"]) == 1, "all at once is one chunk"
    # This process holds memory of former tests: how much is really new, only a fresh one can tell.
    assert isinstance(found, int)
    assert abs(found) < 2**30
    assert chunks.CHUNK_SOLUTIONS == 10**9


def test_ratios_are_taken_between_files_of_n_and_4n(benchmark, monkeypatch, capsys):
    asked = []

    def child(script, arguments):
        asked.append((int(arguments[1]), arguments[2]))
        resident = [10**9, 2 * 10**9] + [3 * 10**9 + 128_000 * chunk for chunk in range(6)]
        return {"bytes": {48: 20_000_000, 192: 22_000_000}[asked[-1][0]], "resident": resident}

    monkeypatch.setattr(benchmark, "json_of_child", child)
    assert benchmark.main(["--quick"]) == 0
    assert asked == [(48, "chunks"), (192, "chunks")]
    shown = capsys.readouterr().out
    assert "20 MB of 48 and 22 MB of 192 solutions, 1.10 x" in shown
    assert "between chunks +1.0 MB per 1,000 solutions [+1.0, +1.0]" in shown
