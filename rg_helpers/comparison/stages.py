"""Stage artefacts: what one family x method has drawn, kept so that a killed run continues.

Every artefact carries a key: the SHA-256 of the parameters, the model's weights and the source
code that the stage runs through. A file with another key is made anew. Files are written whole or
not at all.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from rg_helpers.artefacts import atomic_path, read_json, sha256_of, write_json
from rg_helpers.comparison.drawn import Drawn, Variant

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PACKAGE = "rg_helpers"


def key_of(**parts: Any) -> str:
    """Return the SHA-256 of named plain values."""
    return sha256_of(json.dumps(parts, sort_keys=True, default=str))


def model_hash(model: PreTrainedModel) -> str:
    """Hash the architecture's settings and every weight, whichever way the model was loaded."""
    digest = hashlib.sha256(type(model).__name__.encode())
    settings = {k: v for k, v in model.config.to_dict().items() if not k.startswith("_")}
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def source_hash(*modules: str) -> str:
    """Hash the source of modules of this package and of all that they import from it."""
    seen: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        spec = None if name in seen else find_spec(name)
        if spec is None or spec.origin is None:
            continue
        seen[name] = Path(spec.origin)
        waiting += _imports(seen[name])  # once a process: code does not change while it runs
    return sha256_of(*(part for name in sorted(seen) for part in (name, seen[name])))


@cache
def _imports(path: Path) -> tuple[str, ...]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module.split(".")[0] == PACKAGE:
                found.append(node.module)
                # `from package import module` names modules, not only functions
                found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] == PACKAGE]
    return tuple(name for name in found if _is_module(name))


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def save_drawn(stem: Path, drawn: Drawn, key: str) -> None:
    """Write `<stem>.safetensors`, then `<stem>.json` with the key and the hash of the former."""
    blob = save_tensors({"weights": np.ascontiguousarray(drawn.weights)})
    with atomic_path(_weights_path(stem)) as temporary:
        temporary.write_bytes(blob)
    described = {"key": key, "weights_sha256": hashlib.sha256(blob).hexdigest()}
    write_json(_description_path(stem), described | drawn.described())


def load_drawn(stem: Path, key: str) -> Drawn | None:
    """Read what `save_drawn` wrote under this key; None where it is absent, other or broken."""
    try:
        described = read_json(_description_path(stem))
        if not isinstance(described, Mapping) or described.get("key") != key:
            return None
        blob = _weights_path(stem).read_bytes()
        if hashlib.sha256(blob).hexdigest() != described["weights_sha256"]:
            return None
        variants = tuple(Variant(**row) for row in described["variants"])
        weights = load_tensors(blob)["weights"]
        return Drawn(variants, weights, tuple(described["indices"]), described["seconds"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None


def save_rows(path: Path, rows: list[dict[str, Any]], key: str) -> None:
    """Write measured rows with their key."""
    write_json(path, {"key": key, "rows": rows})


def load_rows(path: Path, key: str) -> list[dict[str, Any]] | None:
    """Read rows written under this key; None where they are absent, other or broken."""
    try:
        found = read_json(path)
        return found["rows"] if found["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _weights_path(stem: Path) -> Path:
    return stem.with_name(stem.name + ".safetensors")


def _description_path(stem: Path) -> Path:
    return stem.with_name(stem.name + ".json")
