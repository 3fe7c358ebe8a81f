"""Exercises in notebooks: a stub, a check, and a notebook that runs whether or not it is solved."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from rg_helpers.course.exercise_cells import read_exercises
from rg_helpers.course.folders import notebooks_folder
from rg_helpers.course.notebook_files import read_notebook


def attempt(check: Callable[..., Any], *functions: Any) -> bool:
    """Run `check(*functions)` and say how it went; return whether the exercise is solved.

    A stub that still raises NotImplementedError prints "not solved yet", so that the notebook
    runs on. A wrong answer raises an AssertionError that names the likely mistake: the check's
    own, or one for a function that returns None or something the check cannot read. What the
    learner's own code raises passes through.
    """
    name = " and ".join(getattr(function, "__name__", "your answer") for function in functions)
    watched = [_Watched(function) if callable(function) else function for function in functions]
    calls = [function for function in watched if isinstance(function, _Watched)]
    try:
        check(*watched)
    except NotImplementedError:
        print(f"{name}: not solved yet. Fill in the cell above, or open the hint below.")
        return False
    except AssertionError:
        raise
    except Exception as error:
        if not calls or any(function.raised is error for function in calls):
            raise
        got = ", ".join(type(function.returned).__name__ for function in calls)
        raise AssertionError(
            f"{name} returned something of another kind or shape than the exercise asks for: the "
            f"check stopped at {got} with {type(error).__name__}: {error}"
        ) from error
    print(f"{name}: correct.")
    return True


def answer(namespace: dict[str, Any], notebook: str, number: int, *names: str) -> Any:
    """Run the course's answer to an exercise in `namespace`, return what it binds to `names`.

    A learner's notebook calls it where it goes on with an answer, so that it runs whether or not
    the exercise was solved. The answer is read from the complete notebook. Raises `ValueError`
    for an exercise or a name that is not there.
    """
    cells = read_notebook(notebooks_folder() / f"{notebook}.ipynb").cells
    numbered = {exercise.number: exercise for exercise in read_exercises(cells, notebook)}
    if number not in numbered:
        raise ValueError(
            f"{notebook} has no exercise {number} (it has {', '.join(map(str, numbered))}): your "
            "copy is older than the course, write it anew with `rgh exercises`"
        )
    source = cells[numbered[number].solution].source
    exec(compile(source, f"<answer to exercise {number} of {notebook}>", "exec"), namespace)
    if missing := [name for name in names if name not in namespace]:
        raise ValueError(
            f"the answer to exercise {number} of {notebook} no longer binds {', '.join(missing)}: "
            "your copy is older than the course, write it anew with `rgh exercises`"
        )
    found = tuple(namespace[name] for name in names)
    return found[0] if len(found) == 1 else found


class _Watched:
    """A function that says so when it returns nothing, and remembers what it returned or raised."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self.returned: Any = None
        self.raised: Exception | None = None

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        try:
            self.returned = self.function(*arguments, **options)
        except Exception as error:
            self.raised = error
            raise
        if self.returned is None:
            name = getattr(self.function, "__name__", "your function")
            raise AssertionError(f"{name} returned None: is its `return` missing?")
        return self.returned
