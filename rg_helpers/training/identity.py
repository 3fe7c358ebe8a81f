"""What makes two runs the same run, so that a checkpoint of another one is refused by name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments

from rg_helpers.artefacts import read_json, sha256_of, write_json
from rg_helpers.training.folders import check_tensors
from rg_helpers.training.loss import WeightedTerm

RUN_FILE = "run.json"
SAMPLED = 16  # values looked at in every weight that is not trained

# Settings that decide what a step does; a checkpoint continues only under the same.
DECIDING = (
    "max_steps",
    "num_train_epochs",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "optim",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "bf16",
    "fp16",
    "seed",
    "data_seed",
)


def run_identity(
    model: nn.Module,
    arguments: TrainingArguments,
    terms: Sequence[WeightedTerm],
    data: str,
    examples_a_step: int,
) -> dict[str, Any]:
    """Return what must agree for a checkpoint to be continued, as plain values for JSON.

    data: fingerprint of the data set. The number of processes is left out: a step that is cut in
    other parts sees the same examples.
    """
    settings = {name: _plain(getattr(arguments, name, None)) for name in DECIDING}
    return {
        "model": model_identity(model),
        "data": data,
        "examples_a_step": examples_a_step,
        "settings": settings,
        "terms": [term.as_dict() for term in terms],
    }


def model_identity(model: nn.Module) -> dict[str, str | int]:
    """Return class, size and hashes: of all names and shapes, and of the weights left frozen.

    Weights that are trained change from step to step and are not looked at; of each frozen one
    (LoRA: the whole base model) `SAMPLED` evenly spread values go into the hash.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    shapes, frozen = [], hashlib.sha256()
    trained = 0
    for name, parameter in model.named_parameters():
        shapes.append(f"{name} {tuple(parameter.shape)} {parameter.requires_grad}")
        if parameter.requires_grad:
            trained += parameter.numel()
            continue
        places = torch.linspace(0, max(0, parameter.numel() - 1), SAMPLED).long()
        values = parameter.detach().flatten()[places.to(parameter.device)].float().cpu()
        frozen.update(name.encode() + values.numpy().tobytes())
    return {
        "class": type(base).__name__,
        "trained_weights": trained,
        "weights": sum(parameter.numel() for parameter in model.parameters()),
        "shapes": sha256_of(*shapes)[:16],
        "frozen": frozen.hexdigest()[:16],
    }


def write_identity(folder: Path, identity: Mapping[str, Any], **more: Any) -> None:
    """Write the identity, and what else a resumed run must know, into a checkpoint."""
    write_json(folder / RUN_FILE, {"run": dict(identity), **more})


def checkpoint_of_this_run(checkpoint: str | Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Check that a checkpoint is whole and of this run; return what stands beside the identity.

    Raises `FileNotFoundError` where it is missing and `ValueError`, naming the first difference,
    where it belongs to another model, other data, terms or settings, or is damaged.
    """
    checkpoint = Path(checkpoint)
    if not (checkpoint / RUN_FILE).is_file():
        raise FileNotFoundError(
            f"{checkpoint} is no checkpoint of a graph-aware run ({RUN_FILE} is missing): give a "
            "folder named checkpoint-<step> that such a run has written"
        )
    saved = read_json(checkpoint / RUN_FILE)
    check_same_run(saved.get("run", {}), identity, checkpoint)
    check_tensors(checkpoint)
    return {name: value for name, value in saved.items() if name != "run"}


def check_same_run(
    saved: Mapping[str, Any], identity: Mapping[str, Any], where: str | Path
) -> None:
    """Raise `ValueError` naming the first thing in which two identities differ."""
    here = json.loads(json.dumps(identity))
    cures = {
        "model": "load the model that it was written with",
        "data": "give the same traces, graphs and weights",
        "terms": "give the same graph terms",
    }
    for part, value in here.items():
        if saved.get(part) == value:
            continue
        cure = cures.get(part, "give the same settings")
        raise ValueError(
            f"{where} belongs to another run: {_difference(part, saved.get(part), value)}; {cure}, "
            "or start in another folder"
        )


def checkpoints(folder: str | Path) -> list[Path]:
    """Return the checkpoints in a run's folder, the one of fewest steps first."""
    found = [path for path in Path(folder).glob("checkpoint-*") if path.is_dir()]
    numbered = [(path.name.removeprefix("checkpoint-"), path) for path in found]
    return [path for _, path in sorted((int(n), path) for n, path in numbered if n.isdigit())]


def _difference(name: str, saved: Any, here: Any) -> str:
    if isinstance(saved, Mapping) and isinstance(here, Mapping):
        for key in {**saved, **here}:
            if saved.get(key) != here.get(key):
                return _difference(f"{name}.{key}", saved.get(key), here.get(key))
    if isinstance(saved, list) and isinstance(here, list) and len(saved) == len(here):
        for place, (theirs, ours) in enumerate(zip(saved, here, strict=True)):
            if theirs != ours:
                return _difference(f"{name}[{place}]", theirs, ours)
    return f"its {name} is {saved!r}, here it is {here!r}"


def _plain(value: Any) -> Any:
    return getattr(value, "value", value)
