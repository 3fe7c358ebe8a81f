"""A four-step graph small enough to work out by hand, random batches, and a tapped tiny model."""

from __future__ import annotations

import numpy as np
import torch
from tiny_models import tiny_model, tiny_traces

from rg_helpers.graph_loss.error_predictor import GraphErrorPredictor, PredictorRecord
from rg_helpers.graph_loss.graph_batch import GraphBatch, graph_batch
from rg_helpers.graph_loss.soft_features import SOFT_FEATURES
from rg_helpers.graphs.batches import padded_batch
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.step_attention import tap_step_attention
from rg_helpers.traces import Node, Trace

# Two premises, three steps and the answer: 2 <- 0, 3 <- 1 and 2, 4 <- 3, 5 <- 4.
TOY_KINDS = ("premise", "premise", "step", "step", "step", "answer")
TOY_PARENTS = {2: (0,), 3: (1, 2), 4: (3,), 5: (4,)}
# What one head pays; what is missing to 1 went to BOS or to the node itself.
TOY_ATTENTION = torch.tensor(
    [
        [0.9, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.4, 0.5, 0.0, 0.0, 0.0, 0.0],
        [0.6, 0.2, 0.1, 0.0, 0.0, 0.0],  # shares 3/4, 1/4
        [0.1, 0.2, 0.1, 0.3, 0.0, 0.0],  # shares 1/4, 1/2, 1/4
        [0.1, 0.1, 0.1, 0.1, 0.2, 0.0],  # shares 1/4 each
        [0.0, 0.0, 0.0, 0.0, 0.5, 0.4],  # all on the last step
    ],
    dtype=torch.float64,
)


def trace_of(kinds, name="toy", problem=None, length=1) -> Trace:
    """A trace of `length` tokens a node, whose content does not matter."""
    nodes = [
        Node(kind, f"{kind} {place}", length * place, length * (place + 1))
        for place, kind in enumerate(kinds)
    ]
    prompt = sum(kind in ("premise", "question") for kind in kinds)
    tokens = [3] * (length * len(kinds))
    return Trace(name, problem or name, "text", "p", "s", tokens, prompt * length, nodes)


def graph_of(trace: Trace, parents, method="gold") -> StepGraph:
    weights = np.zeros((len(trace.nodes),) * 2)
    for target, sources in parents.items():
        weights[target, list(sources)] = 1
    return StepGraph(normalise_rows(weights), trace.kinds, trace.texts, method, "", trace.trace_id)


def toy_batch() -> GraphBatch:
    trace = trace_of(TOY_KINDS)
    return graph_batch([trace], [graph_of(trace, TOY_PARENTS)])


def toy_attention() -> torch.Tensor:
    """(1, 1, 1, 6, 6)."""
    return TOY_ATTENTION.clone()[None, None, None]


def random_kinds(rng: np.random.Generator, written: int | None = None) -> tuple[str, ...]:
    steps = int(rng.integers(1, 5)) if written is None else written - 1
    return (
        *("premise",) * int(rng.integers(1, 4)),
        "question",
        *("step",) * steps,
        "answer",
    )


def random_batch(seed: int, traces: int = 3) -> tuple[list[Trace], list[StepGraph]]:
    """Traces of different problems with random parents."""
    rng = np.random.default_rng(seed)
    drawn, graphs = [], []
    for number in range(traces):
        trace = trace_of(random_kinds(rng), f"trace {seed} {number}")
        parents = {
            target: rng.choice(target, size=min(target, int(rng.integers(1, 4))), replace=False)
            for target, kind in enumerate(trace.kinds)
            if kind in ("step", "answer")
        }
        drawn.append(trace)
        graphs.append(graph_of(trace, parents))
    return drawn, graphs


def random_attention(traces, seed=0, layers=2, heads=3, nodes=None, dtype=torch.float64):
    """Lower-triangular rows that sum to less than one, (batch, layers, heads, nodes, nodes)."""
    nodes = nodes or max(len(trace.nodes) for trace in traces)
    found = torch.zeros(len(traces), layers, heads, nodes, nodes, dtype=dtype)
    for row, trace in enumerate(traces):
        generator = torch.Generator().manual_seed(1000 * seed + row)
        size = len(trace.nodes)
        scores = torch.randn(layers, heads, size, size + 1, generator=generator, dtype=dtype)
        visible = torch.ones(size, size + 1).tril(diagonal=1).bool()  # column 0: BOS
        shares = torch.where(visible, 1.5 * scores, -torch.inf).softmax(-1)
        found[row, :, :, :size, :size] = shares[..., 1:]
    return found


def planted_predictor(layers=2, heads=3, problem_ids=("elsewhere",), width=3, seed=0):
    """A predictor with random weights: what it says does not matter, only that it can say it."""
    chosen = tuple((layer, head) for layer in range(layers) for head in range(heads))
    record = PredictorRecord(
        chosen, tuple(SOFT_FEATURES), (layers, heads), width, tuple(problem_ids),
        10, 0.5, None, 5, 1, 0.1, 0.0, seed,
    )  # fmt: skip
    torch.manual_seed(seed)
    return GraphErrorPredictor(record).frozen()


def tapped_model():
    """A tiny Qwen3, three of its traces with random parents, and a forward under the tap.

    `run()` gives live step attention (3, 2 layers, 4 heads, nodes, nodes) of the weights as they
    are at that moment.
    """
    model = tiny_model("qwen3").train()
    traces = tiny_traces(3)
    rng = np.random.default_rng(3)
    graphs = [
        graph_of(
            trace,
            {
                target: rng.choice(target, size=2, replace=False)
                for target, kind in enumerate(trace.kinds)
                if kind in ("step", "answer")
            },
        )
        for trace in traces
    ]
    input_ids, mask, node_ids = padded_batch(traces, "cpu")
    nodes = max(len(trace.nodes) for trace in traces)

    def run() -> torch.Tensor:
        with tap_step_attention(model, node_ids, nodes) as tap:
            model(input_ids=input_ids, attention_mask=mask)
        return tap.mass()

    return model, traces, graphs, run
