"""A file is drawn as its traces would be alone, in bounded chunks, and never twice."""

from __future__ import annotations

import gc
import io
import json
import weakref

import numpy as np
import pandas
import pytest
import torch
from pyarrow import parquet
from score_toys import TOKENIZER, text_rows, tiny_reader, write_lines
from tiny_models import tiny_model
from transformers import AutoConfig, AutoModelForCausalLM

from rg_helpers.error_prediction.baselines import BASELINES, baseline_numbers
from rg_helpers.error_prediction.graph_blocks import graph_block
from rg_helpers.error_prediction.step_numbers import text_numbers
from rg_helpers.features import graph_features
from rg_helpers.graphs.methods import draw_graphs
from rg_helpers.graphs.step_graph import load_graphs
from rg_helpers.scoring import chunks, draw, solution_file, stages, tables
from rg_helpers.scoring.draw import draw_solutions
from rg_helpers.scoring.fitting import set_aside
from rg_helpers.scoring.kept import graph_files
from rg_helpers.scoring.memory import Budget
from rg_helpers.scoring.solution_file import Solution, read_solutions

ROWS = text_rows(10)
MODEL = tiny_reader()


def drawn(tmp_path, rows=ROWS, methods=("attention",), model=MODEL, **options):
    path = write_lines(tmp_path / "rows.jsonl", rows)
    solutions = read_solutions(path, TOKENIZER)
    return draw_solutions(
        solutions, model, tmp_path / "out", methods, progress=False, **options
    )  # fmt: skip


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("scored"))


@pytest.fixture(scope="module")
def traces(scored):
    return [found.trace for found in scored.solutions if isinstance(found, Solution)]


def test_graphs_are_those_of_the_methods(scored, traces):
    for method in ("attention", "text"):
        alone = draw_graphs(traces, method, MODEL, batch_size=1, progress=False)
        ours = list(scored.graphs(method))
        assert [graph.trace_id for graph in ours] == [f"s{n}" for n in range(10)]
        for graph, wanted in zip(ours, alone, strict=True):
            np.testing.assert_allclose(graph.weights, wanted.weights, atol=1e-6)
            assert (graph.kinds, graph.texts, graph.choice) == (
                wanted.kinds, wanted.texts, wanted.choice if method == "attention" else "",
            )  # fmt: skip
    with pytest.raises(ValueError, match="drawn are attention, text"):
        next(scored.graphs("flow"))


def test_files_can_be_read_by_anybody(scored):
    found = [g for path in graph_files(scored.folder, "attention") for g in load_graphs(path)]
    assert {graph.trace_id for graph in found} == {f"s{n}" for n in range(10)}
    record = json.loads((scored.folder / "record.json").read_text())
    assert record["solutions"]["labelled"] == 10
    assert record["left_out"] == 0
    assert record["drawn_in_the_last_run"] == {
        "attention": 10, "text": 10, "confidence": 10, "states": 10,
    }  # fmt: skip
    assert not list(scored.folder.rglob("*.pkl"))
    assert not list(scored.folder.glob("*.partial"))


def test_tables_hold_what_is_measured_alone(scored, traces):
    table = pandas.read_parquet(scored.folder / "baselines.parquet")
    numbers = baseline_numbers(MODEL, traces, batch_size=1, progress=False)
    np.testing.assert_allclose(table[list(BASELINES)].to_numpy(), numbers, atol=1e-5)
    assert table["wrong_answer"].tolist() == [False, True] * 5
    assert table["line"].tolist() == list(range(1, 11))
    assert json.loads(table["columns"][3]) == {"id": "s3", "correct": False, "source": "toy"}
    features = pandas.read_parquet(scored.folder / "features.parquet")
    wanted = graph_features(list(scored.graphs("attention")), progress=False)
    names = [name for name in wanted.columns if f"attention.{name}" in features]
    assert len(names) > 20
    for name in names:
        np.testing.assert_allclose(features[f"attention.{name}"], wanted[name], atol=1e-9)
    steps = pandas.read_parquet(scored.folder / "steps.parquet")
    mine = steps[steps["trace_id"] == "s3"]
    assert mine["text"].tolist() == [node.text for node in traces[3].steps]
    assert mine["words.place"].tolist() == text_numbers(traces[3])[:, 0].tolist()


def test_blocks_are_those_of_the_report(scored, traces):
    block = graph_block(traces, "attention", MODEL, progress=False)
    (chunk,) = scored.chunks()
    mine = chunk.blocks["attention"]
    assert (mine.names, mine.choice) == (block.names, block.choice)
    for ours, wanted in zip(mine.tables, block.tables, strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-5)
    assert chunk.states.question.shape == (10, 2, 16)
    assert [len(rows) for rows in chunk.step_states] == [len(t.steps) for t in traces]


