"""`TraceSet`: solutions with their labels, their problems as groups, and how hard each one was.

On disk it is the JSONL of `write_traces`: the labels stand in the column `labels`, the whole
problem in the column `problem_record`, so a line says everything and the checker can be run again.
One's own file needs neither: labels are read from its columns, as far as there are any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rg_helpers.error_prediction.labels import (
    STATUSES,
    Target,
    TraceLabels,
    label_trace,
    labels_from_extra,
    saved_labels,
)
from rg_helpers.error_prediction.problem_record import problem_from_record, problem_record
from rg_helpers.problems import Problem
from rg_helpers.traces import BadLine, Trace, read_traces, write_traces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PROBLEM, LABELS = "problem_record", "labels"


@dataclass(frozen=True, eq=False)
class TraceSet:
    """Solutions and their labels, one to one; several solutions may belong to one problem.

    Raises `ValueError` if there are not as many labels as traces.
    """

    traces: tuple[Trace, ...]
    labels: tuple[TraceLabels, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "traces", tuple(self.traces))
        object.__setattr__(self, "labels", tuple(self.labels))
        if len(self.traces) != len(self.labels):
            raise ValueError(
                f"{len(self.traces)} traces and {len(self.labels)} labels: expected one label each"
            )

    @classmethod
    def of(cls, traces: Sequence[Trace], problems: Iterable[Problem]) -> TraceSet:
        """Label solutions by the checker and keep each one's problem in its columns.

        `problems` are those the traces solve, each once, in any order. Raises `ValueError` for a
        trace without its problem.
        """
        known = {problem.problem_id: problem for problem in problems}
        lost = [trace.trace_id for trace in traces if trace.problem_id not in known]
        if lost:
            raise ValueError(
                f"the problem of trace {lost[0]!r} ({len(lost)} in all) is not among the "
                f"{len(known)} problems given: give the problems that the traces were sampled from"
            )
        records = {name: problem_record(problem) for name, problem in known.items()}
        labels = [label_trace(known[trace.problem_id], trace) for trace in traces]
        kept = [
            replace(trace, extra={**trace.extra, PROBLEM: records[trace.problem_id]})
            for trace in traces
        ]
        return cls(tuple(kept), tuple(labels))

    def __len__(self) -> int:
        return len(self.traces)

    @property
    def problem_ids(self) -> np.ndarray:
        """The problem of each trace: str (traces,); the groups of every split."""
        return np.array([trace.problem_id for trace in self.traces], dtype=str)

    @property
    def families(self) -> np.ndarray:
        """The problem family of each trace: str (traces,)."""
        return np.array([trace.family for trace in self.traces], dtype=str)

    @property
    def difficulty(self) -> np.ndarray:
        """Operations of each trace's problem: float64 (traces,), NaN where unknown."""
        return np.array([_operations(trace) for trace in self.traces], dtype=np.float64)

    @property
    def status(self) -> np.ndarray:
        """The status of each trace: str (traces,), "read", "truncated" or "unreadable"."""
        return np.array([label.status for label in self.labels], dtype=str)

    @property
    def status_counts(self) -> dict[str, int]:
        """How many traces have each status, those without any included."""
        counts = Counter(label.status for label in self.labels)
        return {status: counts[status] for status in STATUSES}

    @property
    def read(self) -> TraceSet:
        """The traces that reach an answer and are readable throughout."""
        return self.where(self.status == "read")

    def where(self, chosen: np.ndarray | Sequence[int]) -> TraceSet:
        """Return the traces that a mask (traces,) or indices choose, in that order."""
        chosen = np.asarray(chosen)
        if chosen.dtype == bool and len(chosen) != len(self):
            raise ValueError(f"a mask of {len(chosen)} for {len(self)} traces")
        indices = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        return TraceSet(
            tuple(self.traces[index] for index in indices),
            tuple(self.labels[index] for index in indices),
        )

    def labelled(self, target: Target) -> TraceSet:
        """Return the traces for which the named target is known."""
        return self.where(np.array([la.target(target) is not None for la in self.labels], bool))

    def target(self, name: Target) -> np.ndarray:
        """Return the named target: bool (traces,), True for an error.

        Raises `ValueError` if it is unknown for some trace.
        """
        values = [label.target(name) for label in self.labels]
        unknown = sum(value is None for value in values)
        if unknown:
            raise ValueError(
                f"{unknown} of {len(self)} traces have no label {name} (status: "
                f"{self.status_counts}): take `.labelled({name!r})`, or add a column to the file "
                "(`correct` for wrong_answer, `first_wrong_step` or `flawed` for flawed)"
            )
        return np.array(values, dtype=bool)

    def mixed_problems(self, name: Target) -> int:
        """Count the problems with solutions of both classes: only they compare within a problem.

        Raises `ValueError` like `target`.
        """
        wrong, problems = self.target(name), self.problem_ids
        return len(set(problems[wrong].tolist()) & set(problems[~wrong].tolist()))

    @property
    def has_problems(self) -> bool:
        """Whether every trace carries its problem, so that the checker can judge it."""
        return all(PROBLEM in trace.extra for trace in self.traces)

    def problems(self) -> list[Problem]:
        """Return the problem of each trace, made anew from the trace's own column
        `problem_record`.

        Traces of one problem get one object. Raises `ValueError` where the column is missing.
        """
        made: dict[str, Problem] = {}
        for trace in self.traces:
            if trace.problem_id not in made:
                made[trace.problem_id] = _problem(trace)
        return [made[trace.problem_id] for trace in self.traces]

    def relabelled(self) -> TraceSet:
        """Run the checker again on every trace; raises `ValueError` where a problem is missing."""
        pairs = zip(self.problems(), self.traces, strict=True)
        return TraceSet(self.traces, tuple(label_trace(problem, trace) for problem, trace in pairs))

    def save(self, path: str | Path) -> Path:
        """Write the traces as JSONL with their labels in the column `labels`, atomically."""
        return write_traces(
            path,
            (
                replace(trace, extra={**trace.extra, LABELS: label.as_dict()})
                for trace, label in zip(self.traces, self.labels, strict=True)
            ),
        )

    def __add__(self, other: TraceSet) -> TraceSet:
        return TraceSet(self.traces + other.traces, self.labels + other.labels)


