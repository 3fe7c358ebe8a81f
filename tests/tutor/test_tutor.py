"""The tutor: planted rules change what they should, gaps are found, practice asks for them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from rg_helpers.course.commands import tutor as command
from rg_helpers.problems import check_solution, generate_problem, generate_problems
from rg_helpers.statistics import Interval
from rg_helpers.tutor import MISCONCEPTIONS, Skill, located_gap, misconceived, skill_gaps
from rg_helpers.tutor.gaps import LEAST_STEPS, SkillGap
from rg_helpers.tutor.practice import candidate_problems, practice_problems, skill_share
from rg_helpers.tutor.report import _gain, pooled_gains
from rg_helpers.tutor.skills import practised_steps


def _solutions(misconception, count=60, seed=1):
    problems = generate_problems(
        misconception.family, count, "train", seed, operations=(3, 5), distractors=(1, 2)
    )
    written = [misconceived(problem, misconception) for problem in problems]
    return problems, [
        (other or problem).solution for problem, other in zip(problems, written, strict=True)
    ]


@pytest.mark.parametrize(
    "misconception", MISCONCEPTIONS, ids=lambda m: f"{m.family}-{m.skill.name}"
)
def test_a_wrong_rule_makes_only_lines_of_its_skill_wrong(misconception):
    problems, solutions = _solutions(misconception)
    wrong = 0
    for problem, solution in zip(problems, solutions, strict=True):
        given = problem.prompt_nodes
        for index, step in enumerate(check_solution(problem, solution).steps):
            if step.verdict == "right":
                continue
            wrong += 1
            asked = {q.operator for q in problem.quantities if q.premise in step.needed}
            sources = [source for source in step.needed if source >= given]
            is_what = {
                "two steps": len(sources) == 2,
                "a step further back": len(sources) == 1 and sources[0] < given + index - 1,
            }
            assert is_what.get(misconception.skill.name, misconception.skill.name in asked), step
    assert wrong > 5


def test_a_look_up_that_goes_wrong_writes_what_was_read():
    """The sum is sound, its operand is the number written last; worked by hand from the text."""
    misconception = next(m for m in MISCONCEPTIONS if m.family == "program" and "last" in m.says)
    problems, solutions = _solutions(misconception)
    slips = 0
    for problem, solution in zip(problems, solutions, strict=True):
        if solution == problem.solution:
            continue
        checked = check_solution(problem, solution)
        step = checked.steps[checked.first_wrong_step]
        before = solution[: step.start]
        operand, result = re.search(r"= (\d+) [-+*>] \d+ = (\w+)$", step.text).groups()
        shown = re.search(r"= (\d+ [-+*>] \d+) = \w+$", step.text).group(1)
        assert str(eval(shown)) == result  # digits and one sign, by the pattern
        written = [line.rsplit(" ", 1)[-1] for line in before.splitlines()]
        assert operand == [word for word in written if word.isdecimal()][-1]
        slips += 1
    assert slips > 5


@pytest.mark.parametrize(
    "misconception", MISCONCEPTIONS, ids=lambda m: f"{m.family}-{m.skill.name}"
)
def test_the_planted_gap_is_located_from_solutions_alone(misconception):
    gaps = skill_gaps(*_solutions(misconception))
    located = located_gap(gaps)
    assert located is not None
    assert located.skill == misconception.skill
    assert located.gap.low > 0
    assert [row.gap.value for row in gaps] == sorted((r.gap.value for r in gaps), reverse=True)


def test_right_solutions_have_no_gap():
    problems = generate_problems("arithmetic", 40, "train", 3)
    gaps = skill_gaps(problems, [problem.solution for problem in problems])
    assert located_gap(gaps) is None
    assert all(row.wrong.value == 0 for row in gaps)


def test_error_rates_are_those_of_a_count_by_hand():
    misconception = MISCONCEPTIONS[0]
    problems, solutions = _solutions(misconception)
    steps = [s for pair in zip(problems, solutions, strict=True) for s in practised_steps(*pair)]
    skill = misconception.skill
    mine = [step.wrong for step in steps if skill in step.skills]
    rest = [step.wrong for step in steps if skill not in step.skills]
    (row,) = [row for row in skill_gaps(problems, solutions) if row.skill == skill]
    assert row.steps == len(mine)
    assert row.wrong.value == pytest.approx(np.mean(mine))
    assert row.gap.value == pytest.approx(np.mean(mine) - np.mean(rest))
    asks = [skill in step.skills for step in steps]
    shared = mutual_info_score(asks, [step.wrong for step in steps])  # nats a step
    assert row.explains == pytest.approx(len(steps) * shared)


def test_the_skill_is_named_that_explains_most_and_an_operation_where_two_explain_as_much():
    def row(kind, name, gap, explains, p_holm=0.001):
        interval = Interval(gap, gap - 0.1, gap + 0.1, 10, 100)
        return SkillGap(Skill(kind, name), 10, interval, interval, interval, p_holm, explains)

    both = row("dependency", "two steps", 0.5, 30.0)
    part = row("operation", "and", 0.6, 20.0)  # the larger gap, of fewer of the wrong steps
    assert located_gap([part, both]) is both
    same = row("operation", "together", 0.5, 30.0 + 1e-12)
    assert located_gap([both, same]) is same
    sound = row("operation", "plan", -0.5, 90.0)
    unsure = row("operation", "twice", 0.9, 90.0, p_holm=0.2)
    assert located_gap([sound, unsure, both]) is both
    assert located_gap([sound, unsure]) is None


def test_steps_after_the_first_wrong_one_say_nothing():
    problem = next(
        p for seed in range(50)
        if misconceived(p := generate_problem("arithmetic", seed, 4), MISCONCEPTIONS[0])
    )  # fmt: skip
    wrong = misconceived(problem, MISCONCEPTIONS[0])
    steps = practised_steps(problem, wrong.solution)
    first = check_solution(problem, wrong.solution).first_wrong_step
    assert [step.step for step in steps] == list(range(first + 1))
    assert [step.wrong for step in steps] == [False] * first + [True]
    assert len(practised_steps(problem, problem.solution)) == len(problem.nodes) - (
        problem.prompt_nodes
    )


def test_dependencies_of_a_solution_worked_by_hand():
    problem = generate_problem("program", 4, operations=3, distractors=0, joins=1)
    names = {step.skills[1].name for step in practised_steps(problem, problem.solution)}
    assert "premise alone" in names
    for step in practised_steps(problem, problem.solution):
        node = problem.nodes[problem.prompt_nodes + step.step]
        sources = [parent for parent in node.parents if parent >= problem.prompt_nodes]
        assert (step.skills[1].name == "two steps") == (len(sources) == 2)
        assert (step.skills[1].name == "premise alone") == (not sources)
        just_before = sources == [problem.prompt_nodes + step.step - 1]
        assert (step.skills[1].name == "the step before") == just_before


def test_practice_asks_for_the_gap_more_often_than_chance():
    skill = Skill("operation", "twice")
    candidates = candidate_problems("arithmetic", 8, 5, (3, 5), (1, 3))
    chosen, drawn = (practice_problems(candidates, 8, one) for one in (skill, None))
    assert drawn == candidates[:8]
    least = min(skill_share(problem, skill) for problem in chosen)
    left = [p for p in candidates if p not in chosen]
    assert least >= max(skill_share(problem, skill) for problem in left) > 0
    taken = {candidates[0].problem_id}
    fresh = candidate_problems("arithmetic", 8, 5, (3, 5), (1, 3), taken)
    assert taken.isdisjoint(p.problem_id for p in fresh)
    assert len(fresh) == len(candidates)


def test_gains_are_paired_and_on_the_problems_asked_for():
    def rows(*solved):
        return [{"solved": one, "asks": [True, True, False]} for one in solved]

    student = ("arithmetic", "fewer")
    found = {
        (student, "located"): rows([1, 1, 0], [1, 0, 1]),
        (student, "random"): rows([0, 1, 0], [1, 0, 0]),
        (student, "none"): rows([0, 0, 0]),
    }
    assert _gain(found, student, "random", "all")["value"] == pytest.approx(2 / 6)
    assert _gain(found, student, "random", "asking")["value"] == pytest.approx(1 / 4)
    assert _gain(found, student, "none", "all")["value"] == pytest.approx(4 / 6)
    assert _gain(found, student, "other", "all") is None


def test_students_are_pooled_once_each():
    gains = [
        {"of": "all", "against": "random", "value": value, "n": n}
        for value, n in ((0.1, 10), (0.2, 1000), (0.6, 10))
    ]
    gains += [{"of": "all", "against": "none", "value": 0.5, "n": 10}]
    (row,) = pooled_gains(gains)
    half = 4.3027 * np.std([0.1, 0.2, 0.6], ddof=1) / 3**0.5  # t, 2 degrees of freedom
    assert (row["against"], row["n"]) == ("random", 3)
    assert row["value"] == pytest.approx(0.3)
    assert (row["low"], row["high"]) == pytest.approx((0.3 - half, 0.3 + half), abs=1e-4)
    assert row["p_holm"] == row["p"]


def test_bad_input_names_the_cure():
    problem = generate_problem("deduction", 1, 3)
    with pytest.raises(ValueError, match="same family"):
        misconceived(problem, MISCONCEPTIONS[0])
    with pytest.raises(ValueError, match=f"at least {LEAST_STEPS}"):
        skill_gaps([problem], [problem.solution])
    with pytest.raises(ValueError, match="one problem a solution"):
        skill_gaps([problem], [])
    with pytest.raises(ValueError, match="draw more"):
        practice_problems([problem], 2, None)
    with pytest.raises(ValueError, match="longer problems"):
        practice_problems([problem], 1, Skill("operation", "twice"))


@pytest.mark.slow
def test_the_command_runs_and_continues(tmp_path, monkeypatch, capsys):
    from rg_helpers.course import cli

    monkeypatch.setattr(command, "repository", lambda: tmp_path)
    monkeypatch.setattr(command, "STUDENTS", command.STUDENTS[:1])
    options = ["tutor", "--profile", "smoke", "--families", "arithmetic"]
    assert cli.main(options) == 0
    first = (tmp_path / "runs/tutor/latest/tutor.json").read_text()
    made = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs/tutor").glob("lesson-*.json")}
    assert made
    assert cli.main(options) == 0
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "runs/tutor").glob("lesson-*")} == made
    assert '"planted": "fewer"' in first
    assert "located" in capsys.readouterr().out
