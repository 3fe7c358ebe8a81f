"""`rgh explore`: a page over a solution of the model that was named."""

from __future__ import annotations

import json
import re

import pytest

from rg_helpers.course.cli import main
from rg_helpers.course.commands import explore
from rg_helpers.explorer import weights_of
from rg_helpers.language_model import new_course_model, save_model
from rg_helpers.problems import check_solution, plant_error
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import gold_trace, trace_from_text


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model = new_course_model(hidden_size=32, layers=1, heads=2, intermediate_size=32)
    return save_model(folder, model, build_tokenizer())


def solve_all(model, tokenizer, problems, **options):
    return [gold_trace(problem, tokenizer) for problem in problems]


def test_page_shows_the_first_solution_of_the_kind(tiny_model, tmp_path, monkeypatch, capsys):
    kept = []

    def solve(model, tokenizer, problems, **options):
        """Solve the first problem, slip in the second, and remember both."""
        kept[:] = problems[:2]
        first, second = kept
        wrong = trace_from_text(
            tokenizer,
            second.prompt,
            plant_error(second, "arithmetic slip").text,
            family=second.family,
            separator=second.separator,
        )
        return [gold_trace(first, tokenizer), wrong]

    monkeypatch.setattr(explore, "sample_traces", solve)
    monkeypatch.setattr(explore, "FIT_PROBLEMS", 4)
    monkeypatch.setattr(explore, "CANDIDATES", 2)
    path = tmp_path / "page.html"
    options = ["--model", str(tiny_model), "--methods", "attention", "text", "--output", str(path)]
    assert main(["explore", *options, "--solution", "wrong"]) == 0
    assert "with wrong steps" in capsys.readouterr().out
    page = path.read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="explorer-data">(.*?)</script>', page, re.DOTALL)[1])
    second = kept[1]
    assert data["texts"][: second.prompt_nodes] == [
        node.text for node in second.nodes[: second.prompt_nodes]
    ]
    checked = check_solution(second, plant_error(second, "arithmetic slip").text)
    shown = [step["verdict"] for step in data["steps"][second.prompt_nodes :]]
    assert shown == [step.verdict for step in checked.steps]
    assert [(m["name"], m["layers"], m["heads"]) for m in data["methods"]] == [
        ("attention", 1, 2),
        ("text", 0, 0),
    ]
    heads = [weights_of(data, "attention", 0, head) for head in range(2)]
    assert abs(heads[0] - heads[1]).max() > 0.01
    monkeypatch.setattr(explore, "sample_traces", solve_all)
    assert main(["explore", *options, "--solution", "wrong"]) == 2
    assert "none of 2 solutions" in capsys.readouterr().err