def load_trace_set(
    path: str | Path,
    tokenizer: PreTrainedTokenizerFast | None = None,
    label: Callable[[Trace], TraceLabels] | None = None,
) -> tuple[TraceSet, list[BadLine]]:
    """Read a JSONL file of traces, one's own included; return the set and a report on bad lines.

    Labels come from the column `labels`, else from the checker if the line holds its
    `problem_record`, else from `label(trace)` or, without one, from the columns that
    `labels_from_extra` knows. With a `tokenizer`, lines that hold only prompt and solution are
    read too (see `read_traces`).
    Raises `FileNotFoundError` for a missing file and `ValueError` for labels that make no sense.
    """
    traces, bad = read_traces(path, tokenizer)
    made: dict[str, Problem] = {}
    labels = []
    for trace in traces:
        found = saved_labels(trace)
        if found is None and PROBLEM in trace.extra:
            if trace.problem_id not in made:
                made[trace.problem_id] = _problem(trace)
            found = label_trace(made[trace.problem_id], trace)
        labels.append(found or (label or labels_from_extra)(trace))
    return TraceSet(tuple(traces), tuple(labels)), bad


def _problem(trace: Trace) -> Problem:
    record = trace.extra.get(PROBLEM)
    if record is None:
        raise ValueError(
            f"trace {trace.trace_id!r} does not carry its problem: the checker needs the column "
            f"`{PROBLEM}`, which `rgh traces` writes; without it use the labels of the file"
        )
    try:
        problem = problem_from_record(record)
    except ValueError as error:
        raise ValueError(f"trace {trace.trace_id!r}: {error}") from error
    if problem.problem_id != trace.problem_id:
        raise ValueError(
            f"trace {trace.trace_id!r} says it solves problem {trace.problem_id} but carries "
            f"problem {problem.problem_id}: restore the file, or sample the traces again"
        )
    return problem


def _operations(trace: Trace) -> float:
    record = trace.extra.get(PROBLEM)
    value = record.get("operations") if isinstance(record, dict) else None
    value = trace.extra.get("operations") if value is None else value
    return float(value) if type(value) in (int, float) else float("nan")
