"""Wrong answers that the checks of the exercises must reject, each for its own mistake.

`planted_03.py` holds those of notebook 03. A wrong answer is a function with the exercise's
signature, a docstring that names the mistake, and the words in which the check must name it.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace

notebook = SimpleNamespace()  # what the notebook's cells have bound, for answers that need it


@dataclass(frozen=True)
class Planted:
    """A wrong answer to one exercise."""

    exercise: int
    function: Callable
    says: str  # part of the message that the check must give

    @property
    def mistake(self) -> str:
        """What the answer gets wrong."""
        return self.function.__doc__.strip()


def rejected(exercise: int, says: str) -> Callable[[Callable], Callable]:
    """Plant the decorated function as a wrong answer to `exercise` of the module's notebook."""

    def plant(function: Callable) -> Callable:
        function.planted = Planted(exercise, function, says)
        return function

    return plant


def planted_for(number: str) -> list[Planted]:
    """Return the wrong answers for the notebook with this number ("03"), none without a module."""
    name = f"planted_{number}"
    if importlib.util.find_spec(name) is None:
        return []
    module: ModuleType = importlib.import_module(name)
    return [item.planted for item in vars(module).values() if hasattr(item, "planted")]