def test_small_chunks_change_nothing(scored, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_SOLUTIONS", 3)
    again = drawn(tmp_path)
    assert [len(chunk) for chunk in again.chunks()] == [3, 3, 3, 1]
    assert len(list(graph_files(again.folder, "attention"))) == 4
    for name in ("baselines", "features", "steps"):
        one, two = (
            pandas.read_parquet(s.folder / f"{name}.parquet") for s in (scored, again)
        )  # fmt: skip
        pandas.testing.assert_frame_equal(one, two, atol=1e-5)


def test_row_groups_hold_many_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_SOLUTIONS", 1)
    monkeypatch.setattr(tables, "ROW_GROUP", 4)
    folder = drawn(tmp_path).folder
    groups = parquet.ParquetFile(folder / "baselines.parquet").metadata
    sizes = [groups.row_group(n).num_rows for n in range(groups.num_row_groups)]
    assert sizes == [4, 4, 2]


def test_no_more_than_a_chunk_is_held_however_long_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_SOLUTIONS", 4)
    made, held = [], []
    real_trace, real_chunk = solution_file.written_trace, draw.put_together

    def watched_trace(*given):
        trace = real_trace(*given)
        made.append(weakref.ref(trace))
        return trace

    def watched_chunk(*given):
        held.append(0)
        if len(held) in (1, 2, 10):  # collecting garbage takes long
            gc.collect()
            held[-1] = sum(one() is not None for one in made)
        return real_chunk(*given)

    monkeypatch.setattr(solution_file, "written_trace", watched_trace)
    monkeypatch.setattr(draw, "put_together", watched_chunk)
    rows = [ROWS[n % 10] | {"id": f"r{n}"} for n in range(40)]
    drawn(tmp_path, rows, ("text",), probes=False)
    assert len(made) == 80, "the file is read once to survey it, and once to draw"
    assert len(held) == 10
    # A chunk, the first solution of the next one, and what the survey keeps.
    kept = sum(set_aside(row["problem_id"]) for row in rows)
    assert max(held) <= 4 + 1 + 2 + kept
    assert max(held) <= max(held[:2]) + 1, "it does not grow"


def test_a_rerun_does_what_is_missing_alone(tmp_path):
    broken = [*ROWS[:4], b'{"prompt": "a', *ROWS[5:], ROWS[2]]
    first = drawn(tmp_path, broken, probes=False)
    assert first.left_out == 2
    assert [line.line for line in first.examples] == [5, 11]
    left = (tmp_path / "out" / "left_out.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in left] == [5, 11]
    again = drawn(tmp_path, broken, probes=False)
    assert set(again.drawn.values()) == {0}
    mended = drawn(tmp_path, ROWS, probes=False)
    assert mended.left_out == 0
    assert mended.drawn == {"attention": 1, "text": 1, "confidence": 1}
    more = drawn(tmp_path, ROWS, ("attention", "rollout"), probes=False)
    assert more.drawn == {"attention": 0, "rollout": 10, "text": 0, "confidence": 0}
    assert [graph.trace_id for graph in more.graphs("rollout")] == [f"s{n}" for n in range(10)]
    changed = [*ROWS[:9], ROWS[9] | {"solution": "The answer is 0."}]
    assert drawn(tmp_path, changed, probes=False).drawn["attention"] == 1


def test_a_run_that_was_stopped_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_SOLUTIONS", 4)
    real, calls = draw.put_together, []

    def stopped(*given):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(draw, "put_together", stopped)
    with pytest.raises(KeyboardInterrupt):
        drawn(tmp_path, probes=False)
    assert not (tmp_path / "out" / "baselines.parquet").exists()
    monkeypatch.setattr(draw, "put_together", real)
    assert drawn(tmp_path, probes=False).drawn["attention"] == 2


def test_damaged_parts_are_drawn_again(tmp_path):
    first = drawn(tmp_path, probes=False)
    weights = next((first.folder / "graphs" / "attention").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-4])
    again = drawn(tmp_path, probes=False)
    assert again.drawn == {"attention": 10, "text": 0, "confidence": 0}
    assert len(list(again.graphs("attention"))) == 10


def test_another_model_does_not_mix_with_the_first(tmp_path):
    drawn(tmp_path, ROWS[:2], probes=False)
    with pytest.raises(ValueError, match="another model"):
        drawn(tmp_path, ROWS[:2], model=tiny_reader(1), probes=False)


def test_what_does_not_fit_is_left_out_and_named(tmp_path, monkeypatch):
    long = ROWS[0] | {"id": "long", "solution": "Ana has 3.\n" * 150 + "The answer is 3."}
    monkeypatch.setattr(draw, "memory_budget", lambda *given: Budget(12 * 2**20))
    longer = ROWS[0] | {"id": "longer", "solution": "Ana has 3.\n" * 600}
    found = drawn(tmp_path, [*ROWS[:3], long, longer], probes=False)
    assert found.left_out == 2
    assert [line.line for line in found.examples] == [5, 4]
    assert "the model takes at most 2048" in found.examples[0].reason
    assert "'long', attention: it takes an estimated" in found.examples[1].reason
    assert len(list(found.graphs("text"))) == 3


def test_when_memory_runs_out_smaller_batches_do_the_same_and_are_named(tmp_path, monkeypatch):
    real, sizes = stages.score_tokens, []

    def hungry(model, traces, **options):
        sizes.append(len(traces))
        if len(traces) > 3:
            raise torch.OutOfMemoryError("out of memory. Tried to allocate 2 GiB")
        return real(model, traces, **options)

    monkeypatch.setattr(stages, "score_tokens", hungry)
    found = drawn(tmp_path, probes=False)
    assert sizes == [10, 5, 2, 2, 2, 2, 2]
    assert found.drawn["confidence"] == 10
    assert found.notes == (
        "memory ran out with 10 solutions in a batch: now at most 5",
        "memory ran out with 5 solutions in a batch: now at most 2",
    )


def test_the_bar_counts_tokens_to_the_end_and_is_silent_if_asked(tmp_path, monkeypatch):
    bars = []

    class Watched(draw.tqdm):
        def __init__(self, *given, **options):
            super().__init__(*given, **options | {"file": io.StringIO(), "disable": False})
            bars.append((self, options["disable"]))  # None: silent where nobody looks on

    monkeypatch.setattr(draw, "tqdm", Watched)
    path = write_lines(tmp_path / "rows.jsonl", [*ROWS[:3], {"nothing": 1}])
    for progress in (True, False):
        solutions = read_solutions(path, TOKENIZER)
        draw_solutions(solutions, MODEL, tmp_path / "out", ("text",), progress=progress)
    (bar, shown), (_, silent) = bars
    assert bar.n == bar.total == 3 * sum(len(s.trace) for s in solutions if hasattr(s, "trace"))
    assert (shown, silent) == (None, True)


def test_half_characters_stop_no_run_and_are_kept_where_they_only_stand_by(tmp_path):
    half = "\ud83d"
    rows = [ROWS[0] | {"source": half}, ROWS[1] | {"id": half}, {half: 1}]
    found = drawn(tmp_path, rows, ("text",), probes=False)
    assert found.left_out == 2
    left = (tmp_path / "out" / "left_out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["line"] for line in left] == [2, 3]
    (kept,) = pandas.read_parquet(tmp_path / "out" / "baselines.parquet")["columns"]
    assert json.loads(kept)["source"] == half


def test_models_without_attention_are_refused_and_hybrids_named(tmp_path):
    def built(kind, **changes):
        torch.manual_seed(0)
        options = {"vocab_size": len(TOKENIZER), "hidden_size": 32, "num_hidden_layers": 2}
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **options, **changes))

    mamba = built("mamba", state_size=4)
    assert not hasattr(mamba.config, "num_attention_heads"), "it is as it comes from the hub"
    with pytest.raises(ValueError, match=r"no layer of Mamba.*layers 0-1 linear_attention"):
        drawn(tmp_path, ROWS[:2], ("text",), mamba)
    assert not (tmp_path / "out").exists()
    hybrid = built(
        "lfm2", layer_types=["conv", "full_attention"], block_multiple_of=8, num_attention_heads=2,
        num_key_value_heads=1, intermediate_size=32,
    ).eval()  # fmt: skip
    with pytest.raises(ValueError, match=r"layers \[0\] of Lfm2.*\(conv: a convolution"):
        drawn(tmp_path, ROWS[:2], ("attention",), hybrid, probes=False)
    assert drawn(tmp_path, ROWS[:2], ("text",), hybrid, probes=False).left_out == 0


