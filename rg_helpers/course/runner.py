"""Execute notebooks so that every moment is a good moment to be killed.

One subprocess a notebook writes to a partial file; only a complete execution is renamed into
place, and only then its record is written. A run counts as finished when record, fingerprint
and file agree (`sidecar.is_finished`), so whatever a kill, a full disk or an edit leaves behind
is simply run again, and what was finished is skipped.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from rg_helpers.artefacts import read_json, sha256_of, write_json
from rg_helpers.course.folders import REPOSITORY_VARIABLE, repository
from rg_helpers.course.notebook_files import read_notebook
from rg_helpers.course.planning import PlannedRun
from rg_helpers.course.processes import family, kill, resident_gib
from rg_helpers.course.profiles import PROFILE_VARIABLE, Profile, threads
from rg_helpers.course.sidecar import FINISHED, Sidecar, write_sidecar

POLL_SECONDS = 0.2
PARTIAL_FOLDER = ".partial"
TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass
class Running:
    """A notebook that is being executed."""

    plan: PlannedRun
    process: subprocess.Popen
    log: TextIO
    folder: Path  # of the partial files
    started: str
    start: float  # time.monotonic()
    peak_gib: float = 0.0
    stopped: str | None = None  # the limit that was reached
    progress: dict[str, Any] = field(default_factory=dict)

    def file(self, suffix: str) -> Path:
        """Return one of the run's partial files."""
        return self.folder / f"{self.plan.name}.{suffix}"


def run_notebooks(plans: Sequence[PlannedRun], limits: Profile, jobs: int = 1) -> list[Sidecar]:
    """Execute `plans`, at most `jobs` at once, and return one record each, in their order.

    A notebook that fails, dies or reaches a limit does not stop the others; its record says
    what happened. Raises `RuntimeError` when another runner works in the same folder.
    `KeyboardInterrupt` ends all running notebooks and is passed on.
    """
    if not plans:
        return []
    folder = plans[0].output.parent
    folder.mkdir(parents=True, exist_ok=True)
    records: dict[str, Sidecar] = {}
    with only_runner(folder), _bar(plans) as bar:
        partial = folder / PARTIAL_FOLDER
        shutil.rmtree(partial, ignore_errors=True)  # what a killed runner left
        partial.mkdir()
        waiting, running = list(plans), []
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    running.append(_start(waiting.pop(0), partial, limits, jobs))
                    tqdm.write(f"{running[-1].plan.name}: started")
                time.sleep(POLL_SECONDS)
                for run in list(running):
                    if _watch(run, limits) is not None:
                        running.remove(run)
                        record = _finish(run, threads(limits, jobs), jobs)
                        records[run.plan.name] = record
                        tqdm.write(describe_run(run.plan.name, record))
                _show(bar, running, [plan for plan in plans if plan.name in records])
        finally:
            for run in running:
                kill(family(run.process.pid))
                run.log.close()
            shutil.rmtree(partial, ignore_errors=True)
    return [records[plan.name] for plan in plans]


def short_error(record: Sidecar, lines: int = 12) -> str:
    """Return the end of a failed run's traceback or log, without terminal colours."""
    error = record.error
    text = "\n".join(error.get("traceback") or []) or error.get("log", "")
    text = TERMINAL_COLOURS.sub("", text).strip()
    return "\n".join(text.splitlines()[-lines:])


def describe_error(record: Sidecar) -> str:
    """Return one line that says where and why a run failed; empty for a finished one."""
    if record.status == FINISHED:
        return ""
    where = f"cell [{record.error['cell']}]: " if record.error.get("cell") else ""
    message = str(record.error.get("message", "")).strip().splitlines() or [""]
    return f"{where}{record.error.get('name', record.status)}: {message[0]}".rstrip(": ")


def describe_run(name: str, record: Sidecar) -> str:
    """Return one line on a run that ended: how, how long, how much memory."""
    took = f"{record.seconds / 60:.1f} min, {record.peak_memory_gib:.1f} GiB"
    return f"{name}: {record.status} ({took}) {describe_error(record)}".rstrip()


