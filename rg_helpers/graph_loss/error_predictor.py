"""A graph error predictor whose risk has a gradient with respect to the attention.

The classifiers of `error_prediction` read thresholded graphs and trees, and give no gradient. This
one reads `soft_features` of chosen heads, so that it can stand, frozen, inside a training loss. It
is fitted on traces of other problems than those trained on, and knows which they were.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from torch import Tensor, nn

from rg_helpers.artefacts import atomic_path, sha256_of
from rg_helpers.graph_loss.graph_batch import (
    GraphBatch,
    Heads,
    chosen_heads,
    eligible_rows,
    graph_batch,
)
from rg_helpers.graph_loss.soft_features import SOFT_FEATURES, soft_features, written_logs
from rg_helpers.traces import Trace

LEAST_SCALE = 1e-3  # of a column that hardly varies over the training traces
LEAST_OF_A_CLASS = 5
KIND = "graph error predictor"


@dataclass(frozen=True)
class PredictorRecord:
    """How a predictor was fitted and how good it is on problems it did not see.

    heads, features: what it reads. attention: (layers, heads) of the model it was fitted on.
    problem_ids: sorted; training on any of them with this predictor is refused. auroc: of
    out-of-fold risks, folds cut by problem; None where there are too few problems to tell.
    """

    heads: tuple[tuple[int, int], ...]
    features: tuple[str, ...]
    attention: tuple[int, int]
    width: int
    problem_ids: tuple[str, ...]
    traces: int
    base_rate: float
    auroc: float | None
    folds: int
    epochs: int
    learning_rate: float
    weight_decay: float
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


class GraphErrorPredictor(nn.Module):
    """Soft graph features -> logit that the trace is wrong; frozen as soon as it is fitted.

        logit = v . tanh(W (x - mean) / scale + b) + u . (x - mean) / scale + c

    x: every feature of every chosen head, and the logarithm of the written nodes, so that the
    graph is not paid for showing how long the trace is. With `width` 0 only the linear part.
    """

    def __init__(self, record: PredictorRecord) -> None:
        super().__init__()
        self.record = record
        columns = len(record.heads) * len(record.features) + 1
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))
        self.linear = nn.Linear(columns, 1)
        self.hidden = nn.Linear(columns, record.width) if record.width else None
        self.leave = nn.Linear(record.width, 1, bias=False) if record.width else None

    def forward(self, attention: Tensor, batch: GraphBatch) -> Tensor:
        """Return one logit a trace, (batch,), higher = riskier, differentiable in attention.

        attention: (batch, layers, heads, nodes, nodes). Raises `ValueError` for attention of
        another number of layers or heads than it was fitted on.
        """
        if tuple(attention.shape[1:3]) != tuple(self.record.attention):
            raise ValueError(
                f"the attention has {tuple(attention.shape[1:3])} layers and heads, but the error "
                f"predictor was fitted on {self.record.attention}: tap all layers of the model it "
                "was fitted on, or fit a predictor for this model"
            )
        columns = graph_columns(attention, batch, self.record.heads, self.record.features)
        return self.logits(columns.to(self.mean.dtype)).to(columns.dtype)

    def logits(self, columns: Tensor) -> Tensor:
        """Return logits (traces,) of columns (traces, columns) as from `graph_columns`."""
        with torch.autocast(columns.device.type, enabled=False):
            x = (columns - self.mean) / self.scale
            logit = self.linear(x)[:, 0]
            if self.hidden is not None and self.leave is not None:
                logit = logit + self.leave(torch.tanh(self.hidden(x)))[:, 0]
        return logit

    def frozen(self) -> GraphErrorPredictor:
        """Switch gradients of its own weights off, forget those there are, and return it."""
        self.zero_grad(set_to_none=True)
        return self.eval().requires_grad_(False)


def graph_columns(
    attention: Tensor, batch: GraphBatch, heads: Heads, features: Sequence[str]
) -> Tensor:
    """Return the predictor's input: (batch, chosen heads x features + 1), differentiable.

    attention: (batch, layers, heads, nodes, nodes). The last column is `written_logs`.
    """
    rows = eligible_rows(chosen_heads(attention, heads), batch)
    values = soft_features(rows, batch, features).flatten(1)
    return torch.cat([values, written_logs(batch).to(values)[:, None]], dim=1)


def fit_error_predictor(
    traces: Sequence[Trace],
    masses: Sequence[np.ndarray],
    wrong: Sequence[bool],
    *,
    heads: Heads = "all",
    features: Sequence[str] = tuple(SOFT_FEATURES),
    width: int = 8,
    epochs: int = 300,
    learning_rate: float = 1e-2,
    weight_decay: float = 0.3,
    folds: int = 5,
    seed: int = 0,
) -> GraphErrorPredictor:
    """Fit a predictor on labelled traces of problems that will not be trained on.

    masses: each trace's attention (layers, heads, nodes, nodes), as `attention_masses` returns it,
    of the model before training. wrong: True = error. Full-batch AdamW on the log loss for a fixed
    number of epochs: nothing is chosen on held-out traces, and the same seed gives the same
    weights. The record's AUROC comes from `folds` fits that leave problems out. Raises
    `ValueError` for lengths that do not agree and for fewer than `LEAST_OF_A_CLASS` right or wrong
    traces.
    """
    labels = np.asarray(wrong, dtype=bool)
    if not len(traces) == len(masses) == len(labels):
        raise ValueError(
            f"{len(traces)} traces, {len(masses)} attention masses and {len(labels)} labels: give "
            "one of each per trace"
        )
    if min(labels.sum(), (~labels).sum()) < LEAST_OF_A_CLASS:
        raise ValueError(
            f"{int(labels.sum())} of {len(labels)} traces are wrong: an error predictor needs at "
            f"least {LEAST_OF_A_CLASS} right and as many wrong ones; sample more traces, at a "
            "higher temperature or of harder problems"
        )
    layers, per_layer = np.asarray(masses[0]).shape[:2]
    everywhere = tuple((layer, head) for layer in range(layers) for head in range(per_layer))
    chosen = everywhere if isinstance(heads, str) else tuple(heads)
    problems = np.array([trace.problem_id for trace in traces])
    columns = torch.cat(
        [
            graph_columns(torch.as_tensor(np.asarray(mass))[None], graph_batch([trace]), chosen,
                          features)
            for trace, mass in zip(traces, masses, strict=True)
        ]
    ).float()  # fmt: skip
    target = torch.from_numpy(labels).float()
    record = PredictorRecord(
        heads=chosen,
        features=tuple(features),
        attention=(layers, per_layer),
        width=width,
        problem_ids=tuple(sorted(set(problems.tolist()))),
        traces=len(traces),
        base_rate=float(labels.mean()),
        auroc=None,
        folds=folds,
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        seed=seed,
    )
    held_out = _held_out_auroc(record, columns, target, problems)
    return _fitted(PredictorRecord(**{**asdict(record), "auroc": held_out}), columns, target)


def refuse_shared_problems(predictor: GraphErrorPredictor, problem_ids: Iterable[str]) -> None:
    """Raise `ValueError` where a problem to train on is among those the predictor was fitted on.

    Call it with all training problems before training starts; the terms call it on every batch.
    """
    shared = sorted(set(problem_ids) & set(predictor.record.problem_ids))
    if shared:
        raise ValueError(
            f"{len(shared)} training problem(s) are among the {len(predictor.record.problem_ids)} "
            f"that the error predictor was fitted on, for example {shared[0]}: there it knows the "
            "labels, not the graphs; fit it on traces of other problems"
        )


def save_error_predictor(path: str | Path, predictor: GraphErrorPredictor) -> Path:
    """Write weights and record to one safetensors file, atomically; return the path."""
    description = {"kind": KIND, "record": json.dumps(predictor.record.as_dict())}
    tensors = {name: value.contiguous().cpu() for name, value in predictor.state_dict().items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save_tensors(tensors, metadata=description))
    return Path(path)


def load_error_predictor(path: str | Path) -> GraphErrorPredictor:
    """Read a predictor written by `save_error_predictor`, frozen.

    Raises `FileNotFoundError` for a missing file, `ValueError` for one that is something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: fit an error predictor and save it there")
    blob = path.read_bytes()
    try:
        header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
        fields = json.loads(header["__metadata__"]["record"])
        for name in ("heads", "features", "attention", "problem_ids"):
            fields[name] = tuple(
                tuple(value) if isinstance(value, list) else value for value in fields[name]
            )
        predictor = GraphErrorPredictor(PredictorRecord(**fields))
        predictor.load_state_dict(load_tensors(blob))
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ValueError(
            f"{path} is not a {KIND} ({error}): delete it, fit one with fit_error_predictor and "
            "save it with save_error_predictor"
        ) from error
    return predictor.frozen()


