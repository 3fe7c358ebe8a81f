"""The generation benchmark runs, compares equal texts, and counts what was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ending_models import TINY, ending_model

from rg_helpers.language_model import new_course_model, save_model
from rg_helpers.tokenizer import build_tokenizer

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
RESULTS = BENCHMARKS.parent / "data" / "results"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import generation

    return generation


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model = new_course_model(0, **TINY)
    return save_model(tmp_path_factory.mktemp("tiny") / "model", model, build_tokenizer())


def test_a_quick_run_measures_every_contender_and_writes_nothing(
    benchmark, folder, capsys, monkeypatch
):
    before = {path: path.stat().st_mtime_ns for path in RESULTS.glob("*")}
    rows = []
    monkeypatch.setattr(
        benchmark, "show", lambda row, show=benchmark.show: rows.append(row) or show(row)
    )
    assert benchmark.main(["--device", "cpu", "--quick", "--model", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*benchmark.PLAIN, *benchmark.ENGINES))
    assert {path: path.stat().st_mtime_ns for path in RESULTS.glob("*")} == before
    (row,) = rows
    assert row["prompts"] == {"batch1": 3, "batch64": 12, "batched": 12, "continuous": 12}
    assert set(row["same_text_as_batch64"].values()) == {1.0}
    assert row["tokens"]["batched"] == row["tokens"]["continuous"] == row["tokens"]["batch64"] > 0
    rate = {name: found["value"] for name, found in row["tokens_per_second"].items()}
    for plain in benchmark.PLAIN:
        for engine in benchmark.ENGINES:
            ratio = row[f"vs_{plain}"][engine]["value"]
            assert ratio == pytest.approx(rate[engine] / rate[plain])
    with pytest.raises(ValueError, match="add --quick"):
        benchmark.main(["--model", str(folder)])


def test_texts_end_where_they_end(benchmark):
    """The batch goes on until its longest text ends; what was padded is not counted as written."""
    model, tokenizer = ending_model(), build_tokenizer()
    prompts = benchmark.build_prompts(tokenizer, 9)
    assert len({tuple(prompt) for prompt in prompts}) == 9
    contenders = benchmark.Contenders(model, tokenizer, prompts, 9, 14)
    alone = contenders.write("batch1")
    for name in ("batch64", *benchmark.ENGINES):
        assert contenders.write(name) == alone
    assert {text[-1] in contenders.ends for text in alone} == {True, False}
    for text in alone:
        assert len(text) == 14 or text[-1] in contenders.ends
        assert not contenders.ends & set(text[:-1])


def test_committed_result_is_what_it_says():
    path = RESULTS / "bench_generation_cpu.json"
    if not path.is_file():
        pytest.skip("not measured yet: run python benchmarks/generation.py --device cpu")
    result = json.loads(path.read_text())
    assert result["provenance"]["versions"]["transformers"]
    assert min(result["row"]["same_text_as_batch64"].values()) > 0.9
    for plain in ("batch1", "batch64"):
        for ratio in result["row"][f"vs_{plain}"].values():
            assert 0 < ratio["low"] <= ratio["value"] <= ratio["high"]
