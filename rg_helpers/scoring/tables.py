"""The tables of a run, written row group by row group: features, baselines, steps, lines left out.

- `baselines.parquet`: a row a solution: line, ids, labels, tokens, every baseline, and the line's
  other columns as JSON in `columns`;
- `features.parquet`: a row a solution: the features of every method's graph, `<method>.<feature>`;
- `steps.parquet`: a row a written step: its text, the model's confidence, what the text alone says,
  and where each method's graph says its support comes from, `<method>.<number>`;
- `left_out.jsonl`: a line for everything that was not scored: where it stands and why.

Rows keep the file's order. The tables take their names when all of them are complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet

from rg_helpers.artefacts import atomic_path
from rg_helpers.error_prediction.fit_traces import FitTraces
from rg_helpers.error_prediction.step_numbers import (
    CONFIDENCE_NUMBERS,
    ROW_NUMBERS,
    TEXT_NUMBERS,
    text_numbers,
    written,
)
from rg_helpers.error_prediction.trace_set import PROBLEM
from rg_helpers.features import DEFAULT_SETS, FEATURES, graph_features
from rg_helpers.scoring.chunks import ScoredChunk
from rg_helpers.scoring.solution_file import Solution
from rg_helpers.traces import BadLine

BASELINE_TABLE, FEATURE_TABLE = "baselines.parquet", "features.parquet"
STEP_TABLE, LEFT_OUT = "steps.parquet", "left_out.jsonl"
ROW_GROUP = 1024  # rows that wait until they are written: of every group something stays in memory


class TableWriter:
    """Writes the tables of a run; use it in a `with` block, which gives them their names.

    `solutions` and `left_out` count what was written.
    """

    def __init__(self, folder: Path, fit: FitTraces | None = None) -> None:
        self.folder = folder
        self.fitted = fit.problem_ids if fit else set()
        self.solutions = self.left_out = 0
        self._stack = ExitStack()
        self._writers: dict[str, pyarrow.parquet.ParquetWriter] = {}
        self._waiting: dict[str, list[pyarrow.Table]] = {}
        self._lines: IO[str] | None = None

    def __enter__(self) -> TableWriter:
        self._stack.__enter__()
        path = self._stack.enter_context(atomic_path(self.folder / LEFT_OUT))
        self._lines = self._stack.enter_context(open(path, "w", encoding="utf-8"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        for name, writer in self._writers.items():  # before the files take their names
            if kind is None:
                self._write(name)
            writer.close()
        return self._stack.__exit__(kind, error, trace)

    def add(self, chunk: ScoredChunk) -> None:
        """Append the rows of a chunk."""
        if not len(chunk):
            return
        self.solutions += len(chunk)
        self._append(BASELINE_TABLE, baseline_rows(chunk, self.fitted))
        self._append(FEATURE_TABLE, feature_rows(chunk))
        self._append(STEP_TABLE, step_rows(chunk))

    def leave_out(self, bad: Sequence[BadLine]) -> None:
        """Append lines that were not scored."""
        self.left_out += len(bad)
        for line in bad:
            row = {"line": line.line, "reason": line.reason}
            self._lines.write(json.dumps(row, ensure_ascii=False) + "\n")

    def _append(self, name: str, rows: pandas.DataFrame) -> None:
        table = pyarrow.Table.from_pandas(rows, preserve_index=False)
        if name not in self._writers:
            path = self._stack.enter_context(atomic_path(self.folder / name))
            self._writers[name] = pyarrow.parquet.ParquetWriter(path, table.schema)
            self._waiting[name] = []
        self._waiting[name].append(table.cast(self._writers[name].schema))
        if sum(map(len, self._waiting[name])) >= ROW_GROUP:
            self._write(name)

    def _write(self, name: str) -> None:
        """Write the rows that wait as one row group: what is kept of each grows with the file."""
        if self._waiting[name]:
            self._writers[name].write_table(pyarrow.concat_tables(self._waiting[name]))
            self._waiting[name].clear()


def baseline_rows(chunk: ScoredChunk, fitted: set[str] = frozenset()) -> pandas.DataFrame:
    """Return a row a solution: where it stands, what is known of it, and its baselines."""
    solutions = chunk.solutions
    rows = pandas.DataFrame(
        {
            "line": np.array([s.line for s in solutions], np.int64),
            "trace_id": [s.trace.trace_id for s in solutions],
            "problem_id": [s.trace.problem_id for s in solutions],
            "family": [s.trace.family for s in solutions],
            "status": [s.labels.status for s in solutions],
            "wrong_answer": pandas.array([s.labels.wrong_answer for s in solutions], "boolean"),
            "flawed": pandas.array([s.labels.flawed for s in solutions], "boolean"),
            "first_wrong_step": pandas.array(
                [s.labels.first_wrong_step for s in solutions], "Int64"
            ),
            "fitted_on": [s.trace.problem_id in fitted for s in solutions],
            "tokens": np.array([len(s.trace) for s in solutions], np.int64),
        }
    )
    rows = rows.join(pandas.DataFrame(chunk.numbers.values, columns=list(chunk.numbers.names)))
    rows["columns"] = [_other_columns(solution) for solution in solutions]
    return rows


def _other_columns(solution: Solution) -> str:
    """Return what a line says beside its texts as JSON, without a generated problem's record."""
    kept = {name: value for name, value in solution.trace.extra.items() if name != PROBLEM}
    return json.dumps(kept, ensure_ascii=True, default=str)


def feature_rows(chunk: ScoredChunk) -> pandas.DataFrame:
    """Return a row a solution: the features of its graph, method by method."""
    columns: dict[str, Any] = {
        "line": np.array([s.line for s in chunk.solutions], np.int64),
        "trace_id": [s.trace.trace_id for s in chunk.solutions],
    }
    for method, found in wiring(chunk).items():
        columns |= {f"{method}.{name}": found[name].to_numpy() for name in found.columns}
    return pandas.DataFrame(columns)


def wiring(chunk: ScoredChunk) -> Mapping[str, pandas.DataFrame]:
    """Return, a method, the features of its graphs that can differ between graphs."""
    found = {}
    for method, block in chunk.blocks.items():
        table = graph_features(block.graphs, DEFAULT_SETS, progress=False)
        found[method] = table[[name for name in table.columns if not FEATURES[name].constant]]
    return found


def step_rows(chunk: ScoredChunk) -> pandas.DataFrame:
    """Return a row a written step, numbered from 0, the answer line included."""
    steps = [
        (s.line, s.trace.trace_id, number, node.kind, node.text)
        for s in chunk.solutions
        for number, node in enumerate(s.trace.steps)
    ]
    names = ("line", "trace_id", "step", "kind", "text")
    columns: dict[str, Any] = dict(zip(names, map(list, zip(*steps, strict=True)), strict=True))
    tables = {"": (np.concatenate(chunk.confidence), CONFIDENCE_NUMBERS)}
    tables["words."] = (np.concatenate([text_numbers(t) for t in chunk.traces]), TEXT_NUMBERS)
    for method, block in chunk.blocks.items():
        own = [
            written(table, graph.kinds)[:, : len(ROW_NUMBERS)]
            for table, graph in zip(block.tables, block.graphs, strict=True)
        ]
        tables[f"{method}."] = (np.concatenate(own), ROW_NUMBERS)
    for prefix, (values, meanings) in tables.items():
        columns |= {prefix + name: values[:, place] for place, name in enumerate(meanings)}
    return pandas.DataFrame(columns)
