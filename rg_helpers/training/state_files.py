"""Optimiser, schedule and random states as safetensors and JSON: whole, readable, never pickle."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rg_helpers.artefacts import read_json, write_json

OPTIMIZER = "optimizer"
RANDOM = "random"


def save_optimizer(folder: Path, optimizer: Mapping[str, Any], schedule: Mapping[str, Any]) -> None:
    """Write the state dicts of optimiser and schedule: optimizer.safetensors and optimizer.json.

    Parameters keep the numbers that the optimiser gave them; what is no tensor goes into the JSON.
    """
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for number, moments in optimizer["state"].items():
        for name, value in moments.items():
            if isinstance(value, Tensor):
                tensors[f"{number}/{name}"] = value.detach().contiguous().cpu()
            else:
                plain.setdefault(str(number), {})[name] = value
    save_file(tensors, folder / f"{OPTIMIZER}.safetensors")
    groups = [dict(group) for group in optimizer["param_groups"]]
    described = {"param_groups": groups, "plain": plain, "schedule": dict(schedule)}
    write_json(folder / f"{OPTIMIZER}.json", described)


def load_optimizer(folder: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the two state dicts that `save_optimizer` wrote, or None if there are none."""
    if not (folder / f"{OPTIMIZER}.json").is_file():
        return None
    described = read_json(folder / f"{OPTIMIZER}.json")
    state: dict[int, dict[str, Any]] = {int(k): dict(v) for k, v in described["plain"].items()}
    for key, tensor in load_file(folder / f"{OPTIMIZER}.safetensors").items():
        number, name = key.split("/", 1)
        state.setdefault(int(number), {})[name] = tensor
    for group in described["param_groups"]:
        if "betas" in group:
            group["betas"] = tuple(group["betas"])
    return {"state": state, "param_groups": described["param_groups"]}, described["schedule"]


def save_random_state(folder: Path, process: int = 0) -> None:
    """Write the states of Python's, NumPy's and torch's generators as they are in this process."""
    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()
    tensors = {"torch": torch.random.get_rng_state()}
    if torch.cuda.is_available():
        for device, state in enumerate(torch.cuda.get_rng_state_all()):
            tensors[f"cuda/{device}"] = state
    save_file(tensors, folder / f"{RANDOM}_{process}.safetensors")
    described = {
        "python": [version, list(numbers), gauss],
        "numpy": [kind, keys.tolist(), int(position), int(has_gauss), float(cached)],
    }
    write_json(folder / f"{RANDOM}_{process}.json", described)


def load_random_state(folder: Path, process: int = 0) -> bool:
    """Set the generators to what `save_random_state` wrote; False if this process wrote nothing.

    Without it a run goes on with other random numbers, which matters where there is dropout.
    """
    if not (folder / f"{RANDOM}_{process}.json").is_file():
        return False
    described = read_json(folder / f"{RANDOM}_{process}.json")
    version, numbers, gauss = described["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, position, has_gauss, cached = described["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    tensors = load_file(folder / f"{RANDOM}_{process}.safetensors")
    torch.random.set_rng_state(tensors["torch"])
    cuda = [tensors[key] for key in sorted(tensors) if key.startswith("cuda/")]
    if cuda and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)
    return True
