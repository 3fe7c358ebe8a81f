"""A small checkout in a temporary folder, so that no test touches the real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from rg_helpers.artefacts import sha256_of
from rg_helpers.course.folders import REPOSITORY_VARIABLE
from rg_helpers.course.planning import plan_runs
from rg_helpers.course.profiles import PROFILE_VARIABLE
from rg_helpers.course.sidecar import Sidecar, write_sidecar

PARAMETERS = 'PROFILE = "cpu"\nSEED = 0\nsteps = 3\nrate = 0.5\nverbose = False\nname = "a"'


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch) -> Path:
    """An empty course: pyproject.toml, notebooks/, data/results/."""
    root = tmp_path / "clone"
    (root / "notebooks").mkdir(parents=True)
    (root / "data" / "results").mkdir(parents=True)
    (root / "pyproject.toml").write_text('[project]\nname = "rg_helpers"\n')
    monkeypatch.setenv(REPOSITORY_VARIABLE, str(root))
    monkeypatch.delenv(PROFILE_VARIABLE, raising=False)
    return root


@pytest.fixture
def add_notebook(checkout) -> Callable[..., Path]:
    """Return a function that writes a tiny notebook of the given code cells."""

    def add(name: str, *sources: str, parameters: str = PARAMETERS):
        cells = [nbformat.v4.new_markdown_cell(f"# Title of {name}\n\nWhat it is about.")]
        cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
        cells += [nbformat.v4.new_code_cell(source) for source in sources]
        path = checkout / "notebooks" / f"{name}.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    return add


@pytest.fixture
def fake_run(checkout) -> Callable[..., Path]:
    """Return a function that leaves what a run leaves, without the seconds a kernel takes."""

    def leave(name: str, outputs=(), profile: str = "cpu", **fields) -> Path:
        (plan,) = plan_runs([name], profile, {}, checkout / "runs")
        executed = nbformat.read(plan.notebook, as_version=4)
        injected = nbformat.v4.new_code_cell("# Parameters", execution_count=2)
        injected.metadata = {"tags": ["injected-parameters"], "papermill": {"duration": 0.1}}
        executed.cells[1].execution_count = 1
        executed.cells.insert(2, injected)
        for count, cell in enumerate(executed.cells[3:], start=3):
            cell.execution_count = count
            cell.metadata["execution"] = {"iopub.status.busy": "2026-01-01T00:00:00Z"}
        executed.cells[-1].outputs = list(outputs)
        executed.metadata.papermill = {"input_path": str(plan.notebook), "duration": 1.0}
        executed.metadata.widgets = {"state": {}}
        failed = fields.get("status", "finished") != "finished"
        shown = plan.output.with_suffix(".failed.ipynb") if failed else plan.output
        shown.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(executed, shown)
        record = {
            "notebook": plan.notebook.stem, "profile": profile, "status": "finished",
            "fingerprint": plan.fingerprint.hash, "inputs": vars(plan.fingerprint), "seed": 0,
            "started": "2026-11-21T10:00:00+00:00", "seconds": 90.0, "peak_memory_gib": 1.25,
            "threads": 1, "jobs": 1, "output_hash": None if failed else sha256_of(shown),
        }  # fmt: skip
        write_sidecar(plan.output, Sidecar(**{**record, **fields}))
        return shown

    return leave
