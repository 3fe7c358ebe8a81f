"""Every way to draw a reasoning graph by its name: one argument chooses.

    graphs = draw_graphs(traces, "rollout", model)
    graphs = draw_graphs(traces, "attention", model, fit=FitData(fit_traces, fit_gold))

`METHODS` says of every method what it measures, where it comes from, whether it has layers or
heads, and what it needs. The methods themselves live in a file each; they are imported when used.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rg_helpers.edge_recovery import GraphSet, best_heads
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from rg_helpers.problems import Problem

Axes = Literal["none", "layers", "heads"]
Part = Literal["mean", "max"] | Sequence[int] | Sequence[tuple[int, int]]
MOST_HEADS = 4  # averaged when heads are chosen on fit traces
NEEDS = {
    "model": "pass model=..., for example load_model('course')[0]",
    "tokenizer": "pass tokenizer=..., for example load_model('course')[1]",
    "fit": "pass fit=FitData(traces, gold) of other problems than those drawn",
    "problems": "pass problems=..., the problems the traces were written for",
    "judge": "pass judge={'base_url': ..., 'model': ...}, an OpenAI-compatible server, or "
    "judge={'cache': folder} with recorded replies",
}


@dataclass(frozen=True, eq=False)
class FitData:
    """Traces with gold graphs on which methods choose layers, heads, clusters and thresholds."""

    traces: tuple[Trace, ...]
    gold: tuple[StepGraph, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "traces", tuple(self.traces))
        object.__setattr__(self, "gold", tuple(self.gold))
        if len(self.traces) != len(self.gold) or not self.traces:
            raise ValueError(
                f"{len(self.traces)} fit traces and {len(self.gold)} gold graphs: give one graph "
                "for each trace, and at least one"
            )

    def first(self, count: int) -> FitData:
        """Return the first `count` of them, for methods that are slow."""
        return FitData(self.traces[:count], self.gold[:count])


@dataclass(frozen=True, eq=False)
class Given:
    """What a method may use: traces to draw, and whatever else its `needs` name."""

    traces: Sequence[Trace]
    model: PreTrainedModel | None = None
    tokenizer: PreTrainedTokenizerFast | None = None
    fit: FitData | None = None
    problems: Mapping[str, Problem] = field(default_factory=dict)
    judge: Mapping[str, Any] | None = None
    batch_size: int | None = None
    progress: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """One way to draw graphs.

    `score` returns raw scores as the method files do: a float32 array a trace, (nodes, nodes), with
    `axes` "layers" (layers, nodes, nodes), with "heads" (layers, heads, nodes, nodes). `fit`, where
    there is one, prepares it on training traces, and its result is handed to `score`.
    """

    name: str
    meaning: str
    source: str
    score: Callable[[Given, Any], list[np.ndarray]]
    needs: tuple[str, ...] = ("model",)
    axes: Axes = "none"
    fit: Callable[[Given], Any] | None = None
    module: str = ""

    def check(self, given: Given) -> None:
        """Raise `ValueError` naming what is missing and where to get it."""
        missing = [name for name in self.needs if not _has(given, name)]
        if missing:
            cures = "; ".join(NEEDS[name] for name in missing)
            raise ValueError(f"method {self.name!r} needs {' and '.join(missing)}: {cures}")

    def prepare(self, given: Given) -> Any:
        """Fit what the method fits on `given.fit`; None where it fits nothing."""
        self.check(given)
        return None if self.fit is None else self.fit(given)

    def scores(self, given: Given, fitted: Any = None) -> list[np.ndarray]:
        """Return the raw scores of `given.traces`; `fitted` is what `prepare` returned."""
        self.check(given)
        return self.score(given, fitted)


def find_method(name: str) -> Method:
    """Return the method called `name`; an unknown name is answered with the nearest ones."""
    if name in METHODS:
        return METHODS[name]
    near = difflib.get_close_matches(name.lower().replace(" ", "_"), METHODS, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise ValueError(f"unknown method {name!r}: {hint}there are {', '.join(METHODS)}")


def draw_graphs(
    traces: Sequence[Trace],
    method: str = "attention",
    model: PreTrainedModel | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
    fit: FitData | tuple[Sequence[Trace], Sequence[StepGraph]] | None = None,
    *,
    problems: Sequence[Problem] = (),
    judge: Mapping[str, Any] | None = None,
    part: Part | None = None,
    batch_size: int | None = None,
    progress: bool = True,
    **options: Any,
) -> list[StepGraph]:
    """Draw the graph of every trace by the method named.

    `part` says which layers or heads of methods that have them: "mean", "max", a list of layers, or
    a list of (layer, head) pairs, which are averaged. Without it they are chosen on `fit` (the best
    layer, or up to four heads, by AUROC against `fit`'s gold graphs); without `fit` it is the mean.
    `options` go to the method's own scoring function. Raises `ValueError` for an unknown method and
    for whatever the method needs and was not given.
    """
    chosen = find_method(method)
    if fit is not None and not isinstance(fit, FitData):
        fit = FitData(*fit)
    by_id = {problem.problem_id: problem for problem in problems}
    given = Given(traces, model, tokenizer, fit, by_id, judge, batch_size, progress, options)
    fitted = chosen.prepare(given)
    if part is None and chosen.axes != "none":
        part = "mean" if fit is None else _best_part(chosen, given, fitted)
    elif part is not None and chosen.axes == "none":
        raise ValueError(
            f"method {method!r} has no layers or heads, so part={part!r} means nothing"
        )
    graphs = []
    for trace, scores in zip(traces, chosen.scores(given, fitted), strict=True):
        weights = normalise_rows(reduce_scores(scores, chosen.axes, part))
        choice = describe_part(chosen.axes, part, scores.shape)
        graphs.append(
            StepGraph(weights, trace.kinds, trace.texts, chosen.name, choice, trace.trace_id)
        )
    return graphs


def reduce_scores(scores: np.ndarray, axes: Axes, part: Part | None) -> np.ndarray:
    """Reduce raw scores (..., nodes, nodes) over layers and heads to (nodes, nodes).

    "mean" and "max" take the raw scores, so that what is strong counts more; chosen layers or heads
    are scaled to rows of one first, so that all of them count alike.
    """
    if axes == "none":
        return scores
    if part in ("mean", "max"):
        over = tuple(range(scores.ndim - 2))
        return scores.mean(axis=over) if part == "mean" else scores.max(axis=over)
    wanted = 1 if axes == "layers" else 2
    indices = [np.atleast_1d(index) for index in part or ()] if not isinstance(part, str) else []
    if not indices or any(len(index) != wanted for index in indices):
        form = "a list of layers" if axes == "layers" else "a list of (layer, head) pairs"
        raise ValueError(f"part={part!r}: expected 'mean', 'max' or {form}")
    for index in indices:
        if any(not 0 <= i < size for i, size in zip(index, scores.shape, strict=False)):
            raise ValueError(
                f"part {tuple(index.tolist())} does not exist: scores have {_sizes(scores.shape)}"
            )
    return np.mean([normalise_rows(scores[tuple(index)]) for index in indices], axis=0)


def describe_part(axes: Axes, part: Part | None, shape: Sequence[int]) -> str:
    """Say in words which part of the model was read."""
    if axes == "none":
        return ""
    if isinstance(part, str):
        return f"{part} of {_sizes(shape)}"
    names = ("layer", "head")
    return ", ".join(
        " ".join(f"{name} {i}" for name, i in zip(names, np.atleast_1d(index), strict=False))
        for index in part or ()
    )


def best_part(
    fit: FitData, scores: Sequence[np.ndarray], axes: Axes, most: int = MOST_HEADS
) -> list[int] | list[tuple[int, int]]:
    """Return the layer, or the up to `most` heads, whose graphs recover fit's gold best (AUROC).

    `scores` are the raw scores of `fit.traces`.
    """
    stacked = [score[:, None] if axes == "layers" else score for score in scores]
    data = GraphSet(fit.gold, stacked, [trace.problem_id for trace in fit.traces])
    chosen = best_heads(data, most if axes == "heads" else 1)
    return [layer for layer, _ in chosen] if axes == "layers" else chosen


def _best_part(method: Method, given: Given, fitted: Any) -> Part:
    fit = given.fit
    on_fit = Given(**{**vars(given), "traces": fit.traces})
    return best_part(fit, method.scores(on_fit, fitted), method.axes)


def _has(given: Given, name: str) -> bool:
    found = getattr(given, name)
    return bool(found) if name == "problems" else found is not None


def _sizes(shape: Sequence[int]) -> str:
    layers = f"{shape[0]} layers"
    return layers if len(shape) == 3 else f"{layers} x {shape[1]} heads"


def _plain(module: str, function: str, **defaults: Any) -> Callable[[Given, Any], list[np.ndarray]]:
    """Call `function(model, traces, ...)` of a method file; `defaults` are its options here."""

    def score(given: Given, fitted: Any) -> list[np.ndarray]:
        return _function(module, function)(
            given.model,
            given.traces,
            batch_size=given.batch_size,
            progress=given.progress,
            **{**defaults, **given.options},
        )

    return score


def _function(module: str, name: str) -> Callable[..., Any]:
    return getattr(import_module(f"rg_helpers.graphs.{module}"), name)


def _text(given: Given, fitted: Any) -> list[np.ndarray]:
    return _function("text", "text_scores")(given.traces, progress=given.progress, **given.options)


def _fitted(module: str, fit: str, score: str, with_gold: bool = False) -> dict[str, Any]:
    """Call a method file's `fit(model, traces, ...)`, then `score(model, traces, fitted, ...)`."""

    def prepare(given: Given) -> Any:
        how = {"batch_size": given.batch_size, "progress": given.progress}
        known = (given.fit.traces, given.fit.gold) if with_gold else (given.fit.traces,)
        return _function(module, fit)(given.model, *known, **how, **given.options)

    def scores(given: Given, fitted: Any) -> list[np.ndarray]:
        how = {"batch_size": given.batch_size, "progress": given.progress}
        return _function(module, score)(given.model, given.traces, fitted, **how)

    return {"fit": prepare, "score": scores, "needs": ("model", "fit")}


def _judge(given: Given, fitted: Any) -> list[np.ndarray]:
    """Graphs of traces whose reply could not be used have no edges; a warning counts them."""
    settings = {**given.judge, **given.options}
    run = import_module("rg_helpers.graphs.judge").judge_graphs(
        given.traces, progress=given.progress, **settings
    )
    if any(graph is None for graph in run.graphs):
        warnings.warn(f"judge: {run.report()}", stacklevel=2)
    sizes = [len(trace.nodes) for trace in given.traces]
    return [
        np.zeros((size, size), np.float32) if graph is None else graph.weights
        for graph, size in zip(run.graphs, sizes, strict=True)
    ]


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "attention",
            "how much a step's tokens attend to an earlier node",
            "Vaswani et al. 2017, arXiv 1706.03762",
            _plain("attention", "attention_masses"),
            axes="heads",
            module="attention",
        ),
        Method(
            "value_norms",
            "attention times the length of what it carries",
            "Kobayashi et al. 2020, arXiv 2004.10102",
            _plain("value_norms", "value_norms_scores"),
            axes="heads",
            module="value_norms",
        ),
        Method(
            "rollout",
            "attention followed through the layers below",
            "Abnar & Zuidema 2020, arXiv 2005.00928",
            _plain("rollout", "rollout_scores"),
            axes="layers",
            module="rollout",
        ),
        Method(
            "flow",
            "how much attention can pass to an earlier node, over all ways between",
            "Abnar & Zuidema 2020, arXiv 2005.00928",
            _plain("flow", "flow_scores"),
            module="flow",
        ),
        Method(
            "receiver_heads",
            "attention of heads in which few nodes receive most, position taken out",
            "Bogdan et al. 2025, arXiv 2506.19143",
            **_fitted("receiver_heads", "fit_receiver_heads", "receiver_heads_scores"),
            module="receiver_heads",
        ),
        Method(
            "attention_gradient",
            "attention times what it is worth to what the step writes",
            "Chefer et al. 2021, arXiv 2103.15679",
            _plain("gradient", "attention_gradient_scores", by_head=True),
            axes="heads",
            module="gradient",
        ),
        Method(
            "relevance",
            "attention x gradient carried through all layers",
            "Chefer et al. 2021, arXiv 2103.15679, equation 6",
            _plain("gradient", "relevance_scores"),
            module="gradient",
        ),
        Method(
            "input_gradient",
            "how a step's log-probability depends on the embeddings of an earlier node",
            "Simonyan et al. 2014, arXiv 1312.6034; times input: Shrikumar et al. 2017",
            _plain("input_gradient", "input_gradient_scores"),
            module="input_gradient",
        ),
        Method(
            "integrated_gradients",
            "input x gradient averaged on the way from a blank input",
            "Sundararajan et al. 2017, arXiv 1703.01365",
            _plain("input_gradient", "integrated_gradients_scores"),
            module="input_gradient",
        ),
        Method(
            "intervention",
            "how a step's predictions change when it alone cannot look at a node",
            "Bogdan et al. 2025, arXiv 2506.19143 (attention suppression)",
            _plain("intervention", "intervention_scores"),
            module="intervention",
        ),
        Method(
            "intervention_total",
            "how a step's predictions change when nothing after a node can look at it",
            "Bogdan et al. 2025, arXiv 2506.19143 (attention suppression)",
            _plain("intervention", "intervention_scores", effect="total"),
            module="intervention",
        ),
        Method(
            "lightweight",
            "attention of the fewest layers and heads that do nearly as well",
            "this course; heads chosen on fit traces",
            **_fitted("lightweight", "fit_lightweight", "lightweight_scores", with_gold=True),
            module="lightweight",
        ),
        Method(
            "cluster",
            "how near the k-means clusters of two nodes' states are",
            "Topology of Reasoning 2025, arXiv 2506.05744",
            **_fitted("clusters", "fit_clusters", "cluster_scores"),
            module="clusters",
        ),
        Method(
            "text",
            "numbers, names and symbols that a step shares with earlier nodes",
            "inverse document frequency: Sparck Jones 1972",
            _text,
            needs=(),
            module="text",
        ),
        Method(
            "judge",
            "what a large model says follows from what",
            "Zheng et al. 2023, arXiv 2306.05685 (LLM as a judge)",
            _judge,
            needs=("judge",),
            module="judge.graph",
        ),
    )
}
