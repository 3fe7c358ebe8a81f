"""The runner keeps its promises under kills, limits, full disks and corrupted records.

Every test that starts a kernel costs seconds, so one run is made to show several things.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from rg_helpers.course import cli, runner
from rg_helpers.course.planning import plan_runs
from rg_helpers.course.processes import family, kill
from rg_helpers.course.profiles import PROFILES
from rg_helpers.course.sidecar import read_sidecar

RGH = [sys.executable, "-m", "rg_helpers.course.cli", "run", "--profile", "smoke"]
WAIT_SECONDS = 60.0


def _wait_until(condition, what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {WAIT_SECONDS:.0f} s in vain until {what}"
        time.sleep(0.05)


def _texts(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    outputs = (output for cell in cells for output in cell.get("outputs", []))
    return "".join(output.get("text", "") for output in outputs)


def _leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if ".partial" in path.parts]


def _kernel_of(process: subprocess.Popen) -> psutil.Process | None:
    for member in family(process.pid):
        try:
            if "ipykernel_launcher" in member.cmdline():
                return member
        except psutil.Error:
            continue
    return None


def test_run_skip_rerun_force_and_repair(checkout, add_notebook, capsys):
    # One notebook that works, one that fails: all are run, the failure is told, exit code 1.
    add_notebook("00_good", "import sys, os", "print(PROFILE, steps, SEED, os.getcwd())",
                 "print('kernel', sys.executable)")  # fmt: skip
    add_notebook("01_bad", "secret = 1", "raise KeyError('no such premise')", "print('never')")
    assert cli.main(["run", "--profile", "smoke", "--jobs", "2"]) == 1
    shown = capsys.readouterr().out
    assert "KeyError" in shown
    assert "no such premise" in shown
    folder = checkout / "runs" / "smoke"
    good, bad = folder / "00_good.ipynb", folder / "01_bad.ipynb"
    assert f"smoke 3 0 {checkout / 'notebooks'}" in _texts(good)
    assert f"kernel {sys.executable}" in _texts(good)
    record = read_sidecar(good)
    assert record.status == "finished"
    assert record.seed == 0
    assert record.seconds > 0
    assert 0.02 < record.peak_memory_gib < 2
    assert record.inputs["parameters"]["steps"] == 3
    assert {"notebook", "package", "data", "versions"} <= set(record.inputs)
    assert not bad.exists()
    assert (folder / "01_bad.failed.ipynb").exists()
    assert read_sidecar(bad).status == "failed"
    assert _leftovers(folder) == []

    # The failed one is run again, the finished one is not.
    made = good.stat().st_mtime_ns
    add_notebook("01_bad", "secret = 1")
    assert cli.main(["run", "--profile", "smoke"]) == 0
    assert good.stat().st_mtime_ns == made
    assert bad.exists()
    assert not (folder / "01_bad.failed.ipynb").exists()
    assert "unchanged" in capsys.readouterr().out


def _finished(names=(), profile="smoke", **given) -> dict[str, bool]:
    plans = plan_runs(names, profile, given, Path(os.environ["RGH_REPOSITORY"]) / "runs")
    return {plan.name: plan.finished for plan in plans}


def test_what_makes_a_run_finished_and_what_out_of_date(
    checkout, add_notebook, monkeypatch, capsys
):
    path = add_notebook("00_a", "print(steps)")

    def full(output, sidecar):
        raise OSError(errno.ENOSPC, "No space left on device: free some disk space")

    with monkeypatch.context() as patch:  # the notebook could be written, its record could not
        patch.setattr(runner, "write_sidecar", full)
        assert cli.main(["run", "--profile", "smoke"]) == 1
    assert "No space left" in capsys.readouterr().out
    assert _finished() == {"00_a": False}
    assert cli.main(["run", "--profile", "smoke"]) == 0
    output = checkout / "runs" / "smoke" / "00_a.ipynb"
    record = output.with_suffix(".json")
    whole, whole_record = output.read_bytes(), record.read_text()
    assert _finished() == {"00_a": True}

    # Inputs: parameters, profile, data, versions, package sources, the notebook's code.
    assert _finished(SEED="1") == {"00_a@SEED=1": False}
    assert _finished(profile="cpu") == {"00_a": False}
    (checkout / "data" / "words.txt").write_text("input")
    assert _finished() == {"00_a": False}
    (checkout / "data" / "words.txt").unlink()
    (checkout / "data" / "results" / "claims.json").write_text("[]")  # an output, no input
    assert _finished() == {"00_a": True}
    with monkeypatch.context() as patch:
        patch.setattr("rg_helpers.course.sidecar.versions", lambda: {"torch": "3"})
        assert _finished() == {"00_a": False}
    with monkeypatch.context() as patch:
        patch.setattr("rg_helpers.course.planning.hash_package", lambda: "changed")
        assert _finished() == {"00_a": False}
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source += "\n<!-- measured -->9 minutes<!-- /measured -->"
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="old output")]
    nbformat.write(notebook, path)  # generated line and outputs decide nothing
    assert _finished() == {"00_a": True}
    notebook.cells[2].source += " # changed"
    nbformat.write(notebook, path)
    assert _finished() == {"00_a": False}
    notebook.cells[2].source = notebook.cells[2].source.removesuffix(" # changed")
    nbformat.write(notebook, path)

    # The files themselves: cut short, edited, corrupted or missing is not finished.
    for broken in (whole[: len(whole) // 2], whole.replace(b"3", b"4"), b""):
        output.write_bytes(broken)
        assert _finished() == {"00_a": False}
    output.write_bytes(whole)
    for broken in (whole_record[:40], "[]", '{"status": "finished"}', "\0"):
        record.write_text(broken)
        assert _finished() == {"00_a": False}
    record.unlink()
    assert _finished() == {"00_a": False}
    record.write_text(whole_record)
    assert _finished() == {"00_a": True}


def test_sigkill_of_the_runner_leaves_nothing_finished_and_nothing_alive(checkout, add_notebook):
    flag = checkout / "slow"
    flag.touch()
    code = f"import time, pathlib\nif pathlib.Path({str(flag)!r}).exists(): time.sleep(600)"
    add_notebook("00_quick", "print('done')")
    add_notebook("01_slow", "print('half')", code, "print('whole')")
    folder = checkout / "runs" / "smoke"
    process = subprocess.Popen([*RGH, "--jobs", "2"], stdout=subprocess.DEVNULL)
    partial = folder / ".partial" / "01_slow.ipynb"
    quick = folder / "00_quick.json"
    _wait_until(
        lambda: quick.exists() and partial.is_file() and "half" in partial.read_text(),
        "one notebook was done and half of the other",
    )
    members = family(process.pid)
    assert len(members) >= 3  # runner, worker, kernel

    second = subprocess.run(RGH, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert "another `rgh run` works in" in second.stderr

    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(members[1:], timeout=15)
    kill(alive)
    assert not alive, "worker or kernel survived the runner"
    assert _finished() == {"00_quick": True, "01_slow": False}
    assert not (folder / "01_slow.ipynb").exists()
    assert _leftovers(folder)  # as a SIGKILL leaves them

    flag.unlink()
    made = (folder / "00_quick.ipynb").stat().st_mtime_ns
    assert cli.main(["run", "--profile", "smoke"]) == 0
    assert _finished() == {"00_quick": True, "01_slow": True}
    assert (folder / "00_quick.ipynb").stat().st_mtime_ns == made
    assert _leftovers(folder) == []


def test_sigkill_of_a_kernel_or_a_worker_is_told(checkout, add_notebook):
    add_notebook("00_kernel", "import os, signal", "os.kill(os.getpid(), signal.SIGKILL)")
    add_notebook("01_worker", "import os, signal", "os.kill(os.getppid(), signal.SIGKILL)")
    assert cli.main(["run", "--profile", "smoke", "--jobs", "2"]) == 1
    folder = checkout / "runs" / "smoke"
    kernel, worker = (read_sidecar(folder / f"{n}.ipynb") for n in ("00_kernel", "01_worker"))
    assert (kernel.status, worker.status) == ("kernel died", "worker died")
    assert "kernel died" in runner.describe_error(kernel)
    assert "-9" in runner.describe_error(worker)
    assert not list(folder.glob("*_kernel.ipynb"))
    assert not list(folder.glob("*_worker.ipynb"))


def test_limits_end_a_notebook_with_everything_it_started(checkout, add_notebook, capsys):
    hog = "blocks = [b'x' * 2**20 for _ in range(900)]\nimport time; time.sleep(600)"
    child = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(601.5)'])\n"
        "time.sleep(600)"
    )
    add_notebook("00_hungry", hog)
    add_notebook("01_slow", child)
    command = ["run", "--profile", "smoke"]
    started = time.monotonic()
    assert cli.main([*command, "00", "--memory-gib", "0.7"]) == 1
    assert cli.main([*command, "01", "--wall-minutes", "0.15"]) == 1
    assert time.monotonic() - started < 90
    folder = checkout / "runs" / "smoke"
    hungry, slow = (read_sidecar(folder / f"{name}.ipynb") for name in ("00_hungry", "01_slow"))
    assert (hungry.status, slow.status) == ("memory limit", "wall limit")
    assert hungry.peak_memory_gib > 0.7
    assert "--memory-gib" in hungry.error["message"]
    assert not list(folder.glob("0?_hungry.ipynb"))
    sleepers = [p for p in psutil.process_iter(["cmdline"]) if "601.5" in str(p.info["cmdline"])]
    assert not sleepers, "a process that the notebook started survived it"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-p", "step=3"], "no parameter step; did you mean steps?"),
        (["-p", "steps=many"], "parameter steps is 'many', expected int"),
        (["-p", "steps"], "write -p name=value"),
        (["-p", "PROFILE=gpu"], "--profile gpu"),
        (["--profile", "fast"], "unknown profile 'fast'"),
        (["07"], "no notebook starts with '07'"),
        (["--jobs", "0"], "--jobs is 0"),
        (["--record", "00"], "--record measures the whole course"),
    ],
)
def test_mistakes_are_told_before_anything_starts(
    checkout, add_notebook, monkeypatch, capsys, options, words
):
    add_notebook("00_a", "print(1)")
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("something was started"))
    assert cli.main(["run", *options]) == 2
    assert words in capsys.readouterr().err
    assert not (checkout / "runs").exists()


def test_one_notebook_without_the_parameter_stops_all(checkout, add_notebook, capsys):
    add_notebook("00_a", "print(1)")
    add_notebook("01_b", "print(1)", parameters='PROFILE = "cpu"')
    assert cli.main(["run", "-p", "steps=4"]) == 2
    assert "01_b has no parameter steps" in capsys.readouterr().err


def test_a_full_disk_while_the_notebook_is_saved(checkout, add_notebook):
    # A limit on file size stands for the full disk: both make the worker's write fail.
    add_notebook("00_a", "print('x' * 600_000)")
    command = "ulimit -f 400; exec " + " ".join(RGH)  # blocks of 512 or 1,024 bytes
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "free some disk space" in result.stdout
    assert _finished() == {"00_a": False}


def test_interruption_ends_the_workers_and_says_how_to_resume(checkout, add_notebook):
    add_notebook("00_a", "import time", "time.sleep(600)")
    process = subprocess.Popen(RGH, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    _wait_until(lambda: _kernel_of(process), "the kernel runs")
    members = family(process.pid)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Resume with: rgh run --profile smoke" in errors
    _, alive = psutil.wait_procs(members[1:], timeout=10)
    kill(alive)
    assert not alive
    assert _finished() == {"00_a": False}
    assert _leftovers(checkout / "runs") == []


def test_minutes_are_recorded_only_when_asked_and_only_for_a_whole_run(
    checkout, add_notebook, monkeypatch
):
    add_notebook("00_a", "print(1)")
    done = {"status": "finished", "seconds": 90.0, "peak_memory_gib": 1.5}
    monkeypatch.setattr(
        "rg_helpers.course.commands.run.run_notebooks",
        lambda plans, limits, jobs: [_record(plan, **done) for plan in plans],
    )
    results = checkout / "data" / "results"
    assert cli.main(["run"]) == 0
    assert list(results.iterdir()) == []
    assert cli.main(["run", "--record"]) == 0
    written = json.loads((results / "course_minutes_cpu.json").read_text())
    assert written["notebooks"] == [
        {"notebook": "00_a", "minutes": 1.5, "peak_memory_gib": 1.5}
    ]  # fmt: skip
    assert written["provenance"]["profile"] == "cpu"
    (claim,) = json.loads((results / "claims.json").read_text())
    assert claim["id"] == "course.minutes.cpu"
    assert claim["pointer"] == "/total"


def _record(plan, **fields):
    defaults = {
        "notebook": plan.notebook.stem, "profile": plan.profile, "fingerprint": "", "inputs": {},
        "seed": 0, "started": "2026-01-01T00:00:00+00:00", "threads": 1, "jobs": 1,
    }  # fmt: skip
    return runner.Sidecar(**{**defaults, **fields})


def test_profiles_limit_every_run():
    assert all(p.wall_minutes > 0 and p.memory_gib > 0 for p in PROFILES.values())
