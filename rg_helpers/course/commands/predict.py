"""Predict which solutions are wrong: baselines, graphs, what graphs add, on any traces file.

The file is JSONL as `rgh traces` writes it, or one's own with columns prompt, solution, problem_id
and correct (or first_wrong_step). Printed and saved are, per family of problems: every baseline,
every graph family, graph networks, increments over what is known without graphs, controls, transfer
between families and difficulties, the first wrong step and the kind of error. Graphs and states are
kept in runs/predict, so a second run is cheap. With --record the figures of the course's own traces
go to data/results and into the ledger of claims. Exit code 1: some lines could not be read
(left_out.jsonl in the folder of results, or of the run, says why of each), the rest is predicted.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas

from rg_helpers.artefacts import atomic_path, read_json, sha256_of, write_json
from rg_helpers.course import profiles
from rg_helpers.course.claims import Claim, claim_from_result, write_claims
from rg_helpers.course.folders import repository, results_folder
from rg_helpers.course.left_out import tell_left_out
from rg_helpers.error_prediction.entrants import EVERY, title
from rg_helpers.error_prediction.inputs import METHODS
from rg_helpers.error_prediction.labels import TARGETS
from rg_helpers.error_prediction.report import Settings, flat_rows, predict_report
from rg_helpers.error_prediction.trace_set import load_trace_set
from rg_helpers.graphs.methods import find_method
from rg_helpers.language_model import COURSE, load_model
from rg_helpers.plots import draw_prediction, use_course_style
from rg_helpers.plots.style import png_bytes
from rg_helpers.problems import FAMILIES
from rg_helpers.tokenizer import build_tokenizer

COMMAND = "rgh predict"
RESULT_NAME, TABLE_NAME, FIGURE_NAME = "predict.json", "predict.parquet", "prediction.png"
NO_MODEL = "none"
NETWORKS = ("gcn", "gin", "gatv2")
INCREMENT, MODEL_INCREMENT = f"{EVERY}_graphs", f"{EVERY}_model_graphs"
INCREMENTS = {  # those that the ledger holds
    INCREMENT: ("delta_auroc", "all graphs"),
    MODEL_INCREMENT: ("delta_auroc_model_graphs", "the graphs that the model draws"),
}
LOCATOR = "everything"  # the block that the ledger holds, whichever does best
ATTENTION = ("attention_logistic", "attention_boosting")
LEAST_AUROC, LEAST_F1, MOST_MINUTES = ">= 0.75", ">= 0.80", "<= 5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh predict`."""
    parser.add_argument("traces", type=Path, help="JSONL file of traces")
    parser.add_argument(
        "--model", default=COURSE, help="model that reads: course, a folder, a hub id, or none"
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="graph methods")
    parser.add_argument("--target", default="wrong_answer", choices=TARGETS)
    parser.add_argument("--families", nargs="+", help="only these families of problems")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--profile", default="cpu", choices=tuple(profiles.PROFILES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--jobs", type=int, default=profiles.cores(), help="processes that share the fits"
    )
    parser.add_argument("--out", type=Path, help="folder (default: runs/predict/<file>-<target>)")
    parser.add_argument(
        "--record", action="store_true", help="write data/results and claims (course's own traces)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh predict`; prints a table a family, writes data and one figure."""
    if arguments.record:
        _check_own(arguments)
    for name in arguments.methods:
        find_method(name)
    size = profiles.sizes(
        arguments.profile,
        smoke={"draws": 200, "side_draws": 100, "epochs": 2, "fit_problems": 6},
        cpu={"draws": 10_000, "side_draws": 2000, "epochs": 20, "fit_problems": 40},
        gpu={"draws": 10_000, "side_draws": 2000, "epochs": 20, "fit_problems": 100},
    )
    model = tokenizer = None
    if arguments.model != NO_MODEL:
        model, tokenizer = load_model(arguments.model, device=arguments.device)
    # Without a model any tokenizer serves: only texts are read then.
    trace_set, bad = load_trace_set(arguments.traces, tokenizer or build_tokenizer())
    runs = repository() / "runs" / "predict"
    name = f"{arguments.traces.stem}-{arguments.target}"
    code = tell_left_out(bad, arguments.out or runs / name)
    if arguments.families:
        trace_set = trace_set.where([f in arguments.families for f in trace_set.families])
    settings = Settings(
        target=arguments.target,
        methods=tuple(dict.fromkeys(arguments.methods)),
        graph_networks=tuple(arguments.networks),
        seed=arguments.seed,
        **vars(size),
    )
    report = predict_report(
        trace_set,
        model,
        tokenizer,
        settings,
        folder=runs / "kept",
        command=_command(arguments),
        profile=arguments.profile,
        jobs=arguments.jobs,
    )
    report["file"] = {"name": arguments.traces.name, "sha256": sha256_of(arguments.traces)}
    report["model"] = str(arguments.model)
    folder = results_folder() if arguments.record else arguments.out or runs / name
    path = write_json(folder / RESULT_NAME, report)
    table = pandas.DataFrame(flat_rows(report))
    with atomic_path(folder / TABLE_NAME) as temporary:
        table.to_parquet(temporary)
    for family, found in report["families"].items():
        print(summary(family, found))
    print(f"\nwritten: {path} and {TABLE_NAME}")
    figures = repository() / "data" / "figures" if arguments.record else folder
    if any("rows" in found for found in report["families"].values()):
        print(f"written: {write_figure(report, figures / FIGURE_NAME)}")
    if arguments.record:
        print(f"claims merged into {write_claims(claims_of(report, path))}")
    return code


def write_figure(report: Mapping[str, Any], path: Path) -> Path:
    """Draw the report's figure, with its alt text and provenance in a JSON file beside it."""
    use_course_style()
    rows = {name: found["rows"] for name, found in report["families"].items() if "rows" in found}
    rows = {name: [r for r in found if _shown(r)] for name, found in rows.items()}
    gains = {
        name: [
            {"title": title(n), **gain}
            for n, gain in report["families"][name]["increments"].items()
        ]
        for name in rows
    }
    words = {"wrong_answer": "wrong answers", "flawed": "flawed solutions"}[report["target"]]
    figure = draw_prediction(
        rows, gains, margin=report["settings"]["margin"], title=f"Which signals tell {words}?"
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(png_bytes(figure))
    record = {"alt": alt_text(rows, gains, words), "provenance": report["provenance"]}
    write_json(path.with_suffix(".json"), record)
    return path


def alt_text(rows: Mapping[str, Any], gains: Mapping[str, Any], words: str) -> str:
    """Say in a sentence a family what the figure shows, from its figures."""
    parts = []
    for family, found in rows.items():
        base = max((r for r in found if r["kind"] == "baseline"), key=lambda r: r["auroc"]["value"])
        graph = max((r for r in found if r["kind"] == "graph"), key=lambda r: r["auroc"]["value"])
        sure = sum(gain["low"] > 0 and gain["p_holm"] < 0.05 for gain in gains[family])
        parts.append(
            f"in {family} the best baseline is {base['title']} ({base['auroc']['value']:.2f}), the "
            f"best graph predictor {graph['title']} ({graph['auroc']['value']:.2f}), and "
            f"{sure} of {len(gains[family])} increments by graphs lie above zero after Holm's "
            "correction"
        )
    return (
        f"AUROC for {words} of baselines, graphs and both, with intervals, and below what graphs "
        f"add: {'; '.join(parts)}."
    )


def claims_of(report: Mapping[str, Any], path: Path) -> Iterator[Claim]:
    """Yield the claims that a report supports."""
    yield claim_from_result(
        "predict.minutes_per_1000_traces",
        "minutes that the report on 1,000 traces takes, with all graphs kept from a run before",
        path,
        "/cost/minutes_per_1000_traces",
        "runs",
        MOST_MINUTES,
    )
    for family, found in report["families"].items():
        for row in found.get("rows", ()):
            for metric in ("auroc", "within_problem_auc"):
                if row[metric] is None or row["kind"] not in ("baseline", "graph"):
                    continue
                bar = LEAST_AUROC if row["name"] in ATTENTION and metric == "auroc" else None
                yield claim_from_result(
                    f"predict.{row['name']}.{family}.{metric}",
                    f"{metric.replace('_', ' ').replace('auc', 'AUC').replace('auroc', 'AUROC')} "
                    f"for wrong answers in {family}: {row['title']}",
                    path,
                    f"/families/{family}/rows/name={row['name']}/{metric}",
                    "problems",
                    bar,
                )
        for name, (score, words) in INCREMENTS.items():
            if name in found.get("increments", {}):
                yield claim_from_result(
                    f"predict.increment.{family}.{score}",
                    f"AUROC gained in {family} by {words} over every baseline",
                    path,
                    f"/families/{family}/increments/{name}",
                    "problems",
                )
        located = {row["name"] for row in found.get("first_wrong_step", {}).get("rows", ())}
        if LOCATOR in located:
            yield claim_from_result(
                f"predict.first_wrong_step.{family}.f1",
                f"F1 of the first wrong step in {family}, from all that is known of a step",
                path,
                f"/families/{family}/first_wrong_step/rows/name={LOCATOR}/f1",
                "problems",
                LEAST_F1,
            )


def summary(family: str, found: Mapping[str, Any]) -> str:
    """Return one family's figures as text."""
    head = (
        f"\n{family}: {found['traces']} traces of {found['problems']} problems, "
        f"{found['base_rate']:.1%} wrong, {found['mixed_problems']} problems with both classes"
    )
    if "skipped" in found:
        return f"{head}\n  not measured: {found['skipped']}"
    lines = [
        head,
        f"{'':44}{'AUROC':>22}{'within':>8}{'AUPR':>8}{'bal.acc':>8}{'FPR95':>8}{'Brier':>8}",
    ]
    for row in found["rows"]:
        cells = [
            row[m] for m in ("within_problem_auc", "aupr", "balanced_accuracy", "fpr95", "brier")
        ]
        shown = "".join(
            f"{'' if cell is None else format(cell['value'], '.3f'):>8}" for cell in cells
        )
        lines.append(f"{row['title'][:43]:44}{_interval(row['auroc']):>22}{shown}")
    for part, words in (("increments", "gain"), ("over_rewired", "gain over rewired")):
        for name, gain in found[part].items():
            lines.append(
                f"  {words}: {title(name)[:55]:56}{_interval(gain, '+.3f')}  Holm p "
                f"{gain['p_holm']:.2g}, within +-{gain['margin']}: p {gain['p_equivalent']:.2g}"
            )
    located = found["first_wrong_step"]
    for row in located.get("rows", ()):
        lines.append(
            f"  first wrong step, {row['name'].replace('_', ' '):22}F1 {_interval(row['f1'])}"
        )
    for example in located.get("examples", ())[:2]:
        lines.append(f"  {example['evidence']}")
    for part in ("length_matched", "coefficients", "first_wrong_step", "error_types"):
        if "skipped" in found[part]:
            lines.append(f"  {part.replace('_', ' ')}: not measured ({found[part]['skipped']})")
    return "\n".join(lines)


def _shown(row: Mapping[str, Any]) -> bool:
    return row["kind"] != "increment"


def _interval(found: Mapping[str, Any], form: str = ".3f") -> str:
    return f"{found['value']:{form}} [{found['low']:{form}}, {found['high']:{form}}]"


def _check_own(arguments: argparse.Namespace) -> None:
    """Raise `ValueError` unless the file holds the course model's own traces, sampled whole."""
    record_path = arguments.traces.with_suffix(".json")
    record = read_json(record_path) if record_path.is_file() else {}
    own = record.get("model") == COURSE and set(record.get("families", ())) == set(FAMILIES)
    default = set(arguments.methods) == set(METHODS) and set(arguments.networks) == set(NETWORKS)
    default &= not (arguments.out or arguments.families)
    if not own or arguments.model != COURSE or arguments.target != "wrong_answer" or not default:
        raise ValueError(
            "--record is for the course model's traces of all families, read by the course model "
            "with all default methods, target wrong_answer and no --out: sample them with `rgh "
            "traces`, or leave --record out"
        )
    if arguments.profile == "smoke":
        raise ValueError("the smoke profile measures nothing: use --profile cpu with --record")


def _command(arguments: argparse.Namespace) -> str:
    path, root = arguments.traces.resolve(), repository().resolve()
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    words = f"{COMMAND} {name} --target {arguments.target}"
    words += f" --profile {arguments.profile} --seed {arguments.seed}"
    model = str(arguments.model)
    if model != COURSE:
        words += f" --model {Path(model).name if re.search(r'^[/~.]', model) else model}"
    if set(arguments.methods) != set(METHODS):
        words += f" --methods {' '.join(arguments.methods)}"
    if set(arguments.networks) != set(NETWORKS):
        words += f" --networks {' '.join(arguments.networks)}"
    if arguments.families:
        words += f" --families {' '.join(arguments.families)}"
    return words + (" --record" if arguments.record else "")
