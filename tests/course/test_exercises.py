"""`attempt` lets an unsolved notebook run on and a wrong answer fail; `start` makes runs equal."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from rg_helpers.course.exercises import attempt
from rg_helpers.course.notebook import start


def check_double(function):
    assert function(3) == 6, "3 doubled is 6: did you square it?"


def test_an_unsolved_stub_is_said_and_survived(capsys):
    def double(x):
        raise NotImplementedError

    assert attempt(check_double, double) is False
    assert "double: not solved yet" in capsys.readouterr().out


def test_a_right_answer_is_confirmed(capsys):
    def double(x):
        return x + x

    assert attempt(check_double, double) is True
    assert "double: correct" in capsys.readouterr().out


def test_a_wrong_answer_raises_the_message_of_the_check(capsys):
    with pytest.raises(AssertionError, match="did you square it"):
        attempt(check_double, lambda x: x * x)
    assert "correct" not in capsys.readouterr().out


def test_an_error_in_the_learners_code_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        attempt(check_double, lambda x: x / 0)


@pytest.fixture
def no_profile_variable(monkeypatch):
    monkeypatch.delenv("RGH_PROFILE", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_start_seeds_every_generator(no_profile_variable):
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    assert start("cpu", 3) == "cpu"
    first = draw()
    start("cpu", 3)
    assert draw() == first
    start("cpu", 4)
    second = draw()
    assert all(a != b for a, b in zip(first, second, strict=True))


def test_start_obeys_the_environment_and_refuses_nonsense(no_profile_variable, monkeypatch):
    with pytest.raises(ValueError, match="unknown profile"):
        start("laptop", 0)
    with pytest.raises(ValueError, match="SEED"):
        start("cpu", -1)
    monkeypatch.setenv("RGH_PROFILE", "smoke")
    assert start("cpu", 0) == "smoke"


def test_a_forgotten_return_is_named():
    def double(x):
        x + x

    with pytest.raises(AssertionError, match="double returned None: is its `return` missing"):
        attempt(check_double, double)


def test_an_answer_of_another_kind_is_named_where_the_check_stumbles():
    def check_last(function):
        assert function([3, 6])[-1] == 6, "is it the last?"

    with pytest.raises(AssertionError, match="stopped at int with TypeError"):
        attempt(check_last, lambda numbers: 6)


def test_a_defect_of_the_check_itself_is_not_blamed_on_the_learner():
    def check_broken(value):
        return value / 0

    with pytest.raises(ZeroDivisionError):
        attempt(check_broken, 3)
