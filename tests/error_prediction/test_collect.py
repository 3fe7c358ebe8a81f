"""Sampling in parts: a stopped run goes on and ends as if it had not been stopped."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rg_helpers.error_prediction import collect, sampling_temperature
from rg_helpers.error_prediction.collect import Sampling, collect_traces
from rg_helpers.error_prediction.sampling_temperature import (
    TemperatureRow,
    choose_temperature,
    measure_temperatures,
)
from rg_helpers.language_model import new_course_model
from rg_helpers.problems import generate_problems, plant_error
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import sample_traces, trace_from_text

TOKENIZER = build_tokenizer()
PLAN = Sampling(
    "arithmetic", problems=7, samples=2, operations=(2, 3), temperature=0.8, max_new_tokens=6
)


@pytest.fixture(scope="module")
def model():
    return new_course_model(0, hidden_size=16, layers=1, heads=2, intermediate_size=32).eval()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(collect, "PART_PROBLEMS", 3)


def texts(found):
    return [(t.trace_id, t.solution, t.token_ids, t.finished) for t in found.traces]


@pytest.fixture(scope="module")
def plain(model):
    """What sampling all problems in one go gives."""
    problems = generate_problems("arithmetic", 7, "test", 0, operations=(2, 3), distractors=(1, 3))
    traces = sample_traces(
        model,
        TOKENIZER,
        problems,
        samples=2,
        temperature=0.8,
        max_new_tokens=6,
        progress=False,
    )
    return [(t.trace_id, t.solution, t.token_ids, t.finished) for t in traces]


def count_samples(monkeypatch):
    sampled = []

    def sample(model, tokenizer, problems, **options):
        sampled.append(len(problems))
        return sample_traces(model, tokenizer, problems, **options)

    monkeypatch.setattr(collect, "sample_traces", sample)
    return sampled


def test_parts_give_what_one_go_gives(model, plain, tmp_path, monkeypatch):
    sampled = count_samples(monkeypatch)
    found, choice = collect_traces(model, TOKENIZER, PLAN, tmp_path, progress=False)
    assert sampled == [3, 3, 1]
    assert texts(found) == plain
    assert len(found) == 14
    assert found.has_problems
    assert found.labels == found.relabelled().labels
    assert (choice.temperature, choice.rows) == (0.8, ())


def test_a_stopped_run_goes_on(model, plain, tmp_path, monkeypatch):
    real, parts = collect.write_traces, []

    def stop_at_the_second(path, traces):
        def written():
            for number, trace in enumerate(traces):
                if len(parts) == 1 and number == 2:
                    raise KeyboardInterrupt
                yield trace

        real(path, written())
        parts.append(path)

    monkeypatch.setattr(collect, "write_traces", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        collect_traces(model, TOKENIZER, PLAN, tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["arithmetic-000000.jsonl"]
    monkeypatch.setattr(collect, "write_traces", real)
    sampled = count_samples(monkeypatch)
    found, _ = collect_traces(model, TOKENIZER, PLAN, tmp_path, progress=False)
    assert sampled == [3, 1]
    assert texts(found) == plain
    collect_traces(model, TOKENIZER, PLAN, tmp_path, progress=False)
    assert sampled == [3, 1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-30],  # half a last line
        lambda text: "".join(text.splitlines(keepends=True)[:-1]),  # a line too few
        lambda text: "".join(reversed(text.splitlines(keepends=True))),
        lambda text: text.replace('"temperature": 0.8', '"temperature": 0.7', 1),
        lambda text: "",
    ],
)
def test_a_damaged_part_is_sampled_again(model, plain, tmp_path, monkeypatch, damage):
    collect_traces(model, TOKENIZER, PLAN, tmp_path, progress=False)
    part = tmp_path / "arithmetic-000003.jsonl"
    part.write_text(damage(part.read_text()))
    sampled = count_samples(monkeypatch)
    found, _ = collect_traces(model, TOKENIZER, PLAN, tmp_path, progress=False)
    assert sampled == [3]
    assert texts(found) == plain


def test_more_problems_extend_a_run(model, tmp_path, monkeypatch):
    collect_traces(model, TOKENIZER, replace(PLAN, problems=6), tmp_path, progress=False)
    sampled = count_samples(monkeypatch)
    found, _ = collect_traces(model, TOKENIZER, replace(PLAN, problems=9), tmp_path, progress=False)
    assert sampled == [3]
    assert len(set(found.problem_ids.tolist())) == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 1}, "one sample says nothing"),
        ({"problems": 0}, "expected at least 1"),
        ({"temperature": 0.0}, "above 0"),
        ({"operations": (4, 2)}, "smallest <= largest"),
        ({"distractors": (-1, 2)}, "smallest <= largest"),
    ],
)
def test_impossible_plans_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(PLAN, **change)


def row(temperature, wrong, read=100, traces=100):
    return TemperatureRow(temperature, traces, read, wrong, mixed_problems=0)


@pytest.mark.parametrize(
    ("rows", "temperature", "both_frequent"),
    [
        ([row(0.4, 10), row(0.8, 30), row(1.0, 45), row(1.2, 60)], 1.0, True),
        ([row(0.4, 10), row(0.8, 41), row(1.0, 59)], 0.8, True),  # equally near: the colder
        ([row(0.4, 80), row(0.8, 90)], 0.4, False),
        ([row(0.4, 5), row(0.8, 24)], 0.8, False),
        ([row(0.4, 5), row(0.8, 25)], 0.8, True),
        ([row(0.4, 30), row(0.8, 35, read=70)], 0.4, True),  # nearer, but a third is unreadable
        ([row(0.4, 10, read=50), row(0.8, 10, read=20)], 0.4, False),
        ([row(0.4, 0, read=0)], 0.4, False),
    ],
)
def test_the_rule(rows, temperature, both_frequent):
    choice = choose_temperature(rows)
    assert (choice.temperature, choice.both_frequent) == (temperature, both_frequent)
    assert json.loads(json.dumps(choice.as_dict()))["rows"][0]["temperature"] == 0.4


def test_no_rows_no_choice():
    with pytest.raises(ValueError, match="no temperature was measured"):
        choose_temperature([])


def pretend_to_sample(wrong_shares):
    """Write, at each temperature, a known share of wrong solutions and no broken ones."""

    def sample(model, tokenizer, problems, *, samples, temperature, **options):
        found = []
        extra = {"temperature": temperature}
        if "engine" in options:
            extra["engine"] = options["engine"].name
        for number, problem in enumerate(problems):
            for sample in range(samples):
                share = wrong_shares[temperature]
                planted = plant_error(problem, "contradiction", seed=sample)
                bad = (number * samples + sample) < share * len(problems) * samples
                found.append(
                    trace_from_text(
                        TOKENIZER,
                        problem.prompt,
                        wrong_answer(problem) if bad and planted else problem.solution,
                        family=problem.family,
                        separator=problem.separator,
                        problem_id=problem.problem_id,
                        extra={"sample": sample, **extra},
                    )
                )
        return found

    return sample


def wrong_answer(problem):
    *before, last = [node.text for node in problem.nodes[problem.prompt_nodes :]]
    return problem.separator.join([*before, last.replace(problem.answer, "1")])


def test_the_walk_stops_where_half_are_wrong(monkeypatch):
    problems = [
        problem
        for problem in generate_problems("arithmetic", 12, "validation", seed=4)
        if problem.answer != "1"
    ][:10]
    shares = {0.4: 0.0, 0.8: 0.35, 1.0: 0.6, 1.2: 0.9}
    monkeypatch.setattr(sampling_temperature, "sample_traces", pretend_to_sample(shares))
    rows = measure_temperatures(
        None, TOKENIZER, problems, temperatures=tuple(reversed(shares)), progress=False
    )
    assert rows == [
        TemperatureRow(0.4, 20, 20, 0, 0),
        TemperatureRow(0.8, 20, 20, 7, 1),  # three problems all wrong, one of two
        TemperatureRow(1.0, 20, 20, 12, 0),
    ]
    assert choose_temperature(rows).temperature == 1.0
    with pytest.raises(ValueError, match="validation"):
        measure_temperatures(None, TOKENIZER, generate_problems("program", 2, "test"))
    with pytest.raises(ValueError, match="above 0"):
        measure_temperatures(None, TOKENIZER, problems, temperatures=(0.0,))


def test_the_choice_is_made_once_and_on_other_problems(tmp_path, monkeypatch):
    asked = []
    fake = pretend_to_sample({0.4: 0.1, 0.8: 0.4, 1.2: 0.9})

    def sample(model, tokenizer, problems, **options):
        asked.append((options["temperature"], {problem.split for problem in problems}))
        return fake(model, tokenizer, problems, **options)

    monkeypatch.setattr(sampling_temperature, "sample_traces", sample)
    monkeypatch.setattr(collect, "sample_traces", sample)
    plan = replace(PLAN, problems=3, temperature=None, choice_problems=10)
    grid = (0.4, 0.8, 1.2)
    _, choice = collect_traces(None, TOKENIZER, plan, tmp_path, temperatures=grid, progress=False)
    assert choice.temperature == 0.8
    assert asked == [(t, {"validation"}) for t in grid] + [(0.8, {"test"})]
    _, again = collect_traces(None, TOKENIZER, plan, tmp_path, temperatures=grid, progress=False)
    assert again == choice
    assert len(asked) == 4
