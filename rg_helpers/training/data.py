"""What a graph-aware run learns from: traces, the graphs they should show, and their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from rg_helpers.artefacts import sha256_of
from rg_helpers.graph_loss import GraphBatch, graph_batch
from rg_helpers.graph_loss.graph_batch import PADDING
from rg_helpers.graphs.gold import gold_graph
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.pretraining_data import IGNORED
from rg_helpers.problems import Problem
from rg_helpers.traces import Trace, check_positions, gold_trace


@dataclass(frozen=True, eq=False)
class Example:
    """One trace as tensors, all int64 (tokens,) but the last two.

    labels: the token itself where the solution is written, -100 in the prompt. node_ids: -1 for
    tokens of no node. kinds: int8 (nodes,). gold: float32 (nodes, nodes), row = target, or None.
    weight: how much the example counts.
    """

    trace_id: str
    problem_id: str
    input_ids: Tensor
    labels: Tensor
    node_ids: Tensor
    kinds: Tensor
    gold: Tensor | None
    weight: float

    def __len__(self) -> int:
        return len(self.input_ids)


class GraphDataset(Dataset[Example]):
    """Traces to learn from, each with the graph its attention should show, if one is known.

    graphs: one for each trace, in the same order (gold, written, silver or shuffled ones); None for
        terms that need none.
    weights: one for each trace, above or equal to 0 (error feedback: 1 + beta * p_wrong). They are
        scaled to a mean of 1, so that a weighted run takes steps as large as a plain one, and
        multiply all that a trace adds to the loss, as if it were shown that many times.

    Raises `ValueError` naming the trace for a solution without tokens and a graph that does not
    fit.
    """

    def __init__(
        self,
        traces: Sequence[Trace],
        graphs: Sequence[StepGraph] | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        if not traces:
            raise ValueError("there are no traces to learn from: give at least one")
        if graphs is not None and len(graphs) != len(traces):
            raise ValueError(
                f"{len(traces)} traces but {len(graphs)} graphs: give one graph for each trace, in "
                "the same order"
            )
        scaled = _scaled_weights(weights, len(traces))
        self.is_weighted = scaled is not None
        self.has_graphs = graphs is not None
        self._examples = [
            _example(
                trace,
                None if graphs is None else graphs[index],
                1.0 if scaled is None else scaled[index],
            )
            for index, trace in enumerate(traces)
        ]

    @staticmethod
    def of_problems(
        problems: Sequence[Problem],
        tokenizer: PreTrainedTokenizerFast,
        weights: Sequence[float] | None = None,
        split: str = "train",
    ) -> GraphDataset:
        """Return the problems' own solutions with their gold graphs.

        Raises `ValueError` for a problem of another split than `split`: learning from a test
        problem would spoil every later measurement.
        """
        outside = next((problem for problem in problems if problem.split != split), None)
        if outside is not None:
            raise ValueError(
                f"problem {outside.problem_id} belongs to the {outside.split} split, expected "
                f'{split}: generate problems with split="{split}"'
            )
        traces = [gold_trace(problem, tokenizer) for problem in problems]
        return GraphDataset(traces, [gold_graph(problem) for problem in problems], weights)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Example:
        return self._examples[index]

    @property
    def lengths(self) -> list[int]:
        """Return the number of tokens of every example."""
        return [len(example) for example in self._examples]

    @property
    def problem_ids(self) -> list[str]:
        """Return the problem of every example."""
        return [example.problem_id for example in self._examples]

    def fingerprint(self) -> str:
        """Return a hash of everything that is learned from: tokens, labels, graphs and weights."""
        parts: list[str | bytes] = []
        for example in self._examples:
            parts += [example.trace_id, repr(example.weight)]
            tensors = (example.input_ids, example.labels, example.node_ids, example.gold)
            parts += [b"" if t is None else t.contiguous().numpy().tobytes() for t in tensors]
        return sha256_of(*parts)

    def check_fits(self, model: PreTrainedModel) -> None:
        """Raise `ValueError` for tokens the model does not know and traces longer than it takes."""
        longest = max(self._examples, key=len)
        check_positions(model, len(longest), f"trace {longest.trace_id!r}")
        vocabulary = model.get_input_embeddings().weight.shape[0]
        for example in self._examples:
            if int(example.input_ids.max()) >= vocabulary:
                raise ValueError(
                    f"trace {example.trace_id!r} holds token {int(example.input_ids.max())}, but "
                    f"{type(model).__name__} knows {vocabulary}: tokenise the traces with the "
                    "tokenizer of this very model"
                )


@dataclass(frozen=True)
class GraphCollator:
    """Pads examples on the right and lays out their graphs: see `__call__`.

    pad: id of the padding token. multiple: widths become a multiple of it (8 suits the matrix units
    of a GPU in half precision). weighted: whether the batch carries the examples' weights.
    """

    pad: int
    multiple: int = 1
    weighted: bool = False

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Return one batch: what the model, the cross-entropy and the graph terms need.

        input_ids, labels, node_ids: int64 (batch, tokens), padded with `pad`, -100 and -1. graph:
        `GraphBatch`. weights, if the data have any: float32 (batch,). There is no attention mask:
        padding stands right of every real token, where a causal model does not look, and without a
        mask the fused kernels stay open.
        """
        width = max(len(example) for example in examples)
        width = -(-width // self.multiple) * self.multiple
        batch: dict[str, Any] = {
            "input_ids": _rows([e.input_ids for e in examples], width, self.pad),
            "labels": _rows([e.labels for e in examples], width, IGNORED),
            "node_ids": _rows([e.node_ids for e in examples], width, -1),
            "graph": _graph(examples),
        }
        if self.weighted:
            batch["weights"] = torch.tensor([e.weight for e in examples], dtype=torch.float32)
        return batch


def _scaled_weights(weights: Sequence[float] | None, count: int) -> list[float] | None:
    if weights is None:
        return None
    values = [float(weight) for weight in weights]
    if len(values) != count:
        raise ValueError(f"{count} traces but {len(values)} weights: give one for each trace")
    bad = next((i for i, value in enumerate(values) if not 0 <= value < math.inf), None)
    if bad is not None or not sum(values) > 0:
        raise ValueError(
            f"weight {bad} is {values[bad]}: expected finite numbers from 0"
            if bad is not None
            else "all weights are 0, so there is nothing to learn from: give some above 0"
        )
    mean = sum(values) / count
    return [value / mean for value in values]


def _example(trace: Trace, graph: StepGraph | None, weight: float) -> Example:
    ids = torch.tensor(trace.token_ids)
    labels = ids.clone()
    labels[: max(1, trace.prompt_tokens)] = IGNORED  # nothing stands before the first token
    if not bool((labels != IGNORED).any()):
        raise ValueError(
            f"trace {trace.trace_id!r} has no solution token, so there is nothing to learn from: "
            "leave it out"
        )
    layout = graph_batch([trace], None if graph is None else [graph])
    return Example(
        trace.trace_id,
        trace.problem_id,
        ids,
        labels,
        torch.tensor(trace.node_ids()),
        layout.kinds[0],
        None if layout.gold is None else layout.gold[0],
        weight,
    )


def _rows(rows: Sequence[Tensor], width: int, filler: int) -> Tensor:
    return torch.stack([functional.pad(row, (0, width - len(row)), value=filler) for row in rows])


def _graph(examples: Sequence[Example]) -> GraphBatch:
    nodes = max(len(example.kinds) for example in examples)
    gold = None
    if all(example.gold is not None for example in examples):
        gold = torch.zeros(len(examples), nodes, nodes)
        for row, example in enumerate(examples):
            gold[row, : len(example.kinds), : len(example.kinds)] = example.gold
    return GraphBatch(
        _rows([example.kinds for example in examples], nodes, PADDING),
        gold,
        tuple(example.trace_id for example in examples),
        tuple(example.problem_id for example in examples),
    )
