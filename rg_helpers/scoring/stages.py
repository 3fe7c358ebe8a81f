"""Stages: what is worked out of every solution and kept, each with a key of all it depends on.

A stage is the graphs of one method, the confidence of the model in every token, or hidden states
for probes. It is done batch by batch; `key` hashes the model, what was fitted, the method and the
source code it runs through, so that a file made under another key is never taken for this one's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from rg_helpers.comparison.stages import key_of, source_hash
from rg_helpers.error_prediction.baselines import baselines_of, logit_bytes
from rg_helpers.error_prediction.fit_traces import FitTraces
from rg_helpers.error_prediction.graph_blocks import DRAWING
from rg_helpers.error_prediction.hidden_states import PLACES, states_with_steps
from rg_helpers.error_prediction.step_numbers import confidence_numbers
from rg_helpers.error_prediction.trace_drawing import TraceDrawer
from rg_helpers.graphs.batches import forward_bytes
from rg_helpers.graphs.method import Given, Method
from rg_helpers.graphs.methods import find_method
from rg_helpers.graphs.step_states import states_bytes
from rg_helpers.token_scores import score_tokens
from rg_helpers.traces import Trace

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
    drawing = _Drawing(TraceDrawer(way, given, bool(fit and fit.gold)))
    fitted = fit is not None and (way.fit is not None or way.axes != "none")
    key = key_of(
        stage=name,
        model=model_key if "model" in way.needs else None,
        fit=(fit.hash, fit.gold) if fitted else None,
        source=source_hash(*DRAWING, *([f"rg_helpers.graphs.{way.module}"] if way.module else [])),
    )
    return Stage(
        name, key, drawing.work, partial(_graph_bytes, way, model), lambda _: drawing.words, name
    )


def confidence_stage(model: PreTrainedModel, model_key: str) -> Stage:
    """Return the stage of how sure the model is: `numbers` (`BASELINES`) and `steps` (steps, 6)."""

    def work(traces: Sequence[Trace]) -> list[Arrays]:
        scored = score_tokens(model, traces, batch_size=len(traces), progress=False)
        return [
            {NUMBERS: baselines_of(trace, scores), STEPS: confidence_numbers(trace, scores)}
            for trace, scores in zip(traces, scored, strict=True)
        ]

    own = ("baselines", "step_numbers")
    sources = ("rg_helpers.token_scores", *(f"rg_helpers.error_prediction.{name}" for name in own))
    key = key_of(stage=CONFIDENCE, model=model_key, source=source_hash(*sources))
    return Stage(CONFIDENCE, key, work, partial(logit_bytes, model), lambda _: {})


def states_stage(model: PreTrainedModel, model_key: str) -> Stage:
    """Return the stage of hidden states: places of `TraceStates`, and `steps` (steps, width)."""

    def work(traces: Sequence[Trace]) -> list[Arrays]:
        found, steps = states_with_steps(model, traces, batch_size=len(traces), progress=False)
        return [
            {place: getattr(found, place)[row] for place in PLACES} | {STEPS: rows}
            for row, rows in enumerate(steps)
        ]

    key = key_of(
        stage=STATES,
        model=model_key,
        source=source_hash("rg_helpers.error_prediction.hidden_states", __name__),
    )
    return Stage(STATES, key, work, partial(states_bytes, model), lambda _: {})


class _Drawing:
    """The arrays of a method's graphs, and in `words` what they mean, known once some are drawn."""

    def __init__(self, drawer: TraceDrawer) -> None:
        self.drawer = drawer
        self.words: dict[str, str] = {}

    def work(self, traces: Sequence[Trace]) -> list[Arrays]:
        way = self.drawer.way
        by_passes = way.module in PASSES or way.name in BY_PASSES
        size = min(len(traces), MOST_PASSES) if by_passes else len(traces)
        drawn = self.drawer.draw(traces, size)
        self.words = {"choice": drawn[-1].choice, "names": json.dumps(drawn[-1].names)}
        return [{WEIGHTS: one.weights, TABLE: one.table} for one in drawn]


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
        return numbers + forward_bytes(model, trace) + 2 * logit_bytes(model, trace)
    return numbers + forward_bytes(model, trace)


def _gradient_bytes(model: PreTrainedModel, trace: Trace) -> int:
    """Estimate, on the high side, what one trace takes forward and backward, all layers kept."""
    config = model.config.get_text_config()
    tokens, width = len(trace), config.hidden_size
    widest = getattr(config, "intermediate_size", None) or 4 * width
    layers = config.num_hidden_layers * (20 * width + 5 * widest)
    scores = 8 * config.num_attention_heads * min(tokens, 128)
    return 8 * tokens * (layers + 6 * config.vocab_size + scores)
