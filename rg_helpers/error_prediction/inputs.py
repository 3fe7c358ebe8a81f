"""Everything predictors may read of a set of traces, computed once and kept.

No label is read here. What costs a model's time (confidence, hidden states, graphs) is kept in a
folder named after the traces, the model and the fit traces, so a second report is cheap.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rg_helpers.comparison.stages import key_of, model_hash, source_hash
from rg_helpers.error_prediction.baselines import BASELINES, baseline_numbers
from rg_helpers.error_prediction.consistency import answer_disagreement
from rg_helpers.error_prediction.fit_traces import FitTraces, fit_traces
from rg_helpers.error_prediction.graph_blocks import GraphBlock, graph_block
from rg_helpers.error_prediction.graph_columns import Columns, graph_columns, text_columns
from rg_helpers.error_prediction.hidden_states import PLACES, TraceStates, states_with_steps
from rg_helpers.error_prediction.kept_arrays import Arrays, kept_arrays, traces_hash
from rg_helpers.error_prediction.lexical import lexical_texts
from rg_helpers.error_prediction.solution_span import solution_span
from rg_helpers.error_prediction.step_numbers import confidence_numbers, text_numbers
from rg_helpers.error_prediction.trace_set import TraceSet
from rg_helpers.graphs.methods import find_method
from rg_helpers.token_scores import score_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

METHODS = ("attention", "attention_gradient", "similarity", "intervention", "cluster", "text")
TEXT = "text"


@dataclass(frozen=True, eq=False)
class Inputs:
    """What predictors read of the traces in `traces`, row by row.

    `numbers` are the baselines (`BASELINES`, or length and steps alone where no model reads),
    `texts` the solutions with masked answers, `disagreement` self-consistency or None, `states`
    hidden states or None. `blocks` and `columns` hold every graph method, `text` the text's own
    numbers. `confidence`, `step_text` and `step_states` hold one array (steps, numbers) a trace;
    they are empty where no model reads. `skipped` says which methods are missing, and why.
    """

    traces: TraceSet
    numbers: Columns
    texts: tuple[str, ...]
    disagreement: np.ndarray | None
    states: TraceStates | None
    text: Columns
    blocks: Mapping[str, GraphBlock]
    columns: Mapping[str, Mapping[str, Columns]]
    confidence: tuple[np.ndarray, ...]
    step_text: tuple[np.ndarray, ...]
    step_states: tuple[np.ndarray, ...]
    fit_origin: str
    skipped: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.traces)

    def where(self, chosen: np.ndarray) -> Inputs:
        """Return the inputs of the traces that a mask or indices choose."""
        chosen = np.asarray(chosen)
        rows = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        states = self.states
        if states is not None:
            states = TraceStates(*(getattr(states, place)[rows] for place in PLACES))

        def picked(tables: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
            return tuple(tables[row] for row in rows) if tables else ()

        return replace(
            self,
            traces=self.traces.where(rows),
            numbers=self.numbers.where(rows),
            texts=tuple(self.texts[row] for row in rows),
            disagreement=None if self.disagreement is None else self.disagreement[rows],
            states=states,
            text=self.text.where(rows),
            blocks={name: block.where(rows) for name, block in self.blocks.items()},
            columns={
                name: {kind: found.where(rows) for kind, found in kinds.items()}
                for name, kinds in self.columns.items()
            },
            confidence=picked(self.confidence),
            step_text=picked(self.step_text),
            step_states=picked(self.step_states),
        )


def prediction_inputs(
    trace_set: TraceSet,
    model: PreTrainedModel | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
    methods: Sequence[str] = METHODS,
    *,
    fit: FitTraces | None = None,
    folder: str | Path | None = None,
    fit_problems: int = 40,
    seed: int = 0,
    progress: bool = True,
) -> Inputs:
    """Compute the inputs of all readable traces; those set aside to fit graphs on are left out.

    With `fit`, traces of other problems, graphs are fitted on these and nothing is set aside.
    Without a `model` only the methods and baselines that need none are computed, and the others
    are named in `skipped`. With a `folder` what is computed is kept below it. Raises `ValueError`
    if no trace can be read, or `fit` holds a problem that is scored.
    """
    everything, trace_set = trace_set, trace_set.read
    if not len(trace_set):
        raise ValueError(
            f"none of {len(everything)} traces can be read ({everything.status_counts}): there is "
            "nothing to predict"
        )
    ways = {name: find_method(name) for name in dict.fromkeys((*methods, TEXT))}
    given = {"model": model is not None, "tokenizer": tokenizer is not None}
    given |= {"fit": True, "problems": trace_set.has_problems, "judge": False}
    skipped = {}
    for name, way in ways.items():
        missing = [need for need in way.needs if not given[need]]
        if missing:
            skipped[name] = f"needs {' and '.join(missing)}"
    wanted = [name for name in ways if name not in skipped]
    scored = np.ones(len(trace_set), bool)
    if fit is None and any(ways[name].fit or ways[name].axes != "none" for name in wanted):
        fit, scored = fit_traces(trace_set, tokenizer, fit_problems, seed)
    votes = _votes(everything)
    if votes is not None:
        votes = votes[everything.status == "read"][scored]
    trace_set = trace_set.where(scored)
    place = _Place.of(trace_set, model, fit, folder, seed, progress)
    problems = {p.problem_id: p for p in trace_set.problems()} if trace_set.has_problems else {}
    blocks = {
        name: graph_block(
            trace_set.traces,
            name,
            model,
            tokenizer,
            fit,
            problems=tuple(problems.values()),
            folder=place.folder,
            model_key=place.model_key,
            progress=progress,
        )
        for name in wanted
    }
    numbers, confidence = place.confidence()
    states, step_states = place.states()
    return Inputs(
        traces=trace_set,
        numbers=numbers,
        texts=tuple(lexical_texts(trace_set.traces)),
        disagreement=votes,
        states=states,
        text=text_columns(trace_set.traces),
        blocks=blocks,
        columns={n: graph_columns(b, place.folder, seed) for n, b in blocks.items()},
        confidence=confidence,
        step_text=tuple(text_numbers(trace) for trace in trace_set.traces),
        step_states=step_states,
        fit_origin="nothing is fitted" if fit is None else fit.origin,
        skipped=skipped,
    )


@dataclass(frozen=True, eq=False)
class _Place:
    """Where what a model says of the traces is kept, and how it is made."""

    traces: TraceSet
    model: PreTrainedModel | None
    model_key: str | None
    folder: Path | None
    progress: bool

    @staticmethod
    def of(
        traces: TraceSet,
        model: PreTrainedModel | None,
        fit: FitTraces | None,
        folder: str | Path | None,
        seed: int,
        progress: bool,
    ) -> _Place:
        model_key = None if model is None else model_hash(model)
        if folder is not None:
            hashed = traces_hash(traces.traces)
            key = key_of(
                traces=hashed, model=model_key, fit=None if fit is None else fit.hash, seed=seed
            )
            folder = Path(folder) / key[:16]
        return _Place(traces, model, model_key, folder, progress)

    def kept(self, name: str, make: object, *modules: str) -> Arrays:
        path = self.folder / f"{name}.safetensors" if self.folder else None
        sources = [f"rg_helpers.error_prediction.{module}" for module in modules]
        key = key_of(
            traces=traces_hash(self.traces.traces) if path else None,
            model=self.model_key,
            source=source_hash(*sources),
        )
        return kept_arrays(path, key, make)  # type: ignore[arg-type]

    def confidence(self) -> tuple[Columns, tuple[np.ndarray, ...]]:
        """Return the baselines of every trace, and the confidence in each of its steps."""
        traces = self.traces.traces
        if self.model is None:
            spans = [solution_span(trace) for trace in traces]
            rows = [[end - start, len(t.steps)] for (start, end), t in zip(spans, traces)]
            return Columns(np.array(rows, float), tuple(BASELINES)[:2]), ()

        def make() -> Arrays:
            numbers = baseline_numbers(self.model, traces, progress=self.progress)
            scored = score_tokens(self.model, traces, progress=self.progress)
            steps = [confidence_numbers(t, s) for t, s in zip(traces, scored, strict=True)]
            return Arrays({"numbers": numbers, "steps": np.concatenate(steps)})

        found = self.kept("confidence", make, "baselines", "step_numbers").arrays
        return Columns(found["numbers"], tuple(BASELINES)), self._by_trace(found["steps"])

    def states(self) -> tuple[TraceStates | None, tuple[np.ndarray, ...]]:
        """Return hidden states of every trace, and the state of every step in the layer before
        the last."""
        traces = self.traces.traces
        if self.model is None:
            return None, ()

        def make() -> Arrays:
            found, steps = states_with_steps(self.model, traces, progress=self.progress)
            arrays = {place: getattr(found, place) for place in PLACES}
            return Arrays(arrays | {"steps": np.concatenate(steps)})

        found = self.kept("states", make, "hidden_states").arrays
        states = TraceStates(*(found[place] for place in PLACES))
        return states, self._by_trace(found["steps"])

    def _by_trace(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        counts = [len(trace.steps) for trace in self.traces.traces]
        return tuple(np.split(rows, np.cumsum(counts)[:-1]))


def _votes(trace_set: TraceSet) -> np.ndarray | None:
    """Return self-consistency (traces,), or None where a problem has a single sample.

    All samples vote, also those that cannot be read.
    """
    try:
        return answer_disagreement(trace_set.traces)
    except ValueError as error:
        warnings.warn(f"self-consistency is left out: {error}", stacklevel=3)
        return None
