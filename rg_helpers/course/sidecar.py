"""What is known about a run: the record beside its notebook, and when it may be reused."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rg_helpers.artefacts import read_json, sha256_of, versions, write_json
from rg_helpers.course.notebook_files import read_notebook, source_text
from rg_helpers.distributed.program import package_hash

FINISHED = "finished"
WRITTEN_BELOW_DATA = ("results", "figures")  # outputs of runs: hashing them would chase its tail


@dataclass(frozen=True)
class Fingerprint:
    """Everything a run's outcome depends on; two runs with equal `hash` need running once."""

    notebook: str
    package: str
    data: str
    parameters: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def hash(self) -> str:
        """The SHA-256 of all parts."""
        return sha256_of(json.dumps(dataclasses.asdict(self), sort_keys=True, default=repr))


@dataclass(frozen=True)
class Sidecar:
    """The record of one run. `status` is "finished" or says what went wrong."""

    notebook: str
    profile: str
    status: str
    fingerprint: str
    inputs: Mapping[str, Any]  # the parts of the fingerprint
    seed: int | None
    started: str  # ISO 8601, UTC
    seconds: float
    peak_memory_gib: float  # resident, summed over the run's processes
    threads: int
    jobs: int
    output_hash: str | None = None  # of the executed notebook's file
    error: Mapping[str, Any] = field(default_factory=dict)


def fingerprint(
    notebook: Path, parameters: Mapping[str, Any], package_hash: str, data_hash: str
) -> Fingerprint:
    """Return the fingerprint of running `notebook` with the full `parameters` now."""
    return Fingerprint(
        notebook=sha256_of(source_text(read_notebook(notebook))),
        package=package_hash,
        data=data_hash,
        parameters=dict(parameters),
        versions=versions(),
    )


def hash_package() -> str:
    """Hash every source of this package, by relative name and content."""
    return package_hash()


def hash_data(folder: Path) -> str:
    """Hash every file below `folder`, except what runs themselves write there."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    inputs = [
        path
        for path in files
        if path.relative_to(folder).parts[0] not in WRITTEN_BELOW_DATA
        and not path.name.startswith(".")
    ]
    return _hash_files(folder, inputs)


def sidecar_path(output: Path) -> Path:
    """Return the path of the record beside the executed notebook `output`."""
    return output.with_suffix(".json")


def write_sidecar(output: Path, sidecar: Sidecar) -> Path:
    """Write the record of a run beside its notebook, atomically."""
    return write_json(sidecar_path(output), dataclasses.asdict(sidecar))


def read_sidecar(output: Path) -> Sidecar | None:
    """Return the record of the run `output`; None if there is none or it cannot be trusted."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Sidecar(**read_json(sidecar_path(output)))
    return None


def is_finished(output: Path, expected: Fingerprint) -> bool:
    """Say whether `output` is whole and was made from exactly the `expected` inputs.

    The record must say so, carry the same fingerprint, and name the hash of the notebook file
    as it lies there: a file that was cut short, edited or replaced does not pass.
    """
    sidecar = read_sidecar(output)
    return (
        sidecar is not None
        and sidecar.status == FINISHED
        and sidecar.fingerprint == expected.hash
        and output.is_file()
        and sidecar.output_hash == sha256_of(output)
    )


def _hash_files(folder: Path, files: list[Path]) -> str:
    return sha256_of(
        *(part for path in files for part in (path.relative_to(folder).as_posix(), path))
    )
