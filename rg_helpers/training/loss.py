"""The parts of the loss: cross-entropy on written tokens, and graph terms with their weights."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rg_helpers.artefacts import sha256_of
from rg_helpers.graph_loss.koleo import KoLeoBuffer
from rg_helpers.pretraining_data import IGNORED

Term = Callable[..., Tensor]  # (attention, batch) -> (batch,)


@dataclass(frozen=True, eq=False)
class WeightedTerm:
    """A graph term and how strongly it counts: `weight` from optimiser step `start` to `stop`.

    term: callable(attention, batch) -> (batch,), most often from `graph_loss.graph_term`; attention
        is (batch, layers, heads, nodes, nodes) over all layers of the model.
    weight: factor of the term's mean over traces (lambda). 0: the term is left out of training and
        costs nothing there, but evaluations still report it.
    start, stop: optimiser steps [start, stop) in which the weight holds; None = to the end.
    layers: the layers that the term reads, all others are zero to it and run at full speed; default
        the layers of the heads that it, its target or its predictor was given, or all.
    name: under which it is logged, by default the term's own.
    """

    term: Term
    weight: float
    start: int = 0
    stop: int | None = None
    layers: tuple[int, ...] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise ValueError(f"weight={self.weight}: expected a finite number from 0")
        if self.start < 0 or (self.stop is not None and self.stop <= self.start):
            raise ValueError(
                f"start={self.start}, stop={self.stop}: expected 0 <= start < stop, or stop=None"
            )
        if not self.name:
            inner = getattr(self.term, "term", None)
            name = getattr(inner, "name", None) or getattr(self.term, "__name__", "graph_term")
            object.__setattr__(self, "name", name)
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.name):
            raise ValueError(f"name={self.name!r}: expected letters, digits, '_' and '-' alone")
        if self.layers is None:
            object.__setattr__(self, "layers", _layers_of(self.term))

    @property
    def needs_gold(self) -> bool:
        """Return whether the term reads target graphs."""
        return bool(getattr(getattr(self.term, "term", None), "needs_gold", False))

    def weight_at(self, step: int) -> float:
        """Return the weight in an optimiser step (0-based)."""
        active = step >= self.start and (self.stop is None or step < self.stop)
        return self.weight if active else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return what names the term, as plain values for JSON."""
        return {
            "name": self.name,
            "term": getattr(getattr(self.term, "term", None), "name", None) or self.name,
            "weight": self.weight,
            "start": self.start,
            "stop": self.stop,
            "layers": None if self.layers is None else list(self.layers),
            "choices": {k: _plain(v) for k, v in getattr(self.term, "choices", {}).items()},
        }


def tapped_layers(terms: Sequence[WeightedTerm], count: int) -> tuple[int, ...]:
    """Return the layers, of `count`, that any of the terms reads."""
    wanted: set[int] = set()
    for term in terms:
        wanted.update(range(count) if term.layers is None else term.layers)
    return tuple(sorted(wanted))


def spread_layers(by_layer: Mapping[int, Tensor], count: int) -> Tensor:
    """Stack step masses so that place = layer: (batch, count, heads, nodes, nodes).

    by_layer: layer -> (batch, heads, nodes, nodes); layers that were not tapped are zero. Raises
    `ValueError` for layers with different numbers of heads.
    """
    masses = [by_layer[layer] for layer in sorted(by_layer)]
    if len({mass.shape for mass in masses}) > 1:
        raise ValueError(
            "the layers have different numbers of heads: name layers of equal width with "
            "WeightedTerm(layers=...)"
        )
    first = masses[0]
    nothing = first.new_zeros(first.shape)
    return torch.stack(
        [by_layer.get(layer, nothing).to(first.device) for layer in range(count)], dim=1
    )


def token_loss(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the summed cross-entropy, in nats, of the labelled tokens: a float32 scalar.

    logits: (batch, tokens, vocabulary); labels: int64 (batch, tokens), -100 = not counted. Position
    t predicts token t + 1. The same operations in the same order as transformers' own causal loss,
    so that a run without graph terms equals a plain one bit for bit. weights: (batch,) factors.
    """
    if weights is not None:
        return (trace_losses(logits, labels) * weights).sum()
    return functional.cross_entropy(
        *_predictions(logits, labels), ignore_index=IGNORED, reduction="sum"
    )


def trace_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the summed cross-entropy of each trace's labelled tokens: float32 (batch,)."""
    losses = functional.cross_entropy(
        *_predictions(logits, labels), ignore_index=IGNORED, reduction="none"
    )
    return losses.view(labels.shape).sum(-1)


def _predictions(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    following = functional.pad(labels, (0, 1), value=IGNORED)[..., 1:].contiguous()
    return logits.float().view(-1, logits.shape[-1]), following.view(-1).to(logits.device)


def _layers_of(term: Term) -> tuple[int, ...] | None:
    """Return the layers of the heads that a term, or what was fitted for it, reads; None = all."""
    for value in _with_heads(getattr(term, "choices", {})):
        if value is not None and not isinstance(value, str):
            return tuple(sorted({int(layer) for layer, _ in value}))
    return None


def _with_heads(choices: Mapping[str, Any]) -> list[Any]:
    found = [choices.get("heads")]
    for choice in choices.values():  # a fitted target or predictor knows the heads it reads
        record = getattr(choice, "record", choice)
        found.append(getattr(record, "heads", None))
    return found


def _plain(value: Any) -> Any:
    """Turn a choice into something that JSON holds and that tells two choices apart."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if hasattr(value, "as_dict"):
        return _plain(value.as_dict())
    if isinstance(value, nn.Module):
        weights = [t.detach().cpu().numpy().tobytes() for t in value.state_dict().values()]
        record = getattr(value, "record", None)
        return {"record": _plain(record), "weights": sha256_of(*weights)[:16]}
    if isinstance(value, KoLeoBuffer):
        return {"buffer": value.size}
    return type(value).__name__
