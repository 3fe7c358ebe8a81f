"""Exercises in notebooks: a stub, a check, and a notebook that runs whether or not it is solved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def attempt(check: Callable[..., Any], *functions: Any) -> bool:
    """Run `check(*functions)` and say how it went; return whether the exercise is solved.

    A stub that still raises NotImplementedError prints "not solved yet", so that the notebook
    runs on. A wrong answer raises the check's own AssertionError, whose message names the likely
    mistake; any other exception in the learner's code passes through too.
    """
    name = " and ".join(getattr(function, "__name__", "your answer") for function in functions)
    try:
        check(*functions)
    except NotImplementedError:
        print(f"{name}: not solved yet. Fill in the cell above, or open the hint below.")
        return False
    print(f"{name}: correct.")
    return True
