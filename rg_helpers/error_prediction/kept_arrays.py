"""Arrays that cost time to make, kept in one file with the key of all that they depend on.

A file with another key, a broken one or none is made anew; it is written whole or not at all, so a
killed run loses no more than the part that it was working on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_tensors

from rg_helpers.artefacts import atomic_path, sha256_of
from rg_helpers.traces import Trace


@dataclass(frozen=True, eq=False)
class Arrays:
    """Named arrays and the words that belong to them (names of columns, what was chosen)."""

    arrays: Mapping[str, np.ndarray]
    words: Mapping[str, str] = field(default_factory=dict)


def kept_arrays(path: Path | None, key: str, make: Callable[[], Arrays]) -> Arrays:
    """Return what the file holds under this key, else what `make()` returns, which is then kept.

    Without a `path` nothing is read or written.
    """
    if path is None:
        return make()
    found = _read(path, key)
    if found is None:
        found = make()
        arrays = {name: np.ascontiguousarray(array) for name, array in found.arrays.items()}
        blob = save_tensors(arrays, metadata={"key": key, "words": json.dumps(dict(found.words))})
        with atomic_path(path) as temporary:
            temporary.write_bytes(blob)
    return found


def traces_hash(traces: Sequence[Trace]) -> str:
    """Hash what models and text methods read of traces: tokens, nodes and their texts."""
    described = [
        [list(t.token_ids), t.prompt_tokens, [[n.kind, n.text, n.start, n.end] for n in t.nodes]]
        for t in traces
    ]
    return sha256_of(json.dumps(described))


def _read(path: Path, key: str) -> Arrays | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            described = file.metadata() or {}
            if described.get("key") != key:
                return None
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Arrays(arrays, json.loads(described["words"]))
    except (OSError, ValueError, KeyError, SafetensorError):
        return None
