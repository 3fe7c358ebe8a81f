"""Solutions by the chunk: a bounded number is in memory at a time, with all that was worked out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rg_helpers.error_prediction.baselines import BASELINES
from rg_helpers.error_prediction.graph_blocks import GraphBlock
from rg_helpers.error_prediction.graph_columns import Columns
from rg_helpers.error_prediction.hidden_states import PLACES, TraceStates
from rg_helpers.scoring.kept import Kept, step_graph
from rg_helpers.scoring.solution_file import Solution
from rg_helpers.scoring.stages import (
    CONFIDENCE,
    NUMBERS,
    STATES,
    STEPS,
    TABLE,
    WEIGHTS,
    Arrays,
)
from rg_helpers.traces import BadLine, Trace

CHUNK_SOLUTIONS = 128
CHUNK_TOKENS = 2**16

Found = Mapping[str, tuple[Arrays, Mapping[str, str]]]


@dataclass(frozen=True, eq=False)
class ScoredChunk:
    """Some solutions of a file, in its order, with their graphs and numbers.

    `numbers` are the baselines (`BASELINES`), `confidence` a table (steps, 6) a solution, `blocks`
    the graphs of every method. `states` and `step_states` are None and empty without probes.
    """

    solutions: tuple[Solution, ...]
    blocks: Mapping[str, GraphBlock]
    numbers: Columns
    confidence: tuple[np.ndarray, ...]
    states: TraceStates | None
    step_states: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.solutions)

    @property
    def traces(self) -> tuple[Trace, ...]:
        """The traces of the solutions."""
        return tuple(solution.trace for solution in self.solutions)

    def where(self, chosen: Sequence[int]) -> ScoredChunk:
        """Return the solutions that indices choose."""
        rows = np.asarray(chosen, np.int64)
        states = self.states
        if states is not None:
            states = TraceStates(*(getattr(states, place)[rows] for place in PLACES))
        return ScoredChunk(
            tuple(self.solutions[row] for row in rows),
            {name: block.where(rows) for name, block in self.blocks.items()},
            self.numbers.where(rows),
            tuple(self.confidence[row] for row in rows),
            states,
            tuple(self.step_states[row] for row in rows) if self.step_states else (),
        )


def in_chunks(
    found: Iterable[Solution | BadLine],
) -> Iterator[tuple[list[Solution], list[BadLine]]]:
    """Group solutions, in order, until a chunk is full by number or by tokens.

    Bad lines come with the chunk they stand in or behind.
    """
    solutions: list[Solution] = []
    bad: list[BadLine] = []
    tokens = 0
    for one in found:
        if isinstance(one, BadLine):
            bad.append(one)
            if len(bad) >= CHUNK_SOLUTIONS:
                yield [], bad
                bad = []
            continue
        if solutions and (
            len(solutions) >= CHUNK_SOLUTIONS or tokens + len(one.trace) > CHUNK_TOKENS
        ):
            yield solutions, bad
            solutions, bad, tokens = [], [], 0
        solutions.append(one)
        tokens += len(one.trace)
    if solutions or bad:
        yield solutions, bad


def put_together(
    solutions: Sequence[Solution], kept: Sequence[Kept], found: Mapping[str, Found]
) -> ScoredChunk:
    """Return the chunk of those solutions for which every stage has something."""
    whole = [s for s in solutions if all(s.key in found[one.stage.name] for one in kept)]
    blocks = {}
    for one in kept:
        if one.stage.method is None:
            continue
        rows = [found[one.stage.name][solution.key] for solution in whole]
        words = rows[0][1] if rows else {}
        choice, name = words.get("choice", ""), one.stage.name
        blocks[name] = GraphBlock(
            name,
            choice,
            tuple(
                step_graph(s, arrays[WEIGHTS], name, choice)
                for s, (arrays, _) in zip(whole, rows, strict=True)
            ),
            tuple(arrays[TABLE] for arrays, _ in rows),
            tuple(json.loads(words.get("names", "[]"))),
        )
    confidence = [found[CONFIDENCE][solution.key][0] for solution in whole]
    numbers = np.array([row[NUMBERS] for row in confidence]).reshape(-1, len(BASELINES))
    states = [found[STATES][s.key][0] for s in whole] if STATES in found else []
    return ScoredChunk(
        tuple(whole),
        blocks,
        Columns(numbers, tuple(BASELINES)),
        tuple(row[STEPS] for row in confidence),
        TraceStates(*(np.stack([row[place] for row in states]) for place in PLACES))
        if states
        else None,
        tuple(row[STEPS] for row in states),
    )