def test_a_file_without_a_usable_line_says_why(tmp_path):
    with pytest.raises(ValueError, match=r"none of the 2 solutions .* left_out.jsonl"):
        drawn(tmp_path, [{"a": 1}, {"b": 2}])
    assert len((tmp_path / "out" / "left_out.jsonl").read_text().splitlines()) == 2


def test_methods_that_are_fitted_set_problems_aside(tmp_path):
    found = drawn(tmp_path, text_rows(24), ("similarity",), probes=False)
    fitted = found.fitted_on
    assert fitted
    assert all(set_aside(name) for name in fitted)
    table = pandas.read_parquet(found.folder / "baselines.parquet")
    assert set(table[table["fitted_on"]]["problem_id"]) == fitted
    with pytest.raises(ValueError, match="known edges"):
        drawn(tmp_path, ROWS, ("lightweight",))
    with pytest.raises(ValueError, match="did you mean"):
        drawn(tmp_path, ROWS, ("atention",))


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma3"])
def test_other_architectures(tmp_path, name):
    model = tiny_model(name)
    rows = [
        row | {"prompt": "Ana has 3.", "solution": "How many.\nThe answer."} for row in ROWS[:2]
    ]
    # Their vocabulary is smaller than the tokenizer's: only tokens that they know are written.
    model.resize_token_embeddings(len(TOKENIZER))
    found = drawn(tmp_path, rows, ("attention", "attention_gradient"), model)
    assert found.left_out == 0
    assert len(list(found.graphs("attention_gradient"))) == 2
