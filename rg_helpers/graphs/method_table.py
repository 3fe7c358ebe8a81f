"""The table of all methods: `METHODS`. The files they live in are imported when used."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from rg_helpers.graphs.method import Given, Method


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


def _premise_replacement(given: Given, fitted: Any) -> list[np.ndarray]:
    return _function("premise_replacement", "premise_replacement_scores")(
        given.model,
        given.traces,
        given.tokenizer,
        given.problems,
        batch_size=given.batch_size,
        progress=given.progress,
        **given.options,
    )


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
            "Shrikumar et al. 2017, arXiv 1704.02685",
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
            "similarity",
            "cosine of the mean states of two nodes, common mean taken out",
            "anisotropy: Ethayarajh 2019, arXiv 1909.00512",
            **_fitted("activation", "fit_centre", "similarity_scores"),
            axes="layers",
            module="activation",
        ),
        Method(
            "cka",
            "centred kernel alignment of the token states of two nodes",
            "Kornblith et al. 2019, arXiv 1905.00414",
            **_fitted("activation", "fit_centre", "cka_scores"),
            axes="layers",
            module="activation",
        ),
        Method(
            "shared_neurons",
            "share of feed-forward neurons that are active in both nodes",
            "Geva et al. 2021, arXiv 2012.14913",
            **_fitted("shared_neurons", "fit_neurons", "shared_neurons_scores"),
            axes="layers",
            module="shared_neurons",
        ),
        Method(
            "linear_predictability",
            "how well a linear map predicts a node's state from an earlier one's",
            "ridge regression: Hoerl & Kennard 1970; fitted on gold edges",
            **_fitted(
                "linear_predictability",
                "fit_linear_maps",
                "linear_predictability_scores",
                with_gold=True,
            ),
            axes="layers",
            module="linear_predictability",
        ),
        Method(
            "intervention",
            "how a step's predictions change when nothing after a node can look at it",
            "Bogdan et al. 2025, arXiv 2506.19143 (attention suppression)",
            _plain("intervention", "intervention_scores"),
            module="intervention",
        ),
        Method(
            "intervention_direct",
            "how a step's predictions change when it alone cannot look at a node",
            "Bogdan et al. 2025, arXiv 2506.19143 (attention suppression)",
            _plain("intervention", "intervention_scores", effect="direct"),
            module="intervention",
        ),
        Method(
            "premise_replacement",
            "how a step's predictions change when a premise says something else",
            "activation patching: Zhang & Nanda 2024, arXiv 2309.16042",
            _premise_replacement,
            needs=("model", "tokenizer", "problems"),
            module="premise_replacement",
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
