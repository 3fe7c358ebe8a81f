"""Turn an executed notebook into one that is fit to be committed: outputs kept, traces gone.

Removed: the injected parameters, papermill's and the kernel's bookkeeping, widget state,
progress bars, and the paths of the machine it ran on. What stays the same from run to run
stays the same in the file, so that its diff shows what really changed.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat

from rg_helpers.artefacts import write_text
from rg_helpers.course.folders import repository
from rg_helpers.course.notebook_files import (
    MEASURED,
    find_notebooks,
    is_widget_view,
    read_notebook,
    source_text,
)
from rg_helpers.course.parameters import notebook_parameters
from rg_helpers.course.planning import plan_runs
from rg_helpers.course.sidecar import Sidecar, read_sidecar

PAPERMILL_TAGS = ("injected-parameters", "papermill-error-cell-tag")
KEPT_CELL_METADATA = ("tags", "jupyter", "collapsed", "editable", "deletable", "slideshow")
MEMORY_ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}")
KERNEL_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}


def put_back(folder: Path, names: Iterable[str], profile: str, runs: Path) -> list[Path]:
    """Replace the notebooks of `folder` by their executed versions; return those that changed.

    Only runs with the notebooks' own parameters that are finished and up to date are taken;
    otherwise raises `ValueError` and changes nothing.
    """
    notebooks = find_notebooks(folder, names)
    plans = plan_runs([path.name for path in notebooks], profile, {}, runs)
    for plan in plans:
        own = notebook_parameters(plan.notebook)["PROFILE"]
        if own != profile:
            raise ValueError(
                f"{plan.name} says PROFILE = {own!r}: outputs of the profile {profile} would "
                f"contradict it; use --profile {own}"
            )
        if not plan.finished:
            raise ValueError(
                f"{plan.name} has no finished run of its present version in {plan.output.parent}: "
                f"execute it with `rgh run {plan.name} --profile {profile}`"
            )
    changed = []
    for plan in plans:
        record = read_sidecar(plan.output)
        executed = tidy(read_notebook(plan.output))
        if source_text(executed) != source_text(read_notebook(plan.notebook)):
            raise ValueError(f"{plan.name} is not what was executed: run it again with --force")
        write_measured(executed, record)
        text = nbformat.writes(executed) + "\n"
        if text != plan.notebook.read_text(encoding="utf-8"):
            changed.append(write_text(plan.notebook, text))
    return changed


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook without anything that belongs to one execution or one machine."""
    cells = []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if any(tag in PAPERMILL_TAGS for tag in tags):
            continue
        kept = {key: cell.metadata[key] for key in KEPT_CELL_METADATA if cell.metadata.get(key)}
        cell.metadata = nbformat.from_dict(kept)
        if cell.cell_type == "code":
            outputs = (_tidy_output(output) for output in cell.outputs)
            cell.outputs = [output for output in outputs if output is not None]
        cells.append(cell)
    executed = [cell for cell in cells if cell.cell_type == "code" and cell.execution_count]
    for count, cell in enumerate(executed, start=1):
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
    notebook.cells = cells
    notebook.metadata = nbformat.from_dict(KERNEL_METADATA)
    return notebook


def write_measured(notebook: nbformat.NotebookNode, record: Sidecar) -> None:
    """Write minutes and peak memory of a run into the notebook's first Markdown cell.

    They go between `<!-- measured -->` and `<!-- /measured -->`, at the cell's end if the
    markers are not there yet. Raises `ValueError` for a notebook without a Markdown cell.
    """
    heads = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    if not heads:
        raise ValueError(f"{record.notebook} has no Markdown cell: begin it with a title")
    minutes = f"{record.seconds / 60:.1f}" if record.seconds >= 57 else "under 1"
    line = (  # the mark on a line of its own: Markdown formats nothing behind a comment
        f"\n\n<!-- measured -->\n**Measured**: {minutes} min, {record.peak_memory_gib:.1f} GiB of "
        f"memory (profile `{record.profile}`, {record.threads} thread"
        f"{'s' if record.threads > 1 else ''})\n<!-- /measured -->"
    )
    source = heads[0].source
    if MEASURED.search(source):
        heads[0].source = MEASURED.sub(lambda _: line, source, count=1)
    else:
        heads[0].source = source.rstrip() + line


def _tidy_output(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """Return the output without paths and metadata; None for widgets and progress bars."""
    if is_widget_view(output) or _is_progress_bar(output):
        return None
    if output.output_type == "stream":
        output.text = without_machine_paths(output.text)
    for kind, data in list(output.get("data", {}).items()):
        if "widget" in kind:
            del output.data[kind]
        elif isinstance(data, str) and kind.startswith("text/"):
            output.data[kind] = without_machine_paths(data)
    if "metadata" in output:
        output.metadata = nbformat.from_dict(_without_widgets(output.metadata))
    return output


def _is_progress_bar(output: nbformat.NotebookNode) -> bool:
    text = output.get("text", "")
    return output.output_type == "stream" and output.name == "stderr" and "\r" in text


def _without_widgets(metadata: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if "widget" not in key}


def without_machine_paths(text: str) -> str:
    """Replace this machine's folders and memory addresses by words that are the same anywhere."""
    text = MEMORY_ADDRESS.sub(" at 0x...", text)
    folders = [
        (repository(), "."),
        (Path(sys.prefix), "<environment>"),
        (Path(sys.base_prefix), "<python>"),
        (Path(tempfile.gettempdir()), "<temporary>"),
        (Path.home(), "~"),
    ]
    # Longest first: the environment may lie inside the repository.
    for folder, word in sorted(folders, key=lambda pair: len(str(pair[0])), reverse=True):
        if len(folder.parts) > 1:
            text = re.sub(rf"{re.escape(str(folder))}(?=[/\\\s'\":,)\]]|$)", word, text)
    return text
