"""Score your own solutions with your own model: graphs, features, baselines, risks, report.

TRACES is JSONL, a line with a prompt and a solution: columns prompt + solution (or completion,
response), question + answer, problem + steps, chat messages, GSM8K's files with several models'
solutions, or what `rgh traces` wrote; other columns are kept. Everything goes into --out as it is
finished: a run that was stopped, or whose bad lines were repaired, does only what is missing.
Where a label is known (a column such as `correct`) the report of `rgh predict` is made, and
--save-predictor keeps an error predictor that --predictor applies to other files.
The method judge asks a model behind a server (--judge-url, --judge-model) and prints what it cost;
with --judge-correctness the same model labels the solutions that have no label.

Exit code: 0 all lines were scored, 1 some were left out (left_out.jsonl says why of each; the rest
is done), 2 nothing could be done. Weights are read as safetensors only, never as pickles.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from pathlib import Path
from typing import Any

import pandas

from rg_helpers.artefacts import atomic_path, write_json
from rg_helpers.course import profiles
from rg_helpers.course.commands import predict
from rg_helpers.course.left_out import EXIT_LEFT_OUT, SHOWN
from rg_helpers.distributed import Needs, connected
from rg_helpers.error_prediction.labels import TARGETS
from rg_helpers.error_prediction.report import Settings, flat_rows
from rg_helpers.graphs.methods import find_method
from rg_helpers.language_model import COURSE
from rg_helpers.quantised import BITS
from rg_helpers.scoring.apply import PREDICTIONS, Predictions, apply_predictor, predictor_of
from rg_helpers.scoring.correctness import Judged, judge_correctness
from rg_helpers.scoring.draw import METHODS, RECORD, Scored, draw_solutions, positions_of
from rg_helpers.scoring.judging import CURE, NAME_BOTH, Judge
from rg_helpers.scoring.predictor import load_predictor, save_predictor
from rg_helpers.scoring.report import report_solutions
from rg_helpers.scoring.safe_model import load_safely
from rg_helpers.scoring.segmentation import AUTO, RULES
from rg_helpers.scoring.solution_file import read_solutions
from rg_helpers.scoring.tables import BASELINE_TABLE, FEATURE_TABLE, LEFT_OUT, STEP_TABLE

COMMAND = "rgh score"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh score`."""
    parser.add_argument("traces", type=Path, help="JSONL file of prompts and solutions")
    parser.add_argument("--model", default=COURSE, help="reader: course, a folder or a hub id")
    parser.add_argument("--out", type=Path, required=True, help="folder for all results")
    parser.add_argument(
        "--methods", nargs="+", default=list(METHODS), help="graph methods, by commas or spaces"
    )
    parser.add_argument(
        "--steps", default=AUTO, choices=(AUTO, *RULES), help="how solutions are cut into steps"
    )
    parser.add_argument("--predictor", type=Path, help="folder of an error predictor to apply")
    parser.add_argument("--save-predictor", type=Path, help="folder to keep one fitted here")
    parser.add_argument("--target", default="wrong_answer", choices=TARGETS)
    parser.add_argument("--memory", type=float, metavar="GIB", help="most memory, model included")
    parser.add_argument("--bf16", action="store_true", help="load the model in bfloat16")
    parser.add_argument("--bits", type=int, choices=BITS, help="round the weights while loading")
    parser.add_argument("--adapter", help="LoRA adapter for --model: a folder or a hub id")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--ray",
        metavar="auto|ADDRESS",
        help="draw on a Ray cluster (extra ray): HOST:PORT, or auto for this machine's; a CPU for "
        "each chunk, and a GPU with --device cuda",
    )
    parser.add_argument("--limit", type=int, help="only the first so many lines")
    parser.add_argument("--no-report", action="store_true", help="leave the report out")
    parser.add_argument("--networks", nargs="*", default=[], choices=predict.NETWORKS)
    parser.add_argument("--profile", default="cpu", choices=tuple(profiles.PROFILES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=profiles.cores(), help="processes for fits")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="run code that comes with the model"
    )
    judge = parser.add_argument_group(
        "a judge", "draws graphs with judge among the --methods, or labels solutions"
    )
    judge.add_argument("--judge-url", help="OpenAI-compatible server: http://localhost:8000/v1")
    judge.add_argument("--judge-model", help="the name under which the server offers its model")
    judge.add_argument(
        "--judge-prices",
        type=float,
        nargs=2,
        metavar=("IN", "OUT"),
        help="what a million prompt tokens and a million reply tokens cost",
    )
    judge.add_argument(
        "--judge-correctness",
        action="store_true",
        help="ask whether solutions without a label are right, and where they go wrong",
    )
    judge.add_argument("--judge-timeout", type=float, default=120.0, help="seconds, a request")


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh score`; prints what was done and what was left out."""
    methods = _methods(arguments.methods)
    predictor = None if arguments.predictor is None else load_predictor(arguments.predictor)
    if predictor is not None:
        methods = predictor.making.methods
    if arguments.ray and arguments.trust_remote_code:
        raise ValueError("code that comes with a model does not travel to nodes: leave --ray out")
    if arguments.ray and arguments.bits:
        raise ValueError("weights in few bits do not travel to nodes: leave --ray or --bits out")
    model, tokenizer = load_safely(
        arguments.model,
        device="cpu" if arguments.ray else arguments.device,
        bfloat16=arguments.bf16,
        trust_remote_code=arguments.trust_remote_code,
        bits=arguments.bits,
        adapter=arguments.adapter,
    )
    limits = {"limit": arguments.limit, "positions": positions_of(model)}
    solutions = read_solutions(arguments.traces, tokenizer, arguments.steps, **limits)
    judge = _judge(arguments)
    judged = None
    if arguments.judge_correctness:
        if judge is None:
            raise ValueError(f"--judge-correctness {NAME_BOTH}")
        judged = judge_correctness(solutions, judge, arguments.out)
        print(judged.words(judge))
        solutions = judged.solutions
    wanted = not arguments.no_report and predictor is None
    needs = Needs(gpus=int(arguments.device.startswith("cuda"))) if arguments.ray else None
    with connected(arguments.ray) if arguments.ray else contextlib.nullcontext():
        scored = draw_solutions(
            solutions,
            model,
            arguments.out,
            methods,
            memory=arguments.memory,
            probes=None if wanted else False,
            judge=judge,
            fit=predictor.fit if predictor else "auto",
            nodes=needs,
            seed=arguments.seed,
            command=_command(arguments),
            say=print,
        )
    del model
    _print(scored)
    if predictor is not None:
        _print_risks(apply_predictor(scored, predictor, arguments.seed), arguments.out)
    if arguments.save_predictor is not None:
        fitted = predictor_of(scored, _name(arguments.model), arguments.target, arguments.seed)
        save_predictor(arguments.save_predictor, fitted)
        measured = fitted.making.auroc
        words = "not measured, too few problems" if measured is None else _interval(measured)
        print(f"written: an error predictor in {arguments.save_predictor}; AUROC on held-out "
              f"problems: {words}")  # fmt: skip
    if wanted and scored.survey.labelled:
        _report(scored, arguments, judged)
    elif wanted:
        print("no report: no line has a label, such as a column `correct` with true or false")
    faults = judged.faults if judged else ()
    if faults:
        print(f"{len(faults)} not judged, and without label:", file=sys.stderr)
        for line in faults[:SHOWN]:
            print(f"  {line}", file=sys.stderr)
    return EXIT_LEFT_OUT if scored.left_out or faults else 0


def _report(scored: Scored, arguments: argparse.Namespace, judged: Judged | None) -> None:
    """Make the report of `rgh predict`; where it cannot be made, say why."""
    size = profiles.sizes(
        arguments.profile,
        smoke={"draws": 200, "side_draws": 100, "epochs": 2},
        cpu={"draws": 10_000, "side_draws": 2000, "epochs": 20},
        gpu={"draws": 10_000, "side_draws": 2000, "epochs": 20},
    )
    settings = Settings(
        target=arguments.target,
        graph_networks=tuple(arguments.networks),
        seed=arguments.seed,
        **vars(size),
    )
    try:
        report = report_solutions(
            scored,
            settings,
            memory=arguments.memory,
            command=_command(arguments),
            profile=arguments.profile,
            jobs=arguments.jobs,
        )
    except ValueError as error:
        print(f"no report: {error}")
        return
    report["file"] = {"name": arguments.traces.name}
    report["model"] = _name(arguments.model)
    if judged is not None:
        about = {"solutions": len(scored.solutions.judged), "agreement": judged.agreement}
        report["labelled_by_a_judge"] = {"model": arguments.judge_model, **about}
    path = write_json(arguments.out / predict.RESULT_NAME, report)
    rows = pandas.DataFrame(flat_rows(report))
    with atomic_path(arguments.out / predict.TABLE_NAME) as temporary:
        rows.to_parquet(temporary)
    for family, found in report["families"].items():
        print(predict.summary(family, found))
    print(f"\nwritten: {path} and {predict.TABLE_NAME}")
    if any("rows" in found for found in report["families"].values()):
        figure = predict.write_figure(report, arguments.out / predict.FIGURE_NAME)
        print(f"written: {figure}")


def _print(scored: Scored) -> None:
    """Say what was scored, what was kept from before, and what was left out."""
    done = scored.survey.solutions + scored.survey.left_out - scored.left_out
    drawn = ", ".join(f"{name} {count}" for name, count in scored.drawn.items())
    print(f"{done} solutions scored; worked out in this run: {drawn}")
    for note in scored.notes:
        print(f"  {note}")
    tables = ", ".join((BASELINE_TABLE, FEATURE_TABLE, STEP_TABLE))
    print(f"written: {scored.folder / RECORD}, {tables}, graphs/")
    if scored.left_out:
        print(f"{scored.left_out} left out, each with its reason in {LEFT_OUT}:", file=sys.stderr)
        for line in scored.examples[:SHOWN]:
            print(f"  {line}", file=sys.stderr)


def _print_risks(found: Predictions, out: Path) -> None:
    for note in found.notes:
        print(f"  {note}")
    riskiest = found.table.nlargest(3, "risk")
    words = ", ".join(f"line {row.line} ({row.risk:.2f})" for row in riskiest.itertuples())
    print(f"written: {out / PREDICTIONS}; riskiest: {words}")
    if found.auroc is not None:
        print(f"AUROC of the predictor on {found.judged} labelled solutions of problems that it "
              f"has not seen: {_interval(found.auroc)}")  # fmt: skip


def _judge(arguments: argparse.Namespace) -> Judge | None:
    """Return the judge that is named, None for none; an address without a name is refused."""
    if arguments.judge_model is None:
        if arguments.judge_url is not None:
            raise ValueError(f"--judge-url without --judge-model: {CURE}")
        return None
    prices = None if arguments.judge_prices is None else tuple(arguments.judge_prices)
    settings = {"timeout": arguments.judge_timeout}
    return Judge(arguments.judge_model, arguments.judge_url, prices, settings=settings)


def _methods(given: list[str]) -> tuple[str, ...]:
    names = [name for word in given for name in word.split(",") if name]
    for name in names:
        find_method(name)
    if not names:
        raise ValueError("--methods names no method: for example attention,text")
    return tuple(dict.fromkeys(names))


def _interval(found: dict[str, Any]) -> str:
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _name(model: str) -> str:
    return Path(model).name if Path(model).exists() or re.search(r"^[/~.]", model) else model


def _command(arguments: argparse.Namespace) -> str:
    """Return the command without the paths of this machine."""
    words = f"{COMMAND} {arguments.traces.name} --model {_name(arguments.model)}"
    words += f" --methods {','.join(_methods(arguments.methods))} --steps {arguments.steps}"
    for name in ("predictor", "save_predictor"):
        if getattr(arguments, name) is not None:
            words += f" --{name.replace('_', '-')} {getattr(arguments, name).name}"
    if arguments.judge_model is not None:
        words += f" --judge-model {arguments.judge_model}"
        words += " --judge-correctness" if arguments.judge_correctness else ""
    if arguments.limit is not None:
        words += f" --limit {arguments.limit}"
    words += " --bf16" if arguments.bf16 else ""
    words += f" --bits {arguments.bits}" if arguments.bits else ""
    words += f" --adapter {_name(arguments.adapter)}" if arguments.adapter else ""
    words += " --ray auto" if arguments.ray else ""
    return f"{words} --target {arguments.target} --seed {arguments.seed}"
