"""Decide what a run consists of, and find every mistake in the request before it starts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rg_helpers.artefacts import sha256_of
from rg_helpers.course.folders import notebooks_folder, repository
from rg_helpers.course.notebook_files import find_notebooks, read_notebook
from rg_helpers.course.parameters import notebook_parameters, resolve_parameters
from rg_helpers.course.profiles import profile as find_profile
from rg_helpers.course.sidecar import (
    Fingerprint,
    fingerprint,
    hash_data,
    hash_package,
    is_finished,
)


@dataclass(frozen=True)
class PlannedRun:
    """One notebook with its full parameters and the file its execution will be written to."""

    notebook: Path
    output: Path
    profile: str
    parameters: Mapping[str, Any]
    fingerprint: Fingerprint
    cells: int
    finished: bool  # a whole run with this fingerprint lies at `output` already

    @property
    def name(self) -> str:
        """The run's name: the notebook's, and the parameters that were chosen for it."""
        return self.output.stem


def plan_runs(
    names: Iterable[str], profile: str, given: Mapping[str, str], output: Path
) -> list[PlannedRun]:
    """Plan the runs of the notebooks that `names` choose (all without names).

    Executed notebooks go to `output`/<profile>/. Chosen parameters become part of the file's
    name, so that a sweep keeps every run. Raises `ValueError` or `FileNotFoundError` for an
    unknown profile, notebook or parameter and for a value of the wrong type.
    """
    find_profile(profile)
    notebooks = find_notebooks(notebooks_folder(), names)
    resolved = [
        resolve_parameters(notebook_parameters(path), given, profile, path.stem)
        for path in notebooks
    ]
    package_hash, data_hash = hash_package(), hash_data(repository() / "data")
    planned = []
    for path, parameters in zip(notebooks, resolved, strict=True):
        target = output / profile / f"{path.stem}{_suffix(given)}.ipynb"
        expected = fingerprint(path, parameters, package_hash, data_hash)
        planned.append(
            PlannedRun(
                notebook=path,
                output=target,
                profile=profile,
                parameters=parameters,
                fingerprint=expected,
                cells=len(read_notebook(path).cells) + 1,  # papermill injects one
                finished=is_finished(target, expected),
            )
        )
    return planned


def _suffix(given: Mapping[str, str]) -> str:
    """Return the part of a file name that tells chosen parameters apart ("@SEED=1,steps=30")."""
    if not given:
        return ""
    text = ",".join(f"{key}={value}" for key, value in sorted(given.items()))
    readable = re.sub(r"[^\w.,=+-]", "_", text)
    if readable != text or len(readable) > 80:  # no longer unique by itself
        readable = f"{readable[:60]}~{sha256_of(text)[:8]}"
    return f"@{readable}"
