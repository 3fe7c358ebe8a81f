"""What a stage has worked out, in parts on disk: a rerun reads it and does only what is missing.

A part is `<folder>/<number>.safetensors`, whose header holds the stage's key and the keys of its
solutions; graphs stand beside as `save_graphs` writes them, for anybody to read. A part without its
graphs, a broken one, or one of another key does not count. Files are written whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_tensors

from rg_helpers.artefacts import atomic_path
from rg_helpers.graphs.step_graph import StepGraph, load_graphs, save_graphs
from rg_helpers.scoring.solution_file import Solution
from rg_helpers.scoring.stages import WEIGHTS, Arrays, Stage

SUFFIX = ".safetensors"


@dataclass(frozen=True, eq=False)
class Part:
    """One part read back: its arrays by the keys of the solutions, and its words."""

    arrays: Mapping[str, Arrays]
    words: Mapping[str, str]


@dataclass(eq=False)
class Kept:
    """The parts of one stage: `folder` for its arrays, `graphs` for graphs (None: it has none).

    `outdated` counts the parts of another key that were found; they are removed when the first new
    part is written.
    """

    stage: Stage
    folder: Path
    graphs: Path | None
    outdated: int = 0
    _where: dict[str, int] = field(default_factory=dict)
    _old: list[int] = field(default_factory=list)
    _next: int = 0
    _last: tuple[int, Part] | None = None

    @classmethod
    def open(cls, stage: Stage, out: Path) -> Kept:
        """Look through the headers of what a stage kept below `out`."""
        graphs = None if stage.method is None else out / "graphs" / stage.name
        kept = cls(stage, out / "kept" / stage.name, graphs)
        for path in sorted(kept.folder.glob(f"*{SUFFIX}")):
            if not path.stem.isdigit():
                continue
            number = int(path.stem)
            kept._next = max(kept._next, number + 1)
            header = _header(path)
            if header is None or header["key"] != stage.key or not kept._has_graphs(number):
                kept._old.append(number)
                continue
            for name in json.loads(header["solutions"]):
                kept._where[name] = number
        kept.outdated = len(kept._old)
        return kept

    def __contains__(self, solution: Solution) -> bool:
        return solution.key in self._where

    def find(self, solutions: Sequence[Solution]) -> dict[str, tuple[Arrays, Mapping[str, str]]]:
        """Return the arrays and words of those solutions that are kept, by their keys.

        A part that turns out to be broken is forgotten, so that it is made anew.
        """
        found = {}
        for number in sorted({self._where[s.key] for s in solutions if s in self}):
            part = self._read(number)
            if part is None:
                self._where = {k: n for k, n in self._where.items() if n != number}
                continue
            for solution in solutions:
                if solution.key in part.arrays and self._where.get(solution.key) == number:
                    found[solution.key] = (part.arrays[solution.key], part.words)
        return found

    def add(
        self, solutions: Sequence[Solution], arrays: Sequence[Arrays], words: Mapping[str, str]
    ) -> None:
        """Write a new part: first the graphs, then the arrays, whose header makes it count."""
        if not solutions:
            return
        self._remove_old()
        number, self._next = self._next, self._next + 1
        if self.graphs is not None:
            choice = words.get("choice", "")
            drawn = [
                step_graph(solution, found[WEIGHTS], self.stage.name, choice)
                for solution, found in zip(solutions, arrays, strict=True)
            ]
            save_graphs(self._graphs_path(number), drawn)
        keys = [solution.key for solution in solutions]
        tensors = {
            f"{row}/{name}": np.ascontiguousarray(array)
            for row, found in enumerate(arrays)
            for name, array in found.items()
            if name != WEIGHTS
        }
        header = {
            "key": self.stage.key,
            "solutions": json.dumps(keys),
            "words": json.dumps(dict(words)),
        }
        with atomic_path(self._path(number)) as temporary:
            temporary.write_bytes(save_tensors(tensors, metadata=header))
        self._where |= dict.fromkeys(keys, number)

    def _read(self, number: int) -> Part | None:
        if self._last is None or self._last[0] != number:
            try:
                self._last = (number, self._load(number))
            except (OSError, ValueError, KeyError, SafetensorError):
                return None
        return self._last[1]

    def _load(self, number: int) -> Part:
        with safe_open(self._path(number), framework="np") as file:
            header = file.metadata()
            keys = json.loads(header["solutions"])
            rows: list[dict[str, np.ndarray]] = [{} for _ in keys]
            for name in file.keys():  # noqa: SIM118
                row, _, array = name.partition("/")
                rows[int(row)][array] = file.get_tensor(name)
        if self.graphs is not None:
            for row, graph in zip(rows, load_graphs(self._graphs_path(number)), strict=True):
                row[WEIGHTS] = graph.weights
        return Part(dict(zip(keys, rows, strict=True)), json.loads(header["words"]))

    def _has_graphs(self, number: int) -> bool:
        if self.graphs is None:
            return True
        stem = self._graphs_path(number)
        return all(stem.with_name(stem.name + end).is_file() for end in (SUFFIX, ".json"))

    def _remove_old(self) -> None:
        for number in self._old:
            stem = None if self.graphs is None else self._graphs_path(number)
            files = [self._path(number)]
            files += [stem.with_name(stem.name + end) for end in (SUFFIX, ".json")] if stem else []
            for path in files:
                with contextlib.suppress(OSError):
                    path.unlink()
        self._old = []

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}{SUFFIX}"

    def _graphs_path(self, number: int) -> Path:
        return self.graphs / f"{number:06d}"


def step_graph(solution: Solution, weights: np.ndarray, method: str, choice: str) -> StepGraph:
    """Return the graph of a solution; raises `ValueError` for weights that are no graph's."""
    trace = solution.trace
    return StepGraph(weights, trace.kinds, trace.texts, method, choice, trace.trace_id)


def graph_files(out: str | Path, method: str) -> Iterator[Path]:
    """Yield the JSON files of a method's graphs below `out`, for `load_graphs`."""
    yield from sorted((Path(out) / "graphs" / method).glob("*.json"))


def _header(path: Path) -> dict[str, str] | None:
    try:
        with safe_open(path, framework="np") as file:
            found = file.metadata() or {}
            json.loads(found["solutions"])
            return found if "key" in found else None
    except (OSError, ValueError, KeyError, SafetensorError):
        return None
