"""The README's picture: drawn from a solved problem, the same bytes every time, with its record."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from rg_helpers.course.cli import main
from rg_helpers.course.commands import poster
from rg_helpers.language_model import new_course_model, save_model
from rg_helpers.problems.planted import plant_error
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import gold_trace, trace_from_text


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    model = new_course_model(hidden_size=32, layers=1, heads=2, intermediate_size=32)
    return save_model(folder, model, build_tokenizer())


def solve_all(model, tokenizer, problems, **options):
    return [gold_trace(problem, tokenizer) for problem in problems]


def test_the_poster_is_drawn_twice_alike(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(poster, "sample_traces", solve_all)
    monkeypatch.setattr(poster, "FIT_PROBLEMS", 6)
    paths = [tmp_path / name for name in ("a.png", "b.png")]
    for path in paths:
        assert main(["poster", "--model", str(tiny_model), "--output", str(path)]) == 0
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    width = struct.unpack(">I", first[16:20])[0]
    assert abs(width - poster.WIDTH) < 0.1 * poster.WIDTH
    record = json.loads(paths[0].with_suffix(".json").read_text())
    assert list(record["graphs"]) == list(poster.METHODS)
    for graph in record["graphs"].values():
        assert 0 <= graph["true_edges_drawn"] <= record["edges_gold"]
    assert record["graphs"]["text"]["auroc"] > 0.8  # needs no trained model
    assert record["verdict"].endswith("lines right; the answer is right.")
    assert record["verdict"] in record["alt"]
    assert record["provenance"]["seed"] == 0


def test_a_wrong_solution_is_drawn_with_its_error_named(tiny_model, tmp_path, monkeypatch):
    def slip(model, tokenizer, problems, **options):
        return [
            trace_from_text(
                tokenizer,
                p.prompt,
                plant_error(p, "wrong operand").text,
                family=p.family,
                separator=p.separator,
                problem_id=p.problem_id,
                prompt_nodes=[(node.kind, node.text) for node in p.nodes[: p.prompt_nodes]],
            )
            for p in problems[:1]
        ] + solve_all(model, tokenizer, problems[1:])

    monkeypatch.setattr(poster, "sample_traces", slip)
    monkeypatch.setattr(poster, "FIT_PROBLEMS", 6)
    path = tmp_path / "poster.png"
    options = ["--model", str(tiny_model), "--solution", "wrong", "--output", str(path)]
    assert main(["poster", *options]) == 0
    assert json.loads(path.with_suffix(".json").read_text())["verdict"].startswith("wrong operand")


def test_a_model_that_solves_nothing_gets_no_poster(tiny_model, tmp_path, monkeypatch):
    def solve_none(model, tokenizer, problems, **options):
        traces = solve_all(model, tokenizer, problems)
        return traces[1:] + traces[:1]  # solutions of other problems

    monkeypatch.setattr(poster, "sample_traces", solve_none)
    path = tmp_path / "poster.png"
    assert main(["poster", "--model", str(tiny_model), "--output", str(path)]) != 0
    assert not path.exists()
