"""Compare all ways to draw a reasoning graph: against gold, interventions, each other, and cost.

For every problem family the model solves test problems several times; every method draws every
readable solution; layers, heads and thresholds are chosen on validation problems. The table holds
edge recovery on right and on wrong traces beside the best control, rank agreement with
interventions and between methods, stability across samples, time and memory. A killed run
continues where it stopped (its stages lie in runs/compare). The shipped model's full table goes to
data/results with a figure and its claims; any other run's goes to runs/compare.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas
import torch

from rg_helpers.artefacts import atomic_path, provenance, write_json
from rg_helpers.comparison.measured import CHOSEN, GAP
from rg_helpers.comparison.run import REFERENCE, SLOW, Place, Plan, compare
from rg_helpers.comparison.table import pointer, read_table, select, write_table
from rg_helpers.course import profiles
from rg_helpers.course.claims import Claim, read_claims, write_claims
from rg_helpers.course.folders import repository, results_folder
from rg_helpers.course.pointers import read_pointer
from rg_helpers.graphs.methods import METHODS, find_method
from rg_helpers.language_model import COURSE, load_model
from rg_helpers.plots import draw_comparison, use_course_style
from rg_helpers.plots.style import png_bytes
from rg_helpers.problems import FAMILIES

COMMAND = "rgh compare"
RESULT_NAME = "compare.parquet"
FIGURE_NAME = "compare.png"
METRIC_NAMES = {"auroc": "AUROC", "ap": "average precision", "f1": "edge F1"}
ABOVE = 0.05  # Holm-corrected p below which a difference counts
SMOKE = {
    "problems": 8,
    "samples": 2,
    "fit_problems": 6,
    "slow_traces": 12,
    "slowest_traces": 4,
    "slow_fit": 3,
    "draws": 100,
    "longest": 200,
}
CPU = {
    "problems": 260,  # four samples each: over 1,000 readable traces
    "samples": 4,
    "fit_problems": 80,
    "slow_traces": 300,
    "slowest_traces": 60,
    "slow_fit": 12,
    "draws": 4000,
    "longest": None,
}
GPU = CPU | {
    "problems": 500,
    "fit_problems": 150,
    "slow_traces": 1000,
    "slowest_traces": 300,
    "slow_fit": 60,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh compare`."""
    parser.add_argument("--model", default=COURSE, help="course, a local folder or a hub id")
    parser.add_argument("--profile", default="cpu", choices=tuple(profiles.PROFILES))
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--methods", nargs="+", help="names of methods (default: all but judge)")
    parser.add_argument("--problems", type=int, help="test problems a family")
    parser.add_argument("--samples", type=int, help="solutions sampled per problem")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--jobs", type=int, default=1, help="families drawn at once, a process each"
    )
    parser.add_argument("--no-memory", action="store_true", help="leave peak memory out")
    parser.add_argument("--output", type=Path, help="folder of the results (no claims then)")


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh compare`; writes table and figure, prints one table a family."""
    names = arguments.methods or [n for n, way in METHODS.items() if "judge" not in way.needs]
    methods = {name: find_method(name) for name in names}
    plan = _plan(arguments)
    model, tokenizer = load_model(arguments.model, device=arguments.device)
    place = Place.of(model, tokenizer, plan, repository() / "runs" / "compare")
    print(f"stages are kept in {place.folder}")
    if arguments.jobs > 1 and len(arguments.families) > 1:
        _draw_families_at_once(arguments)
    model_name = None if arguments.no_memory else str(arguments.model)
    rows = compare(place, arguments.families, methods, model_name)
    folder, counts = _output(arguments)
    origin = provenance(_command(arguments, plan), arguments.seed, arguments.profile)
    origin |= {"model": str(arguments.model), "plan": vars(plan) | {"slow": dict(SLOW)}}
    origin |= {"threads": torch.get_num_threads(), "jobs": arguments.jobs}
    path = write_table(folder / RESULT_NAME, rows, origin)
    table = read_table(path)
    for family in arguments.families:
        print(_summary(table, family))
    print(f"written: {path}")
    if figure_rows(table)[0]:
        figures = repository() / "data" / "figures" if counts else folder
        print(f"written: {write_figure(table, figures / FIGURE_NAME)}")
    else:
        print("no figure: too few right solutions to measure anything on; give more --problems")
    if counts:
        _claim(table, path)
    return 0


def write_figure(table: pandas.DataFrame, path: Path) -> Path:
    """Draw the table's main figure, with its alt text and provenance in a JSON file beside it."""
    rows, costs = figure_rows(table)
    use_course_style()
    title = "Which graph is right? Edges recovered on the model's own right solutions"
    figure = draw_comparison(rows, costs=costs, title=title)
    with atomic_path(path) as temporary:
        temporary.write_bytes(png_bytes(figure))
    record = {"alt": alt_text(rows), "provenance": table.attrs["provenance"]}
    write_json(path.with_suffix(".json"), record)
    return path


def figure_rows(table: pandas.DataFrame) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return the rows and costs of `plots.draw_comparison` from a comparison's table."""
    chosen = select(table, layer=CHOSEN, difficulty="all", reading="right")
    gaps = {(r.family, r.method): r for r in select(chosen, metric=GAP).itertuples()}
    rows, drawn_by = [], {}
    for r in select(chosen, metric="auroc").itertuples():
        if not is_main(r.method, r.drawn_by):
            continue
        drawn_by[r.method] = r.drawn_by
        row = {name: getattr(r, name) for name in ("family", "method", "value", "low", "high")}
        gap = gaps.get((r.family, r.method))
        if gap is not None:
            row["control"] = r.value - gap.value
            row["above"] = gap.value > 0 and gap.p_holm < ABOVE
        rows.append(row)
    times = select(table, metric="ms_per_trace").groupby("method")["value"].mean()
    return rows, {name: float(times[by]) for name, by in drawn_by.items() if by in times}


def is_main(name: str, drawn_by: str) -> bool:
    """Say whether a graph stands for its method: under its own name, or from its best few heads.

    Of attention all reductions are shown, since they are what is commonly used.
    """
    return name in (drawn_by, f"{drawn_by}_few") or drawn_by == "attention"


def alt_text(rows: Sequence[dict[str, Any]]) -> str:
    """Say in a sentence or two what the figure shows, from its figures."""
    families = list(dict.fromkeys(row["family"] for row in rows))
    parts = []
    for family in families:
        drawn = [r for r in rows if r["family"] == family and "control" in r]
        best = max(drawn, key=lambda r: r["value"])
        above = sum(r["above"] for r in drawn)
        parts.append(
            f"in {family} the highest AUROC is {best['value']:.2f} "
            f"({best['method'].replace('_', ' ')}), and {above} of {len(drawn)} graphs lie above "
            "their best control"
        )
    return (
        "Edge recovery of every way to draw a graph, with intervals, one panel for each family, "
        "beside the best control and the time per trace: " + "; ".join(parts) + "."
    )


def claims_of(table: pandas.DataFrame, path: Path) -> Iterator[Claim]:
    """Yield the claims that the table supports: recovery on right traces by the main graphs."""
    origin = table.attrs["provenance"]
    kept = select(table, kind="method", layer=CHOSEN, difficulty="all", reading="right")
    for r in kept[kept["metric"].isin(METRIC_NAMES)].itertuples():
        if not is_main(r.method, r.drawn_by):
            continue
        where = pointer(family=r.family, method=r.method, reading="right", metric=r.metric)
        found = read_pointer(path, where)
        yield Claim(
            id=f"edges.{r.method}.{r.family}.{r.metric}",
            statement=f"{METRIC_NAMES[r.metric]} of the edges of right {r.family} solutions "
            f"written by the model: {r.method.replace('_', ' ')}",
            source=str(path),
            pointer=where,
            unit="problems",
            **{name: found[name] for name in ("value", "low", "high", "n")},
            **{key: origin[key] for key in ("command", "profile", "seed")},
            **{key: origin[key] for key in ("device", "versions", "date")},
        )


def _claim(table: pandas.DataFrame, path: Path) -> None:
    """Write the claims, but none over a figure that another command measured."""
    taken = {
        id: claim.command
        for id, claim in read_claims().items()
        if not claim.command.startswith(COMMAND)
    }
    claims = list(claims_of(table, path))
    kept = [claim.id for claim in claims if claim.id in taken]
    ledger = write_claims(claim for claim in claims if claim.id not in taken)
    print(f"{len(claims) - len(kept)} claims merged into {ledger}")
    if kept:
        owners = sorted({taken[id].split(" --")[0] for id in kept})
        print(f"left as they are, measured by {', '.join(owners)}: {', '.join(kept)}")


def _draw_families_at_once(arguments: argparse.Namespace) -> None:
    """Fill the stages by a process a family, `--jobs` at a time; this one reads them afterwards.

    Raises `RuntimeError` with the words of a process that failed; the others are ended then.
    """
    threads = max(1, profiles.threads(profiles.profile("cpu"), arguments.jobs))
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    waiting, running = list(arguments.families), {}
    with tempfile.TemporaryDirectory() as scratch:
        try:
            while waiting or running:
                while waiting and len(running) < arguments.jobs:
                    family = waiting.pop(0)
                    words = [*_words(arguments, family), "--output", f"{scratch}/{family}"]
                    log = open(f"{scratch}/{family}.log", "w+", encoding="utf-8")  # noqa: SIM115
                    command = [sys.executable, "-m", "rg_helpers.course.cli", *words]
                    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
                    running[family] = process, log
                    print(f"{family}: started", flush=True)
                for family, (process, log) in list(running.items()):
                    if process.poll() is None:
                        continue
                    del running[family]
                    log.seek(0)
                    said = log.read()
                    log.close()
                    if process.returncode:
                        raise RuntimeError(f"{family} failed:\n{said[-2000:]}")
                    print(f"{family}: drawn", flush=True)
                time.sleep(0.5)
        finally:
            for process, log in running.values():
                process.terminate()
                process.wait()
                log.close()


def _words(arguments: argparse.Namespace, family: str) -> list[str]:
    """Return the command line that draws one family alone, to the same stages."""
    words = ["compare", "--families", family, "--no-memory"]
    for name in ("model", "profile", "problems", "samples", "temperature", "seed", "device"):
        value = getattr(arguments, name)
        words += [] if value is None else [f"--{name}", str(value)]
    return words + (["--methods", *arguments.methods] if arguments.methods else [])


def _plan(arguments: argparse.Namespace) -> Plan:
    size = vars(profiles.sizes(arguments.profile, smoke=SMOKE, cpu=CPU, gpu=GPU))
    asked = {"problems": arguments.problems, "samples": arguments.samples}
    size |= {name: value for name, value in asked.items() if value is not None}
    if size["samples"] > 1 and arguments.temperature == 0:
        raise ValueError(
            f"{size['samples']} samples at temperature 0 would be the same: give --samples 1 or a "
            "--temperature above 0"
        )
    return Plan(**size, temperature=arguments.temperature, seed=arguments.seed)


def _output(arguments: argparse.Namespace) -> tuple[Path, bool]:
    """Return the folder of the results, and whether they count as the course's own."""
    whole = set(arguments.families) == set(FAMILIES) and not arguments.methods
    full = arguments.model == COURSE and arguments.profile != "smoke" and not arguments.no_memory
    if arguments.output:
        return arguments.output, False
    if whole and full:
        return results_folder(), True
    return repository() / "runs" / "compare" / "latest", False


def _command(arguments: argparse.Namespace, plan: Plan) -> str:
    words = f"{COMMAND} --profile {arguments.profile} --problems {plan.problems}"
    words += f" --samples {plan.samples} --temperature {plan.temperature} --seed {plan.seed}"
    if arguments.model != COURSE:
        words += f" --model {arguments.model}"
    if arguments.device != "cpu":
        words += f" --device {arguments.device}"
    if arguments.methods:
        words += " --methods " + " ".join(arguments.methods)
    if set(arguments.families) != set(FAMILIES):
        words += " --families " + " ".join(arguments.families)
    return words


def _summary(table: pandas.DataFrame, family: str) -> str:
    """Return one family's main figures as text, the best graph first."""
    mine = table[table["family"] == family]
    classes = select(mine, kind="traces")
    counts = ", ".join(f"{int(r.value)} {r.other}" for r in classes.itertuples())
    right = select(mine, reading="right", difficulty="all", layer=CHOSEN)
    columns = {
        "AUROC": select(right, metric="auroc"),
        "AP": select(right, metric="ap"),
        "F1": select(right, metric="f1"),
        "matched": select(right, metric="matched_auroc"),
        "above best": select(right, metric=GAP),
        "wrong": select(mine, reading="wrong", metric="auroc", layer=CHOSEN),
        "causal": select(mine, metric=f"agreement_with_{REFERENCE}"),
        "stable": select(mine, metric="stability_above_chance"),
        "ms": select(mine, metric="ms_per_trace"),
        "MB": select(table, metric="mb_per_trace"),
    }
    found = {name: rows.set_index("method")["value"] for name, rows in columns.items()}
    order = found["AUROC"].sort_values(ascending=False).index
    lines = [f"\n{family}: {counts}", f"{'graph':28}" + "".join(f"{c:>11}" for c in columns)]
    for method in order:
        cells = [found[name].get(method, math.nan) for name in columns]
        shown = ["" if math.isnan(cell) else f"{cell:.3g}" for cell in cells]
        lines.append(f"{method:28}" + "".join(f"{cell:>11}" for cell in shown))
    return "\n".join(lines)
