"""What stops a run: bad input before it starts, a broken loss or gradient before it does harm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import TrainingArguments
from transformers.trainer_callback import TrainerCallback

from rg_helpers.graph_loss import GraphBatch
from rg_helpers.graph_loss.error_predictor import GraphErrorPredictor, refuse_shared_problems
from rg_helpers.pretraining_data import IGNORED
from rg_helpers.step_attention.tap import layer_count, served_model
from rg_helpers.training.data import GraphDataset
from rg_helpers.training.loss import WeightedTerm, tapped_layers, trace_losses

if TYPE_CHECKING:
    from rg_helpers.training.trainer import GraphAwareTrainer

NAMED = 5  # traces that an error names


def check_run(
    model: nn.Module,
    arguments: TrainingArguments,
    terms: Sequence[WeightedTerm],
    data: GraphDataset,
    validation: Sequence[GraphDataset],
) -> None:
    """Raise `ValueError` for a run that cannot work, before anything is loaded or moved.

    Checked are: data of the right kind, that fit the model and hold graphs where a term needs them;
    terms of different names, of layers that exist; a model whose attention can be tapped, if there
    are terms; no wrapping that hides the attention.
    """
    for dataset in (data, *validation):
        if not isinstance(dataset, GraphDataset):
            raise ValueError(
                f"the data are a {type(dataset).__name__}: give a GraphDataset, made of traces or "
                "with GraphDataset.of_problems"
            )
        dataset.check_fits(model)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("no weight of the model is trained: set requires_grad, or use add_lora")
    if arguments.label_smoothing_factor:
        raise ValueError(
            f"label_smoothing_factor={arguments.label_smoothing_factor}: the loss here is plain "
            "cross-entropy and graph terms, set it to 0"
        )
    if not terms:
        return
    names = [term.name for term in terms]
    if len(set(names)) < len(names) or "ce" in names or "loss" in names:
        raise ValueError(
            f"the terms are named {', '.join(names)}: give each its own WeightedTerm(name=...), "
            'none "ce" or "loss"'
        )
    for dataset in (data, *validation):
        lacking = [term.name for term in terms if term.needs_gold and not dataset.has_graphs]
        if lacking:
            raise ValueError(
                f"the term {lacking[0]} needs a target graph for every trace and the data have "
                "none: pass graphs to GraphDataset (gold, written or silver ones), or choose a "
                "term that needs none"
            )
    if arguments.torch_compile:
        raise ValueError(
            "a compiled model hides its attention from the tap: set torch_compile=False, or train "
            "without graph terms"
        )
    if arguments.n_gpu > 1:
        raise ValueError(
            f"DataParallel over {arguments.n_gpu} GPUs copies the model at every step, out of the "
            "tap's sight: start with `accelerate launch` or `torchrun`, or show one GPU "
            "(CUDA_VISIBLE_DEVICES=0)"
        )
    for term in terms:
        predictor = getattr(term.term, "choices", {}).get("predictor")
        if isinstance(predictor, GraphErrorPredictor):
            refuse_shared_problems(predictor, data.problem_ids)
    layers = layer_count(served_model(model))  # raises for a model that cannot be tapped
    for term in terms:
        outside = [layer for layer in term.layers or () if not 0 <= layer < layers]
        if outside:
            raise ValueError(
                f"the term {term.name} reads layer {outside[0]}, but the model has layers 0 to "
                f"{layers - 1}"
            )


def check_tapped(
    model: nn.Module, by_layer: Mapping[int, Tensor], terms: Sequence[WeightedTerm], count: int
) -> None:
    """Raise `ValueError` if a layer that a term reads gave no masses in a forward pass.

    by_layer: layer -> masses of the layers that did; count: layers of the model.
    """
    missing = [layer for layer in tapped_layers(terms, count) if layer not in by_layer]
    if missing:
        served = tuple(sorted(by_layer))
        cure = (
            f"let the terms read others, WeightedTerm(layers={served})"
            if served
            else "graph terms need a model with attention layers"
        )
        raise ValueError(
            f"layers {missing} of {type(served_model(model)).__name__} have no softmax attention: "
            f"{cure}"
        )


def check_loss(
    parts: Mapping[str, Tensor],
    strengths: Mapping[str, float],
    logits: Tensor,
    labels: Tensor,
    graph: GraphBatch,
    step: int,
    largest: float,
) -> None:
    """Raise `RuntimeError` naming step and traces if a part is not finite or above `largest`.

    parts: "ce" and every active term, scalars; strengths: weight of every term. logits: (batch,
    tokens, vocabulary), labels: (batch, tokens), both of this batch.
    """
    names = list(parts)
    factors = [strengths.get(name, 1.0) for name in names]
    with torch.no_grad():
        values = torch.stack([part.float() for part in parts.values()])
        values = values * torch.tensor(factors, device=values.device)
        if bool((values.abs() <= largest).all()):  # False for NaN as well
            return
        broken = [
            (name, value)
            for name, value in zip(names, values.tolist(), strict=True)
            if not abs(value) <= largest
        ]
        own = trace_losses(logits, labels) / (labels[:, 1:] != IGNORED).sum(1)
        bad = torch.nonzero(~(own <= largest)).flatten().tolist() or range(len(graph))
    name, value = broken[0]
    traces = ", ".join(graph.name(row) for row in list(bad)[:NAMED])
    what = "is not finite" if not math.isfinite(value) else f"is above {largest:g}"
    raise RuntimeError(
        f"step {step}: {name} = {value:g} {what} in the batch of {traces} ({len(graph)} traces): "
        "lower the learning rate or the weight of the term, or leave these traces out; saved "
        "checkpoints are older and sound"
    )


class GradientGuard(TrainerCallback):
    """Stops a run before a gradient that is not finite reaches the weights."""

    def __init__(self, trainer: GraphAwareTrainer) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if getattr(self.trainer.accelerator, "scaler", None) is not None:
            return  # float16: the loss scaler skips such steps by itself
        gradients = [p.grad for p in self.trainer.model.parameters() if p.grad is not None]
        if gradients and not bool(torch.isfinite(torch.nn.utils.get_total_norm(gradients))):
            names = self.trainer.step_traces
            raise RuntimeError(
                f"step {state.global_step}: the gradient is not finite in the batch of "
                f"{', '.join(names[:NAMED])} ({len(names)} traces): lower the learning rate or the "
                "weights of the terms, or leave these traces out; no weight was changed by it, and "
                "saved checkpoints are sound"
            )
