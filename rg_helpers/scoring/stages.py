"""Stages: what is worked out of every solution and kept, each with a key of all it depends on.

A stage is the graphs of one method, the confidence of the model in every token, or hidden states
for probes. It is done batch by batch; `key` hashes the model, what was fitted, the method and the
source code it runs through, so that a file made under another key is never taken for this one's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from rg_helpers.comparison.stages import key_of, source_hash
from rg_helpers.error_prediction.baselines import BASELINES
from rg_helpers.error_prediction.fit_traces import FitTraces
from rg_helpers.error_prediction.hidden_states import PLACES, trace_states
from rg_helpers.error_prediction.solution_span import answer_node, last_step, solution_span
from rg_helpers.error_prediction.step_numbers import ROW_NUMBERS, confidence_numbers, row_numbers
from rg_helpers.graphs.batches import forward_bytes
from rg_helpers.graphs.method import Given, Method
from rg_helpers.graphs.methods import best_part, describe_part, find_method, reduce_scores
from rg_helpers.graphs.step_embeddings import step_embeddings
from rg_helpers.graphs.step_graph import normalise_rows
from rg_helpers.graphs.step_states import states_bytes
from rg_helpers.token_scores import TokenScores, score_tokens
from rg_helpers.traces import Node, Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

CONFIDENCE, STATES = "confidence", "states"
WEIGHTS, TABLE, NUMBERS, STEPS = "weights", "table", "numbers", "steps"
GRADIENTS = ("gradient", "input_gradient")  # modules that keep what backward needs
PASSES = ("intervention", "premise_replacement")  # modules that run a trace many times
OF_STATES = ("activation", "shared_neurons", "linear_predictability", "clusters")
# Methods whose `batch_size` counts passes over one trace, not traces.
BY_PASSES = ("input_gradient", "integrated_gradients", "relevance")
MOST_PASSES = 8

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Stage:
    """One thing to work out: `work(traces)` returns named arrays a trace.

    `words` say what the arrays mean and are known once some were made (`describe`).
    """

    name: str
    key: str
    work: Callable[[Sequence[Trace]], list[Arrays]]
    bytes_needed: Callable[[Trace], int]
    describe: Callable[[Arrays], Mapping[str, str]]
    method: str | None = None


def graph_stage(
    name: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    fit: FitTraces | None,
    model_key: str,
    problems: Sequence[Any] = (),
) -> Stage:
    """Return the stage that draws a method's graphs; whatever it fits is fitted when first used.

    Its arrays are `weights` (nodes, nodes), normalised, and `table` (nodes, parts * 6): the numbers
    of every node in the graph itself and in every layer and head. Raises `ValueError` for an
    unknown method or one that needs what is not given.
    """
    way = find_method(name)
    known = {problem.problem_id: problem for problem in (*problems, *(fit.problems if fit else ()))}
    given = Given((), model, tokenizer, fit.data if fit else None, known, progress=False)
    if "problems" not in way.needs or known:
        way.check(given)
    drawer = _Drawer(way, given, bool(fit and fit.gold))
    fitted = fit is not None and (way.fit is not None or way.axes != "none")
    source = ["rg_helpers.graphs.methods", "rg_helpers.error_prediction.step_numbers"]
    key = key_of(
        stage=name,
        model=model_key if "model" in way.needs else None,
        fit=(fit.hash, fit.gold) if fitted else None,
        source=source_hash(*source, *([f"rg_helpers.graphs.{way.module}"] if way.module else [])),
    )
    return Stage(
        name, key, drawer.draw, partial(_graph_bytes, way, model), lambda _: drawer.words, name
    )


def confidence_stage(model: PreTrainedModel, model_key: str) -> Stage:
    """Return the stage of how sure the model is: `numbers` (`BASELINES`) and `steps` (steps, 6)."""

    def work(traces: Sequence[Trace]) -> list[Arrays]:
        scored = score_tokens(model, traces, batch_size=len(traces), progress=False)
        return [
            {NUMBERS: baselines_of(trace, scores), STEPS: confidence_numbers(trace, scores)}
            for trace, scores in zip(traces, scored, strict=True)
        ]

    sources = ("rg_helpers.token_scores", "rg_helpers.error_prediction.step_numbers", __name__)
    key = key_of(stage=CONFIDENCE, model=model_key, source=source_hash(*sources))
    return Stage(CONFIDENCE, key, work, partial(_logit_bytes, model), lambda _: {})


def states_stage(model: PreTrainedModel, model_key: str) -> Stage:
    """Return the stage of hidden states: places of `TraceStates`, and `steps` (steps, width)."""
    layer = max(1, model.config.get_text_config().num_hidden_layers - 1)

    def work(traces: Sequence[Trace]) -> list[Arrays]:
        how = {"batch_size": len(traces), "progress": False}
        found = trace_states(model, traces, **how)
        nodes = step_embeddings(model, traces, layer=layer, **how)
        return [
            {place: getattr(found, place)[row] for place in PLACES}
            | {STEPS: rows[-len(trace.steps) :].astype(np.float32)}
            for row, (trace, rows) in enumerate(zip(traces, nodes, strict=True))
        ]

    key = key_of(
        stage=STATES,
        model=model_key,
        source=source_hash("rg_helpers.error_prediction.hidden_states", __name__),
    )
    return Stage(STATES, key, work, partial(states_bytes, model), lambda _: {})


def baselines_of(trace: Trace, scores: TokenScores) -> np.ndarray:
    """Return the numbers of `BASELINES` of one scored solution: float64 (8,).

    They are those of `baseline_numbers`, from a pass that was made anyway.
    """
    start, end = solution_span(trace)
    surprise = -scores.log_probabilities[: end - start].astype(np.float64)
    entropies = scores.entropies[: end - start].astype(np.float64)

    def mean_of(node: Node) -> float:
        return float(surprise[node.start - start : node.end - start].mean())

    numbers = {
        "length": end - start,
        "steps": len(trace.steps),
        "mean_log_probability": -surprise.mean(),
        "min_log_probability": -surprise.max(),
        "last_log_probability": -mean_of(last_step(trace)),
        "mean_entropy": entropies.mean(),
        "max_entropy": entropies.max(),
        "answer_perplexity": np.exp(mean_of(answer_node(trace))),
    }
    return np.array([numbers[name] for name in BASELINES], np.float64)


class _Drawer:
    """Draws graphs of one method; what it fits and chooses is fixed by the fit traces alone."""

    def __init__(self, way: Method, given: Given, gold: bool) -> None:
        self.way, self.given, self.gold = way, given, gold
        self.words: dict[str, str] = {}
        self._prepared: tuple[Any, Any] | None = None

    def draw(self, traces: Sequence[Trace]) -> list[Arrays]:
        fitted, part = self._prepare()
        by_passes = self.way.module in PASSES or self.way.name in BY_PASSES
        size = min(len(traces), MOST_PASSES) if by_passes else len(traces)
        given = replace(self.given, traces=traces, batch_size=size)
        found = []
        for trace, scores in zip(traces, self.way.scores(given, fitted), strict=True):
            reduced = reduce_scores(scores, self.way.axes, part)
            raw = reduced[None]
            if self.way.axes != "none":
                raw = np.concatenate([raw, scores.reshape(-1, *scores.shape[-2:])])
            numbers = row_numbers(raw, trace.kinds)  # (parts, nodes, 6)
            table = numbers.swapaxes(0, 1).reshape(len(trace.nodes), -1)
            found.append({WEIGHTS: normalise_rows(reduced), TABLE: np.ascontiguousarray(table)})
            self.words = {
                "choice": describe_part(self.way.axes, part, scores.shape),
                "names": json.dumps(_column_names(self.way.axes, scores.shape)),
            }
        return found

    def _prepare(self) -> tuple[Any, Any]:
        if self._prepared is None:
            fitted, part = self.way.prepare(self.given), None
            if self.way.axes != "none":
                part = "mean"
                if self.gold:
                    fit = self.given.fit
                    scores = self.way.scores(replace(self.given, traces=fit.traces), fitted)
                    part = best_part(fit, scores, self.way.axes)
            self._prepared = fitted, part
        return self._prepared


def _column_names(axes: str, shape: Sequence[int]) -> list[str]:
    """Name the columns of a table as `GraphBlock.names` does: the graph's own first."""
    parts = [""]
    if axes == "layers":
        parts += [f"layer {layer} " for layer in range(shape[0])]
    elif axes == "heads":
        parts += [f"layer {a} head {b} " for a in range(shape[0]) for b in range(shape[1])]
    return [part + name for part in parts for name in ROW_NUMBERS]


