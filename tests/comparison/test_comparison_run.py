"""The whole comparison on made-up samples: planted methods, resume, stability, outcomes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from written_samples import TOKENIZER, claimed, method, noise, sampled, samples_of, write

from rg_helpers.comparison import run, solutions, stages
from rg_helpers.comparison.measured import COLUMNS, GAP
from rg_helpers.comparison.pairs import Pairs
from rg_helpers.comparison.run import Place, Plan, compare
from rg_helpers.comparison.stability import stability, step_pairs
from rg_helpers.comparison.table import pointer, read_table, select, write_table
from rg_helpers.course.pointers import read_pointer
from rg_helpers.graphs.gold import written_graph
from rg_helpers.graphs.methods import METHODS as METHODS_BY_NAME
from rg_helpers.language_model import new_course_model
from rg_helpers.problems import generate_problem, generate_problems

PLAN = Plan(
    problems=14,
    samples=3,
    temperature=1.0,
    fit_problems=8,
    slow_traces=20,
    slowest_traces=8,
    slow_fit=4,
    draws=200,
)
METHODS = {
    "planted": method("planted", claimed),
    "noise": method("noise", noise),
    "intervention": method("intervention", claimed),  # the reference of rank agreement
}
FAMILIES = ("arithmetic", "program")


@pytest.fixture(scope="module")
def model():
    return new_course_model(0, hidden_size=16, layers=2, heads=2, intermediate_size=32)


@pytest.fixture(autouse=True)
def _made_up(monkeypatch):
    monkeypatch.setattr(run, "sampled_traces", sampled)


def place(model, folder, plan=PLAN):
    return Place.of(model, TOKENIZER, plan, folder, progress=False)


@pytest.fixture(scope="module")
def table(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "sampled_traces", sampled)
        rows = compare(place(model, folder), FAMILIES, METHODS)
    return read_table(write_table(folder / "table.parquet", rows, {"command": "test"}))


def test_a_method_that_knows_the_claimed_edges_is_perfect(table):
    planted = select(table, method="planted")
    for family in FAMILIES:
        for reading in ("right", "wrong", "wrong_steps_claimed"):
            scores = select(planted, family=family, reading=reading, difficulty="all")
            for metric in ("auroc", "ap", "f1"):
                found = select(scores, metric=metric).iloc[0]
                assert (found["value"], found["low"], found["high"]) == (1, 1, 1), metric
        needed = select(planted, family=family, reading="wrong_steps_needed", metric="auroc")
        assert needed["value"].item() < 1  # the planted errors read another node than needed
    gaps = select(planted, metric=GAP, reading="right")
    assert (gaps["low"] > 0).all()
    assert (gaps["p_holm"] < 0.05).all()


def test_noise_is_not_better_than_the_best_control(table):
    gaps = select(table, method="noise", metric=GAP)
    assert len(gaps)
    assert not ((gaps["value"] > 0) & (gaps["p_holm"] < 0.05)).any()
    auroc = select(table, method="noise", metric="matched_auroc")["value"]
    assert auroc.between(0.35, 0.65).all()


def test_the_best_control_is_the_strongest_one(table):
    for gap in select(table, metric=GAP).itertuples():
        if gap.method in run.SLOW:  # measured on fewer traces, and so are its controls
            continue
        same = select(table, family=gap.family, reading=gap.reading, difficulty="all")
        rivals = select(same, kind="control", metric="auroc").set_index("method")["value"].to_dict()
        own = select(same, method=gap.method, metric="auroc_of_rewired")["value"].item()
        rivals["rewired"] = own
        assert rivals[gap.other] == max(rivals.values())
        score = select(same, method=gap.method, metric="auroc")["value"].item()
        assert gap.value == pytest.approx(score - max(rivals.values()))


def test_agreement_and_counts(table):
    found = select(table, metric="agreement_with_intervention").set_index(["family", "method"])
    for family in FAMILIES:
        assert found.loc[(family, "planted"), "value"] == pytest.approx(1)
        assert abs(found.loc[(family, "noise"), "value"]) < 0.2
        counts = select(table, family=family, metric="count").set_index("other")["value"]
        assert counts.sum() == len(sampled(None, None, _problems(family)))
        assert counts["right"] >= PLAN.problems  # the gold solution of each
        assert counts["unreadable"] == counts["truncated"] == 0
    with pytest.raises(ValueError, match="two rows"):
        write_table("unused.parquet", table.to_dict("records") * 2, {})


def test_every_graph_is_held_against_attention(model, tmp_path):
    """A method that is attention itself does not differ; perfect ones are above it, noise not."""
    ways = METHODS | {"attention": METHODS_BY_NAME["attention"]}
    rows = compare(place(model, tmp_path), ("program",), ways)
    table = read_table(write_table(tmp_path / "t.parquet", rows, {}))
    found = select(table, metric="auroc_minus_attention_few").set_index("method")
    assert "attention_few" not in found.index
    assert {"attention", "planted", "noise", "position_only"} <= set(found.index)
    scores = select(table, metric="auroc", reading="right", difficulty="all", layer="chosen")
    scores = scores.set_index("method")["value"]
    whole = ["attention", "planted", "noise", "position_only"]
    expected = scores[whole] - scores["attention_few"]
    assert np.allclose(found.loc[whole, "value"], expected)
    assert found.loc["planted", "low"] > 0
    assert found.loc["planted", "p"] == pytest.approx(2 / (PLAN.draws + 1))  # the least there is
    assert found.loc["planted", "p_holm"] == pytest.approx(len(found) * found.loc["planted", "p"])
    # the reference draws fewer traces, so it is compared on those
    assert found.loc["intervention", "traces"] < found.loc["planted", "traces"]
    assert found.loc["intervention", "value"] > 0


def test_the_ledgers_pointers_read_the_table(table, tmp_path):
    path = write_table(tmp_path / "t.parquet", table.to_dict("records"), table.attrs["provenance"])
    where = pointer(family="program", method="planted", reading="right", metric="auroc")
    found = read_pointer(path, where)
    assert (found["value"], found["low"], found["high"]) == (1, 1, 1)
    assert found["n"] == PLAN.problems
    with pytest.raises(ValueError, match="not given"):
        pointer(family="program", metric="auroc")


def test_a_killed_run_goes_on_and_gives_the_same_table(model, table, tmp_path):
    calls = []

    def counted(given, fitted):
        calls.append(given.traces[0].family)
        return claimed(given, fitted)

    def dying(given, fitted):
        if given.traces[0].family == "program":
            raise KeyboardInterrupt
        return noise(given, fitted)

    first = METHODS | {"planted": method("planted", counted), "noise": method("noise", dying)}
    with pytest.raises(KeyboardInterrupt):
        compare(place(model, tmp_path), FAMILIES, first)
    assert calls == ["arithmetic"] * 2 + ["program"] * 2  # fit and test each
    again = compare(place(model, tmp_path), FAMILIES, first | {"noise": METHODS["noise"]})
    assert len(calls) == 4, "what was drawn before the interruption was drawn again"
    expected = table[table["metric"] != "ms_per_trace"].astype(object)
    found = [row for row in again if row["metric"] != "ms_per_trace"]
    assert len(found) == len(expected)
    for one, other in zip(found, expected.to_dict("records"), strict=True):
        for name in COLUMNS:
            same = one[name] == other[name] or (one[name] is None and other[name] != other[name])
            close = isinstance(one[name], float) and one[name] == pytest.approx(other[name])
            assert same or close or str(other[name]) == "<NA>", (name, one, other)


def test_another_model_or_plan_gets_another_folder(model, tmp_path):
    other = new_course_model(1, hidden_size=16, layers=2, heads=2, intermediate_size=32)
    folders = {
        place(model, tmp_path).folder,
        place(other, tmp_path).folder,
        place(model, tmp_path, replace(PLAN, seed=1)).folder,
    }
    assert len(folders) == 3
    assert place(model, tmp_path).folder in folders


def test_broken_and_foreign_artefacts_are_made_anew(model, tmp_path):
    here = place(model, tmp_path)
    compare(here, ("arithmetic",), {"noise": METHODS["noise"]})
    stem = here.folder / "arithmetic" / "drawn_noise"
    described = stages.read_json(stem.with_name("drawn_noise.json"))
    assert stages.load_drawn(stem, described["key"]) is not None
    assert stages.load_drawn(stem, "another key") is None
    stem.with_name("drawn_noise.safetensors").write_bytes(b"cut short")
    assert stages.load_drawn(stem, described["key"]) is None


def test_the_source_hash_follows_imports():
    near, far = "rg_helpers.comparison.pairs", "rg_helpers.comparison.run"
    assert stages.source_hash(near) != stages.source_hash(far)
    assert stages.source_hash(near) == stages.source_hash(near)
    path = stages.find_spec("rg_helpers.comparison.drawn").origin
    assert "rg_helpers.graphs.methods" in stages._imports(stages.Path(path))


def test_outcomes_and_wrong_steps():
    problem = generate_problem("arithmetic", 3, operations=4, split="test")
    written = samples_of(problem)
    cut = write(problem, problem.solution.rsplit(problem.separator, 2)[0], 7, finished=False)
    garbled = write(problem, "Nobody can read this. " + problem.solution, 8)
    found = solutions.judged([problem], [*written, cut, garbled])
    names = [solution.outcome for solution in found]
    assert names[0] == "right"
    assert names[-3:] == ["wrong", "truncated", "unreadable"]
    assert solutions.outcomes(found)["unreadable"] == 1
    wrong = found[-3]
    on_claimed, on_needed = (wrong.of_wrong_steps(edges) for edges in ("claimed", "needed"))
    rows = [graph.weights.any(axis=1) for graph in (on_claimed, on_needed)]
    assert np.array_equal(*rows)
    assert rows[0].any()
    first = problem.prompt_nodes + wrong.checked.first_wrong_step
    assert np.flatnonzero(rows[0])[0] >= first
    whole = written_graph(wrong.trace, wrong.checked).weights
    assert np.array_equal(on_claimed.weights[rows[0]], whole[rows[0]])
    with pytest.raises(ValueError, match="not given"):
        solutions.judged([], written)


def test_thinning_keeps_two_samples_of_whole_problems():
    problems = generate_problems("program", 10, seed=1)
    found = solutions.judged(
        problems, [write(p, p.solution, n) for p in problems for n in range(4)]
    )
    chosen = solutions.thinned(found, 8)
    names = [found[i].problem.problem_id for i in chosen]
    assert len(chosen) == 8
    assert {names.count(name) for name in names} == {2}
    assert solutions.thinned(found, 99) == list(range(40))


def test_stability_knows_gold_from_habit():
    """Gold names the same premises in any order of steps; one premise for all is mere habit."""
    problems = generate_problems("arithmetic", 12, seed=2, operations=(4, 6), joins=2)
    found = solutions.judged(problems, sampled(None, None, problems))
    pairs = Pairs.of([solution.trace for solution in found])
    steps = step_pairs(found, pairs)
    assert steps.same.any()
    assert not steps.same.all()
    assert not (pairs.row_graphs[steps.first] == pairs.row_graphs[steps.second]).any()
    gold = pairs.read([solution.claimed().weights for solution in found])
    same, chance = stability(gold, pairs, steps, draws=100)
    assert same.value > chance.value + 0.3
    habit = (pairs.sources == 0).astype(np.float32)
    same, chance = stability(habit, pairs, steps, draws=100)
    assert same.value == chance.value == pytest.approx(1)
    random = np.random.default_rng(0).random(len(pairs)).astype(np.float32)
    same, chance = stability(random, pairs, steps, draws=100)
    assert abs(same.value - chance.value) < 0.15


def test_samples_that_agree_word_for_word_prove_nothing():
    problems = generate_problems("arithmetic", 3, seed=4)
    found = solutions.judged(
        problems, [write(p, p.solution, n) for p in problems for n in range(3)]
    )
    assert step_pairs(found, Pairs.of([solution.trace for solution in found])) is None


def test_too_small_plans_are_refused():
    with pytest.raises(ValueError, match="at least 2"):
        replace(PLAN, problems=1)


def gold_copies(problems, count):
    return [write(p, p.solution, n) for p in problems for n in range(count)]


def _problems(family):
    return solutions.comparison_problems(family, PLAN.problems)
