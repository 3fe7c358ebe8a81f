"""What is known about a solution's correctness, and who says so: the checker or one's own file.

Two targets, always named. `wrong_answer`: the answer is wrong. `flawed`: any step or the answer is
wrong, which also holds for right answers reached by a wrong step. Error is the positive class.

Solutions that stop early and solutions with a line nobody can read form classes of their own: what
gives them away is their form, and a predictor must not be paid for noticing that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rg_helpers.problems import VERDICTS, CheckedSolution, Problem, check_solution
from rg_helpers.traces import Trace

Status = Literal["read", "truncated", "unreadable"]
Target = Literal["wrong_answer", "flawed"]
STATUSES: tuple[Status, ...] = Status.__args__
TARGETS: tuple[Target, ...] = Target.__args__

# Columns of one's own files that say it, and whether True there means an error.
ANSWER_COLUMNS = {
    "wrong_answer": True,
    "correct": False,
    "is_correct": False,
    "answer_right": False,
    "final_answer_correct": False,
}
STEP_COLUMNS = {"flawed": True, "all_right": False}
WORDS = {"right": False, "correct": False, "wrong": True, "incorrect": True}


@dataclass(frozen=True)
class TraceLabels:
    """The labels of one solution; None where it is not known.

    `status` is "read", "truncated" (no end or no answer line) or "unreadable" (some line says
    nothing the checker understands); only a read solution has labels. `first_wrong_step` counts
    `Trace.steps`, the answer line included; `error_type` is the verdict on that step.
    Raises `ValueError` for labels that contradict each other.
    """

    status: Status
    wrong_answer: bool | None = None
    flawed: bool | None = None
    first_wrong_step: int | None = None
    error_type: str | None = None

    def __post_init__(self) -> None:
        known = (self.wrong_answer, self.flawed, self.first_wrong_step, self.error_type)
        if self.status not in STATUSES:
            raise ValueError(f"status {self.status!r}: expected one of {', '.join(STATUSES)}")
        if self.status != "read" and any(value is not None for value in known):
            raise ValueError(
                f"a solution that is {self.status} has no labels, got {known}: leave them out"
            )
        _check_types(self)
        if self.error_type not in (None, *VERDICTS[1:]):
            raise ValueError(
                f"error_type {self.error_type!r}: expected one of {', '.join(VERDICTS[1:])}"
            )
        if self.flawed is False and (self.wrong_answer or self.first_wrong_step is not None):
            raise ValueError(
                f"not flawed, yet wrong_answer={self.wrong_answer} and first_wrong_step="
                f"{self.first_wrong_step}: a wrong answer or step makes a solution flawed"
            )
        if self.first_wrong_step is not None and self.flawed is None:
            raise ValueError("a first wrong step is given but not flawed: set flawed=True")

    def target(self, name: Target) -> bool | None:
        """Return the label of a named target; raises `ValueError` for an unknown name."""
        if name not in TARGETS:
            raise ValueError(f"target {name!r}: expected one of {', '.join(TARGETS)}")
        return getattr(self, name)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


def label_trace(problem: Problem, trace: Trace) -> TraceLabels:
    """Let the checker label a solution; it reads the text alone, no model and no scores.

    Raises `ValueError` if the trace belongs to another problem.
    """
    if trace.problem_id != problem.problem_id:
        raise ValueError(
            f"trace {trace.trace_id!r} solves problem {trace.problem_id}, not "
            f"{problem.problem_id}: pair each trace with its own problem"
        )
    return labels_of_checked(trace, check_solution(problem, trace.solution))


def labels_of_checked(trace: Trace, checked: CheckedSolution) -> TraceLabels:
    """Return the labels that follow from the checker's verdicts on a trace's solution."""
    if not trace.finished or checked.truncated:
        return TraceLabels("truncated")
    if any(step.verdict == "unreadable" for step in checked.steps):
        return TraceLabels("unreadable")
    first = checked.first_wrong_step
    return TraceLabels(
        "read",
        wrong_answer=not checked.answer_right,
        flawed=not checked.all_right,
        first_wrong_step=None if first is None else _step_at(trace, checked.steps[first].start),
        error_type=None if first is None else checked.steps[first].verdict,
    )


def saved_labels(trace: Trace) -> TraceLabels | None:
    """Return the labels that `TraceSet.save` wrote into a trace's columns; None if there are none.

    A column `labels` that is no object (a list of step labels, say) is somebody else's and left
    alone. Raises `ValueError` for an object that cannot be read.
    """
    saved = trace.extra.get("labels")
    if not isinstance(saved, Mapping):
        return None
    try:
        return TraceLabels(**saved)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"trace {trace.trace_id!r}: the column labels cannot be read ({error}): rename it if "
            "it is yours, or remove it so that the checker labels the trace again"
        ) from error


def labels_from_extra(trace: Trace) -> TraceLabels:
    """Read labels from the columns of one's own JSONL file; what is not there stays None.

    Known columns: `wrong_answer`, `correct`, `is_correct`, `answer_right`, `final_answer_correct`
    and `flawed`, `all_right` (true/false or 1/0), `first_wrong_step` (a step's index, or null),
    `error_type`, `status`; `label` as a word ("right", "correct", "wrong", "incorrect") or, beside
    `final_answer_correct`, as in ProcessBench (Zheng et al. 2024, arXiv 2412.06559): the index of
    the first wrong step, -1 for none. A number in `label` alone is refused: in half of all data
    sets 1 means right. Raises `ValueError` for columns that contradict each other.
    """
    extra = trace.extra
    try:
        if not (trace.finished and trace.steps) or extra.get("status") == "truncated":
            return TraceLabels("truncated")
        if extra.get("status") == "unreadable":
            return TraceLabels("unreadable")
        wrong = [_flag(extra, name, error) for name, error in ANSWER_COLUMNS.items()]
        flawed = [_flag(extra, name, error) for name, error in STEP_COLUMNS.items()]
        first = extra.get("first_wrong_step")
        label = extra.get("label")
        if isinstance(label, str) and label.lower() in WORDS:
            wrong.append(WORDS[label.lower()])
        elif type(label) is int and extra.get("final_answer_correct") is not None:
            first = label if label >= 0 else None
            flawed.append(label >= 0)
        elif label is not None:
            raise ValueError(
                f"the column label holds {label!r}, which may mean right or wrong: name the column "
                "`correct` or `wrong_answer` and fill it with true and false"
            )
        if first is not None:
            flawed.append(True)
        if type(first) is int and not 0 <= first < len(trace.steps):
            raise ValueError(
                f"first_wrong_step is {first} but the solution has {len(trace.steps)} steps, "
                "counted from 0"
            )
        return TraceLabels(
            "read",
            _agreed(wrong, ANSWER_COLUMNS),
            _agreed(flawed, STEP_COLUMNS),
            first,
            extra.get("error_type"),
        )
    except ValueError as error:
        raise ValueError(f"trace {trace.trace_id!r}: {error}") from error


def _check_types(labels: TraceLabels) -> None:
    for name in TARGETS:
        value = getattr(labels, name)
        if value is not None and not isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}: expected true, false or null")
    first = labels.first_wrong_step
    if first is not None and (type(first) is not int or first < 0):
        raise ValueError(f"first_wrong_step is {first!r}: expected a step's index, from 0, or null")


def _step_at(trace: Trace, start: int) -> int | None:
    """Return the index, among `trace.steps`, of the step that holds a character of the solution.

    A tokenizer may have joined two written steps into one node, so positions are compared.
    """
    position, found = 0, None
    for number, node in enumerate(trace.steps):
        begins = trace.solution.find(node.text, position)
        if begins < 0 or begins > start:
            break
        found, position = number, begins + len(node.text)
    return found


def _flag(extra: Mapping[str, Any], name: str, true_is_error: bool) -> bool | None:
    value = extra.get(name)
    if value is None:
        return None
    if value not in (0, 1):  # True and False are 1 and 0
        raise ValueError(f"the column {name} holds {value!r}: expected true, false, 1 or 0")
    return bool(value) == true_is_error


def _agreed(values: Sequence[bool | None], columns: Mapping[str, bool]) -> bool | None:
    said = {value for value in values if value is not None}
    if len(said) > 1:
        raise ValueError(
            f"its columns contradict each other (of {', '.join(columns)}, label): keep one"
        )
    return next(iter(said), None)
