"""What the checker returns: every written step with its verdict and the graph it claims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal[
    "right",
    "arithmetic slip",
    "wrong operand",
    "irrelevant step",
    "missing step",
    "contradiction",
    "unreadable",
]
VERDICTS: tuple[Verdict, ...] = Verdict.__args__


@dataclass(frozen=True)
class Judgement:
    """A verdict with the edges behind it.

    `parents` are the nodes that the line itself names or uses (the claimed graph), `needed` the
    nodes it ought to follow from; both count the problem's premises and question first, then the
    solution's own steps. `ignored` is the premise a wrong operand passes over and `used` the node
    it reads instead. The verdict is local: a step that follows from what was *written* before is
    right even if an earlier step is wrong.
    """

    verdict: Verdict
    parents: tuple[int, ...] = ()
    needed: tuple[int, ...] = ()
    ignored: int | None = None
    used: int | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckedStep(Judgement):
    """A judgement of one written step, with its text, character span [start, end) and kind."""

    text: str
    start: int
    end: int
    kind: str | None


@dataclass(frozen=True)
class CheckedSolution:
    """A whole written solution: its steps, whether the answer is right, and where it first errs."""

    steps: tuple[CheckedStep, ...]
    answer: str | None
    answer_right: bool

    @property
    def truncated(self) -> bool:
        """True when no answer line was found."""
        return self.answer is None

    @property
    def first_wrong_step(self) -> int | None:
        """Index of the first step that is not right, or None."""
        return next((i for i, s in enumerate(self.steps) if s.verdict != "right"), None)

    @property
    def all_right(self) -> bool:
        """True when every step and the answer are right."""
        return self.answer_right and self.first_wrong_step is None