@contextlib.contextmanager
def only_runner(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system releases it however this process ends."""
    lock = FileLock(folder / ".rgh.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RuntimeError(
            f"another `rgh run` works in {folder}: wait until it is done, or choose another "
            "folder with --output"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _start(plan: PlannedRun, partial: Path, limits: Profile, jobs: int) -> Running:
    request = partial / f"{plan.name}.request"
    write_json(
        request,
        {
            "notebook": str(plan.notebook.resolve()),
            "folder": str(plan.notebook.resolve().parent),
            "partial": str((partial / f"{plan.name}.ipynb").resolve()),
            "progress": str((partial / f"{plan.name}.progress").resolve()),
            "result": str((partial / f"{plan.name}.result").resolve()),
            "parameters": dict(plan.parameters),
            "runner": os.getpid(),
        },
    )
    log = open(partial / f"{plan.name}.log", "w+", encoding="utf-8", errors="replace")  # noqa: SIM115
    process = subprocess.Popen(
        [sys.executable, "-m", "rg_helpers.course.worker", str(request.resolve())],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=_environment(plan.profile, threads(limits, jobs)),
        start_new_session=True,  # Ctrl-C reaches the runner alone, which ends its workers
    )
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Running(plan, process, log, partial, started, time.monotonic())


def _environment(profile: str, thread_count: int) -> dict[str, str]:
    environment = dict(os.environ)
    environment[PROFILE_VARIABLE] = profile
    environment[REPOSITORY_VARIABLE] = str(repository())
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment[variable] = str(thread_count)
    environment["TOKENIZERS_PARALLELISM"] = "false"
    environment["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # silences a warning of every kernel
    if profile != "hub":
        environment["HF_HUB_OFFLINE"] = "1"  # only the hub profile may download
    return environment


def _watch(run: Running, limits: Profile) -> int | None:
    """Update peak memory and progress, enforce limits; return the exit code once it ended."""
    processes = family(run.process.pid)
    memory = resident_gib(processes)
    run.peak_gib = max(run.peak_gib, memory)
    minutes = (time.monotonic() - run.start) / 60
    if memory > limits.memory_gib:
        run.stopped = "memory limit"
    elif minutes > limits.wall_minutes:
        run.stopped = "wall limit"
    if run.stopped:
        kill(processes)
    with contextlib.suppress(OSError, ValueError):
        run.progress = read_json(run.file("progress"))
    return run.process.poll()


def _finish(run: Running, thread_count: int, jobs: int) -> Sidecar:
    """Put the outcome of an ended run in its place and return its record."""
    status, error = _outcome(run)
    if status != FINISHED:
        run.log.flush()
        run.log.seek(0)
        error.setdefault("log", run.log.read()[-4000:])
    run.log.close()
    partial, output = run.file("ipynb"), run.plan.output
    failed = output.with_suffix(".failed.ipynb")
    record = Sidecar(
        notebook=run.plan.notebook.stem,
        profile=run.plan.profile,
        status=status,
        fingerprint=run.plan.fingerprint.hash,
        inputs=vars(run.plan.fingerprint),
        seed=run.plan.parameters.get("SEED"),
        started=run.started,
        seconds=round(time.monotonic() - run.start, 2),
        peak_memory_gib=round(run.peak_gib, 3),
        threads=thread_count,
        jobs=jobs,
        output_hash=sha256_of(partial) if status == FINISHED else None,
        error=error,
    )
    try:
        if status == FINISHED:
            os.replace(partial, output)
            failed.unlink(missing_ok=True)
        elif partial.is_file():
            os.replace(partial, failed)
        write_sidecar(output, record)
    except OSError as problem:
        lost = {"name": type(problem).__name__, "message": str(problem)}
        return Sidecar(**{**vars(record), "status": "not written", "error": lost})
    return record


def _outcome(run: Running) -> tuple[str, dict[str, Any]]:
    """Say how a run ended, trusting only what proves itself whole."""
    if run.stopped:
        cell = run.progress.get("cell")
        reached = f"{run.peak_gib:.2f} GiB" if run.stopped == "memory limit" else "time is up"
        cure = "choose a smaller profile, or raise it with --memory-gib or --wall-minutes"
        return run.stopped, {
            "name": run.stopped,
            "message": f"{reached} in cell {cell} of {run.progress.get('cells')}; {cure}",
        }
    try:
        error = read_json(run.file("result"))["error"]
    except (OSError, ValueError, KeyError):
        code = run.process.returncode
        return "worker died", {
            "name": "worker died",
            "message": f"the process ended with code {code} before it could say why; run it again",
        }
    if error:
        status = "kernel died" if error["name"] == "DeadKernelError" else "failed"
        return status, error
    try:
        papermill = read_notebook(run.file("ipynb")).metadata.papermill
        whole = papermill.end_time is not None and not papermill.exception
    except (OSError, ValueError, AttributeError):
        whole = False
    if not whole:
        return "failed", {"name": "incomplete output", "message": "the notebook was not saved"}
    return FINISHED, {}


def _bar(plans: Sequence[PlannedRun]) -> tqdm:
    return tqdm(total=sum(plan.cells for plan in plans), unit="cell", disable=None)


def _show(bar: tqdm, running: Sequence[Running], ended: Sequence[PlannedRun]) -> None:
    """Move the bar to the cells done and name the cells that run."""
    done = sum(plan.cells for plan in ended)
    bar.n = done + sum(run.progress.get("cell", 1) - 1 for run in running)
    cells = (
        f"{run.plan.name} {run.progress['cell']}/{run.progress['cells']} {run.progress['text']}"
        for run in running
        if run.progress
    )
    bar.set_postfix_str(" | ".join(cells)[:100], refresh=True)
