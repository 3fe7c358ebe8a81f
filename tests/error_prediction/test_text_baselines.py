"""Answers read from text, the masked text, the lexical pipeline inside folds, self-consistency."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sklearn.base import clone

from rg_helpers.error_prediction.consistency import answer_disagreement
from rg_helpers.error_prediction.lexical import lexical_predictor, lexical_texts
from rg_helpers.error_prediction.protocol import cross_validated_scores, grouped_folds
from rg_helpers.error_prediction.written_answer import (
    masked_solution,
    normal_number,
    written_answer,
)
from rg_helpers.problems import FAMILIES, check_solution, generate_problems, plant_error
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import gold_trace, trace_from_text

TOKENIZER = build_tokenizer()


def own(solution, problem_id="p", **options):
    return trace_from_text(
        TOKENIZER, "How many does Ana have?", solution, problem_id=problem_id, **options
    )


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("Ana has 2. The answer is 12.", "12"),
        ("The answer is s = 62.", "62"),
        ("It is so. The answer is yes.", "yes"),
        ("The answer is False.", "no"),
        ("So 9 * 2 = <<9*2=18>>18 a day\nA: 18", "18"),
        ("So it is\n#### 1,200.00", "1200"),
        ("Thus \\boxed{-7}", "-7"),
        ("She makes $1,224.50 at the market\nA: $1,224.50", "2449/2"),
        ("The answer is 3/4.", "3/4"),
        ("The answer is 6 / 8", "3/4"),
        ("He needs 24/2 = 12", "12"),
        ("We count 16-3", "3"),
        ("The answer is Bo.", "is bo"),
        ("...", None),
    ],
)
def test_answers_as_they_are_written(solution, answer):
    assert written_answer(own(solution)) == answer


@pytest.mark.parametrize(
    ("one", "other"), [("1,200.0", "1200"), ("0.50", "1/2"), ("18.0", "18"), ("-0", "0")]
)
def test_equal_numbers_have_one_spelling(one, other):
    assert normal_number(one) == normal_number(other)


def test_odd_numbers_stay_as_they_are():
    assert normal_number("3/0") == "3/0"
    assert normal_number("9" * 50) == "9" * 50


@pytest.mark.parametrize("family", FAMILIES)
def test_reading_agrees_with_the_checker(family):
    """The checker reads with the problem at hand; here only the text is known."""
    for problem in generate_problems(family, 15, seed=7):
        planted = plant_error(problem, "contradiction")
        for text in (problem.solution, planted.text):
            trace = trace_from_text(
                TOKENIZER, problem.prompt, text, family=family, separator=problem.separator
            )
            assert written_answer(trace) == check_solution(problem, text).answer


def test_no_step_no_answer():
    assert written_answer(own("", finished=False, allow_no_steps=True)) is None
    assert masked_solution(own("", finished=False, allow_no_steps=True)) == ""


@pytest.mark.parametrize("family", FAMILIES)
def test_the_answer_is_masked(family):
    for problem in generate_problems(family, 10, seed=8):
        masked = masked_solution(gold_trace(problem, TOKENIZER))
        *before, last = masked.split("\n")
        assert "<value>" in last
        assert problem.answer not in re.findall(r"\w+", last)
        assert not re.search(r"\d", last)
        if problem.answer.isdigit():
            numbers = re.findall(r"(?<![\w])\d+", "\n".join(before))
            assert problem.answer not in numbers
            assert "<value>" in "\n".join(before)


def test_masking_by_hand():
    trace = own("Bo has 12. Ana has 2 more, so 12 + 2 = 14. It is 140. The answer is 14.")
    assert masked_solution(trace) == (
        "Bo has 12.\nAna has 2 more, so 12 + 2 = <value>.\nIt is 140.\nThe answer is <value>."
    )


def labelled_texts(problems=40, samples=4, seed=0):
    """Wrong texts hold a telling word most of the time; each problem has a name of its own."""
    generator = np.random.default_rng(seed)
    texts, wrong, groups = [], [], []
    for problem in range(problems):
        for _ in range(samples):
            error = bool(generator.random() < 0.5)
            tell = "skipped" if error == (generator.random() < 0.85) else "taken"
            texts.append(f"name{problem} is {tell} so 3 + 4 = <value>")
            wrong.append(error)
            groups.append(problem)
    return texts, np.array(wrong), np.array(groups)


def test_the_pipeline_learns_a_telling_word_on_held_out_problems():
    texts, wrong, groups = labelled_texts()
    scores = cross_validated_scores(lexical_predictor(), texts, wrong, groups).scores
    assert scores[wrong].mean() - scores[~wrong].mean() > 0.3
    again = cross_validated_scores(lexical_predictor(), texts, wrong, groups).scores
    assert (scores == again).all()


def test_words_of_held_out_problems_are_unknown_to_the_fold():
    texts, wrong, groups = labelled_texts()
    fold = grouped_folds(wrong, groups)
    inside = np.flatnonzero(fold != 0)
    fitted = clone(lexical_predictor()).fit([texts[i] for i in inside], wrong[inside])
    known = set(fitted["tfidf"].vocabulary_)
    for problem in set(groups[fold == 0].tolist()):
        assert f"name {problem}" not in known
    assert "<value>" in known
    assert "+" in known


def test_shuffled_labels_teach_nothing():
    texts, wrong, groups = labelled_texts(problems=80, seed=1)
    shuffled = np.random.default_rng(2).permutation(wrong)
    scores = cross_validated_scores(lexical_predictor(), texts, shuffled, groups).scores
    above = scores[shuffled][:, None] > scores[~shuffled]
    assert 0.35 < above.mean() < 0.65


def test_lexical_texts_are_the_masked_solutions():
    traces = [own("Ana has 2. The answer is 2."), own("Bo has 3. The answer is 4.")]
    assert lexical_texts(traces) == [
        "Ana has <value>.\nThe answer is <value>.",
        "Bo has 3.\nThe answer is <value>.",
    ]


def naive_disagreement(traces):
    found = []
    for index, trace in enumerate(traces):
        others = [
            other
            for place, other in enumerate(traces)
            if place != index and other.problem_id == trace.problem_id
        ]
        mine = written_answer(trace) if trace.finished else None
        differ = 0
        for other in others:
            theirs = written_answer(other) if other.finished else None
            differ += mine is None or theirs is None or mine != theirs
        found.append(differ / len(others))
    return found


def test_disagreement_by_hand():
    answers = {"a": ["4", "4.0", "5", "4"], "b": ["yes", "no"]}
    traces = [own(f"The answer is {x}", name) for name in answers for x in answers[name]]
    expected = [1 / 3, 1 / 3, 1, 1 / 3, 1, 1]
    np.testing.assert_allclose(answer_disagreement(traces), expected)


def test_solutions_without_an_answer_agree_with_nobody():
    broken = [own("Ana has 2.", finished=False), own("Ana has 2.", finished=False)]
    traces = [*broken, own("The answer is 2."), own("The answer is 2.")]
    np.testing.assert_allclose(answer_disagreement(traces), [1, 1, 2 / 3, 2 / 3])


def test_disagreement_against_the_naive_loop():
    generator = np.random.default_rng(3)
    traces = [
        own(f"The answer is {generator.integers(3)}", str(problem), finished=bool(kept))
        for problem in (2, 0, 1) * 5
        for kept in generator.random(2) < 0.9
    ]
    np.testing.assert_allclose(answer_disagreement(traces), naive_disagreement(traces))
    assert answer_disagreement([]).shape == (0,)


def test_a_single_sample_is_no_vote():
    with pytest.raises(ValueError, match="1 of 2 problems have a single sample"):
        answer_disagreement([own("It is 2."), own("It is 2."), own("It is 3.", "alone")])