def _graph_bytes(way: Method, model: PreTrainedModel, trace: Trace) -> int:
    """Estimate, on the high side, what one trace takes while its graph is drawn."""
    config = model.config.get_text_config()
    layers, heads, nodes = config.num_hidden_layers, config.num_attention_heads, len(trace.nodes)
    parts = 1 + {"none": 0, "layers": layers + 1, "heads": layers * heads}[way.axes]
    # Scores as float32 and `row_numbers`' float64 copies: raw, weights, logarithms, their product.
    numbers = nodes * nodes * parts * (2 * 4 + 5 * 8)
    if "model" not in way.needs:
        return numbers
    if way.module in GRADIENTS:
        return numbers + _gradient_bytes(model, trace)
    if way.module in OF_STATES:
        return numbers + 2 * states_bytes(model, trace)
    if way.module in PASSES:
        return numbers + forward_bytes(model, trace) + 2 * _logit_bytes(model, trace)
    return numbers + forward_bytes(model, trace)


def _gradient_bytes(model: PreTrainedModel, trace: Trace) -> int:
    """Estimate, on the high side, what one trace takes forward and backward, all layers kept."""
    config = model.config.get_text_config()
    tokens, width = len(trace), config.hidden_size
    widest = getattr(config, "intermediate_size", None) or 4 * width
    layers = config.num_hidden_layers * (20 * width + 5 * widest)
    scores = 8 * config.num_attention_heads * min(tokens, 128)
    return 8 * tokens * (layers + 6 * config.vocab_size + scores)


def _logit_bytes(model: PreTrainedModel, trace: Trace) -> int:
    """Estimate, on the high side, what one trace takes in a forward pass that keeps its logits."""
    config = model.config.get_text_config()
    tokens = len(trace)
    scores = 2 * config.num_attention_heads * tokens * min(tokens, 2048)
    return 4 * (tokens * (24 * config.hidden_size + 5 * config.vocab_size) + scores)
