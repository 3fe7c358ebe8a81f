"""Run the graph-loss experiment: does training that sees the graph beat plain cross-entropy?

`rgh experiment graph-loss` fine-tunes the model on harder problems than it knows, once for each
arm, number of training problems and seed, and compares greedy solutions: references (no training,
cross-entropy, cross-entropy at equal wall time), graph terms, controls (shuffled graphs, entropy
alone) and what practitioners try (own right solutions, filtered self-training, best of n). The
learning rate is tuned for plain cross-entropy and the strength of every term on validation
problems, with as many tries for each arm. Every unit is kept in runs/experiment, so a killed sweep
continues, and a pilot (--arms --seeds --sizes --steps) leaves units behind that a larger sweep
uses. --estimate says how many units there are and, once some are kept, how long the rest takes.
With --record the course model's result goes to data/results, with figure and claims.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from rg_helpers.artefacts import atomic_path, provenance, write_json
from rg_helpers.course import profiles
from rg_helpers.course.claims import Claim, claim_from_result, write_claims
from rg_helpers.course.folders import repository, results_folder
from rg_helpers.distributed import Needs, connected
from rg_helpers.experiment.arms import ARMS, SHUFFLED_TWIN, title_of
from rg_helpers.experiment.on_nodes import units_on_nodes
from rg_helpers.experiment.plan import Plan, Recipe, main_size
from rg_helpers.experiment.report import HARDEST, REFERENCE, experiment_report
from rg_helpers.experiment.sweep import Given, Sweep, sweep, unit_counts, unit_seconds
from rg_helpers.experiment.workers import Opening
from rg_helpers.language_model import COURSE
from rg_helpers.plots.experiment import draw_experiment
from rg_helpers.plots.style import png_bytes, use_course_style
from rg_helpers.problems import FAMILIES

COMMAND = "rgh experiment graph-loss"
RESULT_NAME, TABLE_NAME = "graph_loss_experiment.json", "graph_loss_experiment.parquet"
FIGURE_NAME = "graph_loss_gains.png"
LEAST_SEEDS = 5  # of a result that is recorded
LEAST_GAIN, MOST_DATA = ">= 0.05", "<= 0.5"
ABOVE = 0.05  # adjusted p-value below which a gain counts

# The cpu profile is cut to fit into hours on two cores: most arms at one size, few of them on a
# ladder of three; the gpu profile has twice the seeds, more problems and a longer ladder.
SMOKE = {
    "arms": ("base", "ce", "ce_equal_time", "alignment", "alignment_shuffled"),
    "families": ("arithmetic",),
    "sizes": (8, 16),
    "seeds": 2,
    "tries": 1,
    "draws": 200,
    "recipe": {
        "steps": 3, "operations": (2, 3), "distractors": (0, 1), "hardest": 4, "other": 2,
        "transfer": 2, "tuning": 2, "graphs": 3, "interventions": 1, "samples": 2,
        "fit_problems": 8, "fit_operations": (2, 3), "longest": 60,
    },
}  # fmt: skip
CPU = {
    "arms": tuple(n for n in ARMS if n not in ("alignment_random_heads", "self_training_random")),
    "families": FAMILIES,
    "sizes": (16, 64, 256),
    "seeds": 5,
    "tries": 3,
    "draws": 4000,
    "recipe": {},
}
GPU = CPU | {
    "arms": tuple(ARMS),
    "sizes": (16, 32, 64, 128, 256, 512),
    "seeds": 10,
    "draws": 10_000,
    "recipe": {
        "steps": 200, "hardest": 400, "other": 200, "transfer": 100, "tuning": 200, "graphs": 60,
        "interventions": 12, "fit_problems": 200, "samples": 8,
    },
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh experiment`."""
    parser.add_argument("experiment", choices=("graph-loss",), help="which experiment")
    parser.add_argument("--profile", default="cpu", choices=tuple(profiles.PROFILES))
    parser.add_argument("--model", default=COURSE, help="course, a local folder or a hub id")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--jobs", type=int, default=1, help="units at once, a process each")
    parser.add_argument(
        "--ray",
        metavar="auto|ADDRESS",
        help="run units on a Ray cluster (extra ray): HOST:PORT, or auto for this machine's; a CPU "
        "each, and a GPU with --device cuda",
    )
    parser.add_argument("--families", nargs="+", choices=FAMILIES)
    parser.add_argument("--arms", nargs="+", help=f"among {', '.join(ARMS)}")
    parser.add_argument("--ladder-arms", nargs="+", help="arms that are run at every size")
    parser.add_argument("--seeds", type=int, help="training sets and orders")
    parser.add_argument("--sizes", nargs="+", type=int, help="numbers of training problems")
    parser.add_argument("--main-size", type=int, help="the size that every arm is run at")
    parser.add_argument("--steps", type=int, help="optimiser steps of a run")
    parser.add_argument("--tries", type=int, choices=(1, 2, 3), help="settings tried for each arm")
    parser.add_argument("--learning-rate", type=float, help="instead of tuning it")
    parser.add_argument(
        "--strength", nargs="+", default=[], metavar="ARM=VALUE", help="instead of tuning it"
    )
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="other choices of the recipe, such as heads=4 layers=1 operations=6,7 hardest=200 "
        "form=kl sink=keep stop_share=0.5",
    )
    parser.add_argument("--keep-models", action="store_true", help="keep every trained model")
    parser.add_argument("--estimate", action="store_true", help="only say how much there is to do")
    parser.add_argument("--output", type=Path, help="folder of the results (no claims then)")
    parser.add_argument(
        "--record", action="store_true", help="write data/results and claims (course model)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh experiment`; writes JSON, a table of all outcomes and a figure, prints a summary."""
    plan, recipe = plan_of(arguments)
    given = Given(arguments.learning_rate, _pairs(arguments.strength))
    if arguments.record:
        _check_recordable(arguments, plan)
    if arguments.ray and arguments.jobs > 1:
        raise ValueError("--jobs is for this machine: with --ray the cluster says, leave it out")
    runs = repository() / "runs" / "experiment"
    threads = profiles.threads(profiles.profile(arguments.profile), arguments.jobs)
    opening = Opening(
        str(arguments.model), arguments.device, recipe, runs, arguments.keep_models, threads
    )
    # With --ray this machine only needs the model's hash and tokenizer, and may have no GPU.
    place = (replace(opening, device="cpu") if arguments.ray else opening).place()
    if arguments.estimate:
        print(estimate(plan, given, place.folder, arguments.jobs))
        return 0
    print(f"units are kept in {place.folder}")
    found = _swept(opening, plan, given, arguments)
    origin = provenance(_command(arguments), 0, arguments.profile)
    origin |= {"model": _model_name(arguments), "model_sha256": place.model_hash}
    origin |= {"threads": threads, "jobs": arguments.jobs}
    if arguments.ray:
        origin |= {"threads": Needs().cpus, "jobs": "as many as the Ray cluster could do"}
    report, table = experiment_report(found, plan, recipe, origin)
    folder = results_folder() if arguments.record else arguments.output or runs / "latest"
    path = write_json(folder / RESULT_NAME, report)
    with atomic_path(folder / TABLE_NAME) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")
    for family in plan.families:
        print(summary(report, family))
    print(f"\nwritten: {path} and {TABLE_NAME}")
    if any(row["against"] == REFERENCE for row in report["comparisons"]):
        figures = repository() / "data" / "figures" if arguments.record else folder
        print(f"written: {write_figure(report, figures / FIGURE_NAME)}")
    if arguments.record:
        print(f"claims merged into {write_claims(claims_of(report, path))}")
    return 0


def _swept(opening: Opening, plan: Plan, given: Given, arguments: argparse.Namespace) -> Sweep:
    """Run the sweep in processes of this machine, or on a Ray cluster."""
    if not arguments.ray:
        return sweep(opening, plan, given, arguments.jobs)
    needs = Needs(gpus=int(arguments.device.startswith("cuda")))
    with connected(arguments.ray):
        return sweep(opening, plan, given, run_all=units_on_nodes(needs))


def plan_of(arguments: argparse.Namespace) -> tuple[Plan, Recipe]:
    """Return plan and recipe of a profile with what was asked for on the command line."""
    size = vars(profiles.sizes(arguments.profile, smoke=SMOKE, cpu=CPU, gpu=GPU))
    choices = dict(size.pop("recipe")) | _choices(arguments.set)
    if arguments.steps is not None:
        choices["steps"] = arguments.steps
    asked = {name: getattr(arguments, name) for name in ("families", "arms", "seeds", "sizes")}
    asked["tries"] = arguments.tries
    size |= {name: value for name, value in asked.items() if value is not None}
    for name in ("families", "arms", "sizes"):
        size[name] = tuple(dict.fromkeys(size[name]))
    size["sizes"] = tuple(sorted(size["sizes"]))
    size["main_size"] = arguments.main_size or main_size(size["sizes"])
    ladder = arguments.ladder_arms or Plan().ladder_arms
    size["ladder_arms"] = tuple(name for name in ladder if name in size["arms"])
    return Plan(**size), Recipe(**choices)


def estimate(plan: Plan, given: Given, folder: Path, jobs: int) -> str:
    """Say how many units a plan has and, from the units kept in `folder`, how long they take."""
    counts = unit_counts(plan, given)
    lines = [f"{counts['tuning']} units to tune, {counts['test']} to measure"]
    known = unit_seconds(folder)
    for purpose, seconds in known.items():
        lines.append(
            f"{purpose} units kept here: {seconds['units']}, median {seconds['seconds']:.0f} s, of "
            f"which {seconds['cpu_seconds']:.0f} s of CPU"
        )
    if "test" in known:
        each = {name: known.get(name, known["test"])["seconds"] for name in counts}
        total = sum(counts[name] * each[name] for name in counts) / max(1, jobs)
        lines.append(f"all of them, {jobs} at a time: about {total / 60:.0f} minutes")
    else:
        lines.append("no unit is kept yet: run a pilot first, such as --arms ce --seeds 1")
    return "\n".join(lines)


def write_figure(report: Mapping[str, Any], path: Path) -> Path:
    """Draw the report's figure, with its alt text and provenance in a JSON file beside it."""
    use_course_style()
    size = report["plan"]["main_size"]
    gains: dict[str, list[dict[str, Any]]] = {}
    for row in _asked(report["comparisons"], against=REFERENCE, size=size, cell=HARDEST):
        drawn = {"title": title_of(row["arm"]), "kind": report["arms"][row["arm"]]["kind"]}
        sure = row["p_holm"] < ABOVE
        gains.setdefault(row["family"], []).append({**row, **drawn, "sure": sure})
    curves: dict[str, list[dict[str, Any]]] = {}
    for row in _asked(report["rows"], cell=HARDEST):
        if row["arm"] in report["plan"]["ladder_arms"]:
            point = {"title": title_of(row["arm"]), "size": row["size"], **row["solved"]}
            curves.setdefault(row["family"], []).append(point)
    title = f"Does the graph loss help? Hardest trained problems, {size} training problems"
    figure = draw_experiment(gains, curves, margin=report["margin"], title=title)
    with atomic_path(path) as temporary:
        temporary.write_bytes(png_bytes(figure))
    record = {"alt": alt_text(gains, size), "provenance": report["provenance"]}
    write_json(path.with_suffix(".json"), record)
    return path


def alt_text(gains: Mapping[str, Any], size: int) -> str:
    """Say in a sentence a family what the figure shows, from its figures."""
    parts = []
    for family, rows in gains.items():
        graph = [row for row in rows if row["kind"] == "graph"]
        if graph:
            best = max(graph, key=lambda row: row["value"])
            sure = sum(row["sure"] and row["value"] > 0 for row in graph)
            parts.append(
                f"in {family} the largest gain of a graph arm is {best['value']:+.2f} "
                f"({best['title']}), and {sure} of {len(graph)} are above zero beyond doubt"
            )
    return (
        f"Gains in solved problems over cross-entropy at equal wall time, {size} training "
        "problems, with intervals, one panel for each family, and accuracy by number of training "
        f"problems below: {'; '.join(parts)}."
    )


def claims_of(report: Mapping[str, Any], path: Path) -> Iterator[Claim]:
    """Yield the claims that a report supports, at its main size and its hardest trained cell."""
    size = report["plan"]["main_size"]
    here = f"of the hardest trained difficulty, {size} training problems"
    for row in _asked(report["rows"], cell=HARDEST):
        if row["size"] in (0, size):
            yield claim_from_result(
                f"train.{row['arm']}.{row['family']}.accuracy_hard",
                f"{row['family']} problems solved {here}: {title_of(row['arm'])}",
                path,
                f"/rows/family={row['family']}&arm={row['arm']}&size={row['size']}"
                f"&cell={HARDEST}/solved",
                "problems",
            )
    for against, name in ((REFERENCE, "ce_equal_time"), ("alignment_shuffled", "shuffled")):
        for row in _asked(report["comparisons"], against=against, size=size, cell=HARDEST):
            graph = report["arms"][row["arm"]]["kind"] == "graph"
            if name == "shuffled" and row["arm"] not in SHUFFLED_TWIN:
                continue
            yield claim_from_result(
                f"train.{row['arm']}.{row['family']}.gain_vs_{name}",
                f"{row['family']} problems solved {here}: {title_of(row['arm'])} minus "
                f"{title_of(against)}",
                path,
                f"/comparisons/family={row['family']}&arm={row['arm']}&against={against}"
                f"&size={size}&cell={HARDEST}",
                "problems",
                LEAST_GAIN if graph and name == "ce_equal_time" else None,
            )
    for row in report["data_ratios"]:
        if row["arm"] != REFERENCE:
            graph = report["arms"][row["arm"]]["kind"] == "graph"
            yield claim_from_result(
                f"train.{row['arm']}.{row['family']}.data_ratio_at_equal_accuracy",
                f"share of the {max(report['plan']['sizes'])} training problems of "
                f"{title_of(REFERENCE)} with which {title_of(row['arm'])} solves as many "
                f"{row['family']} problems (2: never)",
                path,
                f"/data_ratios/family={row['family']}&arm={row['arm']}&against={REFERENCE}",
                "problems",
                MOST_DATA if graph else None,
            )


def summary(report: Mapping[str, Any], family: str) -> str:
    """Return one family's figures at the main size as text."""
    size = report["plan"]["main_size"]
    chosen = report["chosen"][family]
    cells = [cell["name"] for cell in report["cells"]]
    lines = [
        f"\n{family}: {size} training problems, learning rate {chosen['learning_rate']:g}, equal "
        f"time {chosen.get('equal_time_steps', '-')} steps",
        f"{'solved':42}" + "".join(f"{name:>12}" for name in cells) + f"{'length':>8}{'Brier':>7}",
    ]
    mine = [r for r in _asked(report["rows"], family=family) if r["size"] in (0, size)]
    for arm in dict.fromkeys(row["arm"] for row in mine):
        rows = {row["cell"]: row for row in mine if row["arm"] == arm}
        shown = [f"{rows[c]['solved']['value']:.3f}" if c in rows else "" for c in cells]
        hardest = rows.get(HARDEST)
        more = f"{hardest['length']:>8.2f}{hardest['brier']:>7.3f}" if hardest else ""
        lines.append(f"{title_of(arm)[:41]:42}" + "".join(f"{s:>12}" for s in shown) + more)
    for against in (REFERENCE, "alignment_shuffled"):
        asked = _asked(
            report["comparisons"], family=family, against=against, size=size, cell=HARDEST
        )
        lines += [
            f"  {title_of(row['arm'])[:40]:41}- {title_of(against)[:36]:37}{row['value']:+.3f} "
            f"[{row['low']:+.3f}, {row['high']:+.3f}]  Holm p {row['p_holm']:.2g}"
            for row in asked
        ]
    for row in _asked(report["data_ratios"], family=family):
        lines.append(
            f"  {title_of(row['arm'])[:40]:41}needs {row['value']:.2f} [{row['low']:.2f}, "
            f"{row['high']:.2f}] of the problems; reached in {row['reached']:.0%} of draws"
        )
    for row in _asked(report["graphs"], family=family, size=size):
        if "gain" in row:
            lines.append(
                f"  {title_of(row['arm'])[:40]:41}graph: {row['measure']:16}"
                f"{row['value']['value']:.3f}, gain {row['gain']['value']:+.3f} "
                f"[{row['gain']['low']:+.3f}, {row['gain']['high']:+.3f}]"
            )
    return "\n".join(lines)


def _asked(rows: Any, **wanted: Any) -> list[Mapping[str, Any]]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def _pairs(words: list[str]) -> dict[str, float]:
    found = {}
    for word in words:
        name, sign, value = word.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            sign = ""
        if not sign or not found[name] >= 0:
            raise ValueError(f"--strength {word}: expected ARM=VALUE, such as alignment=0.05")
    return found


def _choices(words: list[str]) -> dict[str, Any]:
    """Read NAME=VALUE words as fields of the recipe; several values are joined by commas."""
    known = {field.name: str(field.type) for field in fields(Recipe)}
    found: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or name not in known:
            raise ValueError(
                f"--set {word}: expected NAME=VALUE with one of {', '.join(known)}, such as heads=4"
            )
        kind = known[name]
        try:
            if "tuple" in kind:
                found[name] = tuple(int(part) for part in value.split(","))
            elif kind == "bool":
                found[name] = {"true": True, "false": False}[value.lower()]
            elif kind == "str":
                found[name] = value
            else:
                found[name] = float(value) if kind == "float" else int(value)
        except (ValueError, KeyError) as error:
            raise ValueError(f"--set {word}: {value!r} is no {kind}") from error
    return found


def _check_recordable(arguments: argparse.Namespace, plan: Plan) -> None:
    """Raise `ValueError` unless the run can stand in the ledger: seeds, references, controls."""
    needed = {"base", "ce", REFERENCE, "alignment", "alignment_shuffled"}
    missing = needed - set(plan.arms)
    if arguments.model != COURSE or arguments.profile == "smoke" or arguments.output:
        raise ValueError(
            "--record is for the course model, the cpu or gpu profile and no --output: leave "
            "--record out"
        )
    if missing or plan.seeds < LEAST_SEEDS:
        raise ValueError(
            f"--record needs at least {LEAST_SEEDS} seeds and the arms {', '.join(sorted(needed))}"
            f" (missing: {', '.join(sorted(missing)) or 'none'}): add them, or leave --record out"
        )


def _model_name(arguments: argparse.Namespace) -> str:
    model = str(arguments.model)
    return Path(model).name if re.search(r"^[/~.]", model) else model


def _command(arguments: argparse.Namespace) -> str:
    words = f"{COMMAND} --profile {arguments.profile}"
    if str(arguments.model) != COURSE:
        words += f" --model {_model_name(arguments)}"
    if arguments.device != "cpu":
        words += f" --device {arguments.device}"
    lists = ("families", "arms", "ladder_arms", "sizes", "strength", "set")
    for name in lists:
        if getattr(arguments, name):
            values = " ".join(map(str, getattr(arguments, name)))
            words += f" --{name.replace('_', '-')} {values}"
    for name in ("seeds", "main_size", "steps", "tries", "learning_rate"):
        if getattr(arguments, name) is not None:
            words += f" --{name.replace('_', '-')} {getattr(arguments, name)}"
    words += f" --jobs {arguments.jobs}" if arguments.jobs > 1 else ""
    words += " --ray auto" if arguments.ray else ""
    return words + (" --record" if arguments.record else "")
