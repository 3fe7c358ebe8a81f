"""Notebooks on the nodes of a Ray cluster, a notebook a task.

The notebooks and data/ travel to the nodes, each task works in a copy of its own that is thrown
away, and the executed notebook comes back with its record. The course model is read from beside
the package, so every node needs the package from a clone with the same data, which is checked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tqdm.auto import tqdm

from rg_helpers.course.folders import REPOSITORY_VARIABLE, repository
from rg_helpers.course.planning import PlannedRun
from rg_helpers.course.profiles import Profile
from rg_helpers.course.runner import describe_run, only_runner, run_notebooks
from rg_helpers.course.sidecar import Sidecar, hash_data, sidecar_path, write_sidecar
from rg_helpers.distributed import Needs, on_ray, read_files, write_files

CARRIED = ("pyproject.toml", "notebooks/*.ipynb", "data/**/*")
RUNS = "runs"


@dataclass(frozen=True, eq=False)
class _Course:
    """A checkout as values, the hash of the data beside the package, and a notebook's limits."""

    files: Mapping[str, bytes]
    data: str
    limits: Profile


def run_on_nodes(plans: Sequence[PlannedRun], limits: Profile, needs: Needs) -> list[Sidecar]:
    """Execute `plans` on the cluster that this process is connected to; see `run_notebooks`.

    A notebook whose node died is executed again, from its start. Raises what `run_notebooks` and
    `distributed.on_ray` raise; notebooks that were finished until then are in place.
    """
    if not plans:
        return []
    folder = plans[0].output.parent
    folder.mkdir(parents=True, exist_ok=True)
    limits = dataclasses.replace(limits, threads=limits.threads or needs.cpus)
    course = _Course(read_files(repository(), CARRIED), _data_beside_package(), limits)
    how = {"needs": needs, "title": "notebooks", "total": len(plans), "tell": tqdm.write}
    records: dict[int, Sidecar] = {}
    with only_runner(folder):
        for number, (record, files) in on_ray(_execute, plans, course, **how):
            output = plans[number].output
            failed = output.with_suffix(".failed.ipynb")
            if failed.name not in files:
                failed.unlink(missing_ok=True)
            write_files(folder, files)
            write_sidecar(output, record)  # last: only with it does a notebook count
            records[number] = record
            tqdm.write(describe_run(plans[number].name, record))
    return [records[number] for number in range(len(plans))]


def _execute(course: _Course, plan: PlannedRun) -> tuple[Sidecar, dict[str, bytes]]:
    """Execute one notebook in a checkout of its own and return its record and what it left."""
    if _data_beside_package() != course.data:
        raise RuntimeError(
            f"the node {platform.node()} has other files in data/ beside rg_helpers, so notebooks "
            "would read another model: install the package there from a clone of the same commit"
        )
    with tempfile.TemporaryDirectory(prefix="rgh-notebook-") as scratch, _checkout(scratch) as root:
        write_files(root, course.files)
        there = dataclasses.replace(
            plan,
            notebook=root / "notebooks" / plan.notebook.name,
            output=root / RUNS / plan.profile / plan.output.name,
        )
        (record,) = run_notebooks([there], course.limits)
        left = read_files(there.output.parent)
        left.pop(sidecar_path(there.output).name, None)
        return record, left


@contextlib.contextmanager
def _checkout(folder: str) -> Iterator[Path]:
    """Take `folder` for the checkout of the course within the block."""
    root = Path(folder).resolve()
    former = os.environ.get(REPOSITORY_VARIABLE)
    os.environ[REPOSITORY_VARIABLE] = str(root)
    try:
        yield root
    finally:
        if former is None:
            del os.environ[REPOSITORY_VARIABLE]
        else:
            os.environ[REPOSITORY_VARIABLE] = former


@cache
def _data_beside_package() -> str:
    """Hash the data that the package finds beside itself, such as the course model."""
    return hash_data(Path(__file__).resolve().parents[2] / "data")
