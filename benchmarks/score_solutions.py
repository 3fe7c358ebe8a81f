"""Minutes that `rgh score` takes on real models' solutions of GSM8K, from start to report.

    python benchmarks/score_solutions.py --data FOLDER --reader FOLDER [--limit N] [--cores N]

FOLDER of --data is one that you keep, with GSM8K's file of model solutions (`rgh gsm8k` says where
it is to be had); --reader is the model that reads them (`rgh reader` trains one). `rgh score` runs
as it is, in a fresh process on as many cores as named: start-up, reading, graphs, features,
baselines, hidden states and the report, into a folder that is removed afterwards. Writes
data/results/bench_score_solutions.json and its claim; with --limit it only prints.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rg_helpers.artefacts import provenance, read_json, sha256_of, write_json
from rg_helpers.course.claims import claim_from_result, write_claims
from rg_helpers.course.folders import repository
from rg_helpers.datasets.sources import SOLUTIONS, find_file

CORES = 2
TARGET = "<= 10"
RGH = "import sys; from rg_helpers.course.cli import main; sys.exit(main())"
RSS_UNITS = 2**30 if sys.platform == "darwin" else 2**20  # bytes there, KiB elsewhere
SCORED = (0, 1)  # exit codes of `rgh score` whose results are whole: all lines, or some left out


def measure_run(
    solutions: Path, reader: str, cores: int = CORES, limit: int | None = None
) -> dict[str, Any]:
    """Return what one run took and did, timed from outside; raises `RuntimeError` if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        words = ["score", str(solutions), "--model", reader, "--out", str(out)]
        words += ["--jobs", str(cores)]
        words += [] if limit is None else ["--limit", str(limit)]
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", RGH, *words],
            env={**os.environ, "OMP_NUM_THREADS": str(cores)},
            preexec_fn=lambda: on_cores(cores),
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
        if done.returncode not in SCORED:
            raise RuntimeError(
                f"rgh {' '.join(words)} ended with code {done.returncode}:\n{done.stderr[-2000:]}"
            )
        record = read_json(out / "record.json")
        cost = read_json(out / "predict.json")["cost"]
    return {
        "minutes": seconds / 60,
        "report_minutes": (cost["inputs_seconds"] + cost["fits_seconds"]) / 60,
        "solutions": record["solutions"]["solutions"] - record["left_out"],
        "left_out": record["left_out"],
        "tokens": record["solutions"]["tokens"],
        "methods": record["methods"],
        "cores": cores,
        "peak_gib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / RSS_UNITS,
    }


def on_cores(count: int) -> None:
    """Keep this process on `count` of its cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def words_of(found: dict[str, Any]) -> str:
    """The printed result."""
    return (
        f"{found['solutions']} solutions scored, {found['left_out']} left out: "
        f"{found['minutes']:.1f} minutes on {found['cores']} cores, {found['report_minutes']:.1f} "
        f"of them for the report; {found['peak_gib']:.2f} GiB"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with GSM8K's files")
    parser.add_argument("--reader", required=True, help="folder or hub id of the model that reads")
    parser.add_argument("--cores", type=int, default=CORES)
    parser.add_argument("--limit", type=int, help="only the first so many lines; print only")
    options = parser.parse_args(arguments)
    path = find_file(options.data, SOLUTIONS)
    load = os.getloadavg()
    found = measure_run(path, options.reader, options.cores, options.limit)
    print(words_of(found))
    if options.limit is not None:
        return 0
    command = "python benchmarks/score_solutions.py --data DATA --reader READER"
    record = Path(options.reader) / "record.json"
    result = {
        "provenance": provenance(f"{command} --cores {options.cores}", 0, "cpu"),
        "file": {"name": path.name, "sha256": sha256_of(path)},
        "reader_parameters": read_json(record)["parameters"] if record.is_file() else None,
        "load_average_before": load[0],
        **found,
    }
    path = write_json(repository() / "data" / "results" / "bench_score_solutions.json", result)
    claim = claim_from_result(
        id="gsm8k.score.minutes",
        statement=f"`rgh score` takes {found['minutes']:.1f} minutes for {found['solutions']} real "
        f"solutions on {found['cores']} cores, the report included",
        source=path.relative_to(repository()),
        pointer="/minutes",
        unit="run",
        target=TARGET,
    )
    write_claims([claim])
    print(f"written: {path.relative_to(repository())} and its claim")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
