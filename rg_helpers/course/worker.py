"""The subprocess that executes one notebook: `python -m rg_helpers.course.worker REQUEST`.

REQUEST is a JSON file with the paths `notebook`, `partial`, `folder`, `progress` and `result`,
the `parameters` to inject, and the process id of the `runner`. The executed notebook goes to
`partial`, what happened to `result`; whether that makes a finished run is for the runner to
say, which alone renames files.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

from rg_helpers.artefacts import read_json, write_json
from rg_helpers.course.processes import die_with_parent


class ThisInterpreter(AsyncKernelManager):
    """Starts kernels with the interpreter that runs this, whatever kernelspecs are installed."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """The kernel of `sys.executable`."""
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="Python 3",
            language="python",
        )


class ReportingEngine(NBClientEngine):
    """papermill's engine, which also says which cell runs."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, *, progress: str, **options: Any
    ) -> Any:
        """Execute the notebook; before each cell write its number and first line to `progress`."""
        start = nb_man.cell_start

        def reporting_start(cell: Any, cell_index: int, **rest: Any) -> None:
            lines = [line for line in cell.source.splitlines() if line.strip()] or [""]
            state = {"cell": cell_index + 1, "cells": len(nb_man.nb.cells), "text": lines[0][:60]}
            with contextlib.suppress(OSError):  # a lost progress line must not lose the run
                Path(progress).write_text(json.dumps(state), encoding="utf-8")
            start(cell, cell_index, **rest)

        nb_man.cell_start = reporting_start
        return super().execute_managed_notebook(nb_man, kernel_name, **options)


def execute(request: dict[str, Any]) -> dict[str, Any]:
    """Execute the requested notebook; return {} on success, else what went wrong and where."""
    papermill_engines.register("reporting", ReportingEngine)
    try:
        papermill.execute_notebook(
            # papermill takes braces in a path for places to fill in
            _braces(request["notebook"]),
            _braces(request["partial"]),
            parameters=request["parameters"],
            engine_name="reporting",
            kernel_name="python3",
            language="python",
            cwd=request["folder"],
            progress_bar=False,
            kernel_manager_class=ThisInterpreter,
            progress=request["progress"],
        )
    except PapermillExecutionError as error:
        return {
            "name": error.ename,
            "message": error.evalue,
            "cell": error.exec_count,
            "source": error.source,
            "traceback": list(error.traceback),
        }
    except DeadKernelError:
        return {
            "name": "DeadKernelError",
            "message": "the kernel died: killed from outside, or out of memory",
        }
    except OSError as error:
        return {
            "name": type(error).__name__,
            "message": f"{error}: free some disk space or choose another --output, then run again",
        }
    return {}


def main() -> int:
    """Execute the request named on the command line; 1 when the notebook failed."""
    request = read_json(sys.argv[1])
    die_with_parent(request["runner"])
    started = time.monotonic()
    error = execute(request)
    write_json(request["result"], {"error": error, "seconds": time.monotonic() - started})
    return 1 if error else 0


def _braces(path: str) -> str:
    return path.replace("{", "{{").replace("}", "}}")


if __name__ == "__main__":
    sys.exit(main())
