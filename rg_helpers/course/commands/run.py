"""Execute notebooks into runs/<profile>/, skipping those that are finished and unchanged.

Examples:
  rgh run                          every notebook, profile cpu
  rgh run 00 03 --profile smoke    two notebooks at test size
  rgh run 03 -p SEED=1             with a parameter of the notebook's parameters cell
  rgh run --ray 10.0.0.5:6379      on the nodes of a Ray cluster, each with the same clone
A killed run is resumed by giving the same command again.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rg_helpers.course.folders import repository
from rg_helpers.course.minutes import record_minutes
from rg_helpers.course.on_nodes import run_on_nodes
from rg_helpers.course.parameters import parse_assignments
from rg_helpers.course.planning import PlannedRun, plan_runs
from rg_helpers.course.profiles import PROFILES, Profile, profile
from rg_helpers.course.runner import describe_error, run_notebooks, short_error
from rg_helpers.course.sidecar import FINISHED, Sidecar, read_sidecar
from rg_helpers.distributed import Needs, connected


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh run`."""
    purposes = "; ".join(f"{name}: {entry.purpose}" for name, entry in PROFILES.items())
    parser.add_argument("names", nargs="*", metavar="NAME", help="notebook or its number (all)")
    parser.add_argument("--profile", default="cpu", metavar="PROFILE", help=purposes)
    parser.add_argument(
        "-p",
        dest="parameters",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a parameter of the notebooks; may be repeated",
    )
    parser.add_argument("--force", action="store_true", help="run again what is finished")
    parser.add_argument("--jobs", type=int, default=1, help="notebooks at once (1)")
    parser.add_argument(
        "--ray",
        metavar="auto|ADDRESS",
        help="run on a Ray cluster (extra ray): HOST:PORT, or auto for this machine's; a CPU for "
        "each notebook, and a GPU in the profile gpu",
    )
    parser.add_argument("--output", type=Path, help="folder of the runs (runs/)")
    parser.add_argument("--wall-minutes", type=float, help="limit a notebook (by profile)")
    parser.add_argument("--memory-gib", type=float, help="limit a notebook (by profile)")
    parser.add_argument(
        "--record",
        action="store_true",
        help="write minutes and memory of a full run to data/results/ and the ledger of claims",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh run`; 1 when a notebook did not finish."""
    limits = profile(arguments.profile)
    for name in ("wall_minutes", "memory_gib"):
        value = getattr(arguments, name)
        if value is not None:
            limits = dataclasses.replace(limits, **{name: value})
    if arguments.jobs < 1:
        raise ValueError(f"--jobs is {arguments.jobs}, expected at least 1")
    if arguments.ray and (arguments.record or arguments.jobs > 1):
        raise ValueError(
            "--jobs and --record are for this machine alone: with --ray leave them out"
        )
    given = parse_assignments(arguments.parameters)
    if arguments.record and (arguments.names or given or arguments.profile == "smoke"):
        raise ValueError(
            "--record measures the whole course as it is: give no names, no -p, and the profile "
            "cpu, gpu or hub"
        )
    output = arguments.output or repository() / "runs"
    plans = plan_runs(arguments.names, arguments.profile, given, output)
    todo = [plan for plan in plans if arguments.force or not plan.finished]
    if arguments.record and len(todo) < len(plans):
        raise ValueError(
            f"{len(plans) - len(todo)} notebooks are finished and would be skipped, so the "
            "duration of the whole would be wrong: add --force to measure all"
        )
    started = time.monotonic()
    records = _run_all(todo, limits, arguments)
    wall_seconds = time.monotonic() - started
    _print_summary(plans, dict(zip([plan.name for plan in todo], records, strict=True)))
    print(f"{wall_seconds / 60:.1f} minutes; notebooks in {output / arguments.profile}")
    if any(record.status != FINISHED for record in records):
        return 1
    if arguments.record:
        command = shlex.join(["rgh", *sys.argv[1:]])
        print(f"recorded in {record_minutes(arguments.profile, records, wall_seconds, command)}")
    return 0


def _run_all(
    plans: Sequence[PlannedRun], limits: Profile, arguments: argparse.Namespace
) -> list[Sidecar]:
    """Execute notebooks on this machine, or on a Ray cluster."""
    if not arguments.ray or not plans:
        return run_notebooks(plans, limits, arguments.jobs)
    with connected(arguments.ray):
        return run_on_nodes(plans, limits, Needs(gpus=int(arguments.profile == "gpu")))


def _print_summary(plans: Sequence[PlannedRun], records: dict[str, Sidecar]) -> None:
    width = max(len(plan.name) for plan in plans)
    print(f"\n{'notebook'.ljust(width)}  {'status':<13} minutes    GiB")
    for plan in plans:
        record = records.get(plan.name) or read_sidecar(plan.output)
        status = record.status if plan.name in records else "unchanged"
        figures = f"{record.seconds / 60:7.2f} {record.peak_memory_gib:6.2f}"
        note = describe_error(record)
        print(f"{plan.name.ljust(width)}  {status:<13} {figures}  {note}".rstrip())
    for name, record in records.items():
        if record.status != FINISHED:
            print(f"\n--- {name}: {describe_error(record)}\n{short_error(record)}")
