"""Drawing on the nodes of a Ray cluster, a chunk a task; files are written here alone.

The model, the tokenizer and what graphs are fitted on travel to each node once, the solutions of a
chunk with their task, and arrays come back, so that nodes need no files of this machine. What a
node has made is kept as soon as it arrives; tables are written in the order of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rg_helpers.distributed import (
    Needs,
    SentModel,
    on_ray,
    received_model,
    tasks_at_once_here,
)
from rg_helpers.error_prediction.fit_traces import FitTraces
from rg_helpers.scoring.memory import Budget, memory_budget
from rg_helpers.scoring.solution_file import Solution
from rg_helpers.scoring.stages import Stage
from rg_helpers.scoring.work_out import Made, stages_of, work_out
from rg_helpers.traces import BadLine

Chunk = tuple[list[Solution], list[BadLine]]


@dataclass(frozen=True, eq=False)
class Reading:
    """What a node needs to draw; `memory` bounds one process, in GiB."""

    model: SentModel
    model_key: str
    methods: tuple[str, ...]
    fit: FitTraces | None
    probes: bool
    problems: tuple[Any, ...]
    memory: float | None
    source: str
    needs: Needs


@dataclass(frozen=True, eq=False)
class _Reader:
    stages: tuple[Stage, ...]
    budget: Budget
    source: str


@dataclass(frozen=True, eq=False)
class _ChunkTask:
    solutions: tuple[Solution, ...]
    known: Mapping[str, Collection[str]]


def draw_on_nodes(
    chunks: Iterator[Chunk],
    reading: Reading,
    known: Callable[[Sequence[Solution]], Mapping[str, Collection[str]]],
    enter: Callable[[Sequence[Solution], Made], None],
    write: Callable[[Sequence[Solution], list[BadLine]], None],
    tell: Callable[[str], None],
) -> None:
    """Draw what is missing of every chunk on the cluster that this process is connected to.

    `known` says what is kept of a chunk, by stage. `enter` gets what was made, each thing once, as
    it arrives; `write` gets the chunks in their order, with all their bad lines, once they are
    whole. `tell` hears of smaller batches and of tasks that are done again.
    """
    waiting: dict[int, Chunk] = {}  # read, and not yet written
    whole: set[int] = set()
    numbers: dict[int, int] = {}  # of the task: of the chunk
    turn = 0

    def write_whole() -> None:
        nonlocal turn
        while turn in whole:
            write(*waiting.pop(turn))
            whole.discard(turn)
            turn += 1

    def tasks() -> Iterator[_ChunkTask]:
        task = 0
        for number, (solutions, bad) in enumerate(chunks):
            waiting[number] = solutions, bad
            found = known(solutions)
            if all(len(keys) == len(solutions) for keys in found.values()):
                whole.add(number)
                write_whole()
                continue
            numbers[task], task = number, task + 1
            yield _ChunkTask(tuple(solutions), found)

    how = {"prepare": _prepare, "needs": reading.needs, "in_turn": True, "tell": tell}
    for task, (made, notes) in on_ray(_draw_chunk, tasks(), reading, **how, progress=False):
        number = numbers.pop(task)
        solutions, bad = waiting[number]
        for one in made:
            enter(solutions, one)
            bad += one.failed
        for note in notes:
            tell(note)
        whole.add(number)
        write_whole()


def _prepare(reading: Reading) -> _Reader:
    """Build the stages, once a process of a node; its tasks share the node's free memory."""
    model, tokenizer = received_model(reading.model, "cuda" if reading.needs.gpus else "cpu")
    stages = stages_of(
        reading.methods,
        model,
        tokenizer,
        reading.fit,
        reading.model_key,
        reading.probes,
        reading.problems,
    )
    budget = memory_budget(model, reading.memory)
    if reading.memory is None and not reading.needs.gpus:
        budget = replace(budget, bytes=budget.bytes // tasks_at_once_here(reading.needs))
    return _Reader(stages, budget, reading.source)


def _draw_chunk(reader: _Reader, task: _ChunkTask) -> tuple[list[Made], list[str]]:
    """Return what had to be made of a chunk, and what there is to say of batches."""
    before = len(reader.budget.notes)
    stages = reader.stages
    made = list(work_out(stages, task.solutions, task.known, reader.budget, reader.source))
    return made, reader.budget.notes[before:]