def _fitted(record: PredictorRecord, columns: Tensor, target: Tensor) -> GraphErrorPredictor:
    """Train one predictor on columns (traces, columns) and labels (traces,) and freeze it."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(int(sha256_of(KIND, str(record.seed))[:8], 16))
        predictor = GraphErrorPredictor(record)
    predictor.mean.copy_(columns.mean(0))
    predictor.scale.copy_(columns.std(0, correction=0).clamp(min=LEAST_SCALE))
    weights = [p for p in predictor.parameters() if p.ndim > 1]
    biases = [p for p in predictor.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": record.weight_decay},
              {"params": biases, "weight_decay": 0.0}]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, lr=record.learning_rate)
    with torch.enable_grad():
        for _ in range(record.epochs):
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(predictor.logits(columns), target)
            loss.backward()
            optimizer.step()
    return predictor.frozen()


def _held_out_auroc(
    record: PredictorRecord, columns: Tensor, target: Tensor, problems: np.ndarray
) -> float | None:
    """AUROC of risks on left-out problems, or None where a fold would lack a class."""
    if record.folds < 2 or len(record.problem_ids) < record.folds:
        return None
    risk = torch.zeros(len(target))
    for fit, held in GroupKFold(record.folds).split(columns, target, problems):
        if len(set(target[fit].tolist())) < 2:
            return None
        risk[held] = _fitted(record, columns[fit], target[fit]).logits(columns[held])
    return float(roc_auc_score(target.numpy(), risk.numpy()))
