"""Answers: taken out where they are announced, equal however they are spelt."""

from __future__ import annotations

import warnings
from fractions import Fraction

import pytest

from rg_helpers.datasets import answers
from rg_helpers.datasets.answers import extract_answer, read_number, same_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("2 + 2 = 4\n#### 4", "4"),
        ("#### 3\nno, wait\n####  1,234 ", "1,234"),
        (r"so $x = \boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"\boxed{3} is too small, hence \boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"therefore \boxed 7 it is", "7"),
        (r"broken off: \boxed{12", None),
        ("She has 5.\nA: 5", "5"),
        ("The answer is 12 apples.", "12 apples"),
        ("She has 5 apples.", None),
        ("", None),
    ],
)
def test_an_answer_is_taken_where_it_is_announced(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,200", 1200),
        ("$1,200.50", Fraction(2401, 2)),
        ("-3", -3),
        ("−3", -3),
        (".5", Fraction(1, 2)),
        ("3/4", Fraction(3, 4)),
        (r"\frac{3}{4}", Fraction(3, 4)),
        (r"-\dfrac34", Fraction(-3, 4)),
        ("25%", 25),
        ("18 dollars", 18),
        ("18.", 18),
        (r"90^\circ", 90),
        ("3/0", None),
        ("2x", None),
        ("3 + 4", None),
        ("(1, 2)", None),
        ("yes", None),
    ],
)
def test_numbers_are_read_exactly_or_not_at_all(text, number):
    assert read_number(text) == number


def test_spelling_does_not_matter_and_values_do():
    assert same_answer("1,200", "$1200.00", "numeric")
    assert same_answer("0.1", "1/10", "numeric")
    assert not same_answer("0.333", "1/3", "numeric")
    assert same_answer(r"\text{Monday}", r"\text{Monday}", "numeric")
    assert same_answer(r"x^2 + 1", "x^2+1", "numeric")
    assert not same_answer("12", "2x", "numeric")
    assert not same_answer(None, None)
    assert not same_answer("", "5")


def test_math_verify_knows_equal_expressions():
    pytest.importorskip("math_verify")
    assert same_answer(r"\frac{\sqrt{12}}{2}", r"\sqrt{3}")
    assert same_answer("(x+1)^2", "x^2+2x+1", "math-verify")
    assert not same_answer(r"\sqrt{2}", r"\sqrt{3}", "math-verify")


def test_without_math_verify_it_is_said_once_and_spellings_are_compared(monkeypatch):
    monkeypatch.setattr(answers, "_math_verify", lambda: None)
    answers._say_once.cache_clear()
    with pytest.warns(UserWarning, match="pip install"):
        assert not same_answer("(x+1)^2", "x^2+2x+1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not same_answer("(x+1)^2", "x^2+2x+1")
    with pytest.raises(ValueError, match="math-verify is not installed"):
        same_answer("x", "y", "math-verify")
    with pytest.raises(ValueError, match="expected one of auto"):
        same_answer("x", "y", "guess")
