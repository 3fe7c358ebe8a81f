"""Measure GSM8K's graphs, a reader model, and what graphs tell of real models' solutions.

DATA is a folder that you keep: GSM8K's train.jsonl and example_model_solutions.jsonl, from
https://github.com/openai/grade-school-math (folder grade_school_math/data), or let --download fetch
them. Three parts: how far the calculator annotations give graphs; what the reader (`rgh reader`
trains one; any folder or hub id will do) can do itself; and the report of `rgh predict` on
solutions that real models wrote. Without a reader, text and form alone are measured. Nothing of the
data is written to data/, texts and traces stay in runs/gsm8k.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rg_helpers.artefacts import provenance, read_json, sha256_of, write_json
from rg_helpers.course import profiles
from rg_helpers.course.claims import Claim, claim_from_result, write_claims
from rg_helpers.course.commands import predict
from rg_helpers.course.folders import repository, results_folder
from rg_helpers.datasets.annotations import measure_annotations
from rg_helpers.datasets.model_solutions import FAMILY, label_agreement, read_model_solutions
from rg_helpers.datasets.overlap import count_degrees, find_copies, find_overlap
from rg_helpers.datasets.reader import held_out, reader_text, reference_trace
from rg_helpers.datasets.reader_quality import (
    greedy_solutions,
    measure_solving,
    solution_losses,
    token_log_frequencies,
)
from rg_helpers.datasets.solution_report import INCREMENT, annotated_fit, writer_report
from rg_helpers.datasets.sources import SOLUTIONS, TRAIN, download_gsm8k, find_file
from rg_helpers.datasets.summaries import annotation_summary, reader_summary, writer_summary
from rg_helpers.datasets.word_problems import WordProblem, read_word_problems
from rg_helpers.error_prediction.inputs import prediction_inputs
from rg_helpers.error_prediction.report import Settings, predict_report
from rg_helpers.error_prediction.trace_set import TraceSet
from rg_helpers.graphs.methods import find_method
from rg_helpers.language_model import load_model
from rg_helpers.tokenizer import build_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

COMMAND = "rgh gsm8k"
PARTS = ("annotations", "reader", "report")
RESULTS = {part: f"gsm8k_{part}.json" for part in PARTS}
FIGURE = "gsm8k_prediction.png"
METHODS = ("attention", "attention_gradient", "cluster", "text")
LEAST_CONSISTENT = ">= 0.97"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh gsm8k`."""
    parser.add_argument("--data", type=Path, required=True, help="folder with GSM8K's files")
    parser.add_argument("--download", action="store_true", help="fetch them into it first")
    parser.add_argument(
        "--reader", default=predict.NO_MODEL, help="reader: a folder, a hub id, or none (default)"
    )
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="graph methods")
    parser.add_argument(
        "--networks", nargs="*", default=list(predict.NETWORKS), choices=predict.NETWORKS
    )
    parser.add_argument("--limit", type=int, help="only the first so many problems with solutions")
    parser.add_argument("--profile", default="cpu", choices=tuple(profiles.PROFILES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, help="folder (default: runs/gsm8k)")
    parser.add_argument("--record", action="store_true", help="write data/results and claims")


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh gsm8k`; prints what each part found and writes one result file a part."""
    _check(arguments)
    if arguments.download:
        download_gsm8k(arguments.data)
    train_file = find_file(arguments.data, TRAIN)
    solutions_file = find_file(arguments.data, SOLUTIONS)
    train, bad = read_word_problems(train_file)
    test, more_bad = read_word_problems(solutions_file)
    for line in [*bad, *more_bad][:3]:
        print(f"left out: {line}")
    test = test[: arguments.limit]
    about = {
        "provenance": provenance(_command(arguments), arguments.seed, arguments.profile),
        "files": {path.name: sha256_of(path) for path in (train_file, solutions_file)},
    }
    results = results_folder() if arguments.record else _folder(arguments)
    claims: list[Claim] = []

    def keep(part: str, found: Mapping[str, Any]) -> Path:
        path = write_json(results / RESULTS[part], {**about, **found})
        print(f"written: {path}\n")
        return path

    if "annotations" in arguments.parts:
        found = measure_annotations(train, arguments.seed)
        found["copies"] = {
            "within_train": count_degrees(find_copies(train)),
            "test_in_train": count_degrees(find_overlap(train, test)),
            "test": len(test),
        }
        print(annotation_summary(found))
        path = keep("annotations", found)
        if arguments.record:
            claims += annotation_claims(path)
    model = tokenizer = None
    if arguments.reader != predict.NO_MODEL and set(arguments.parts) & {"reader", "report"}:
        model, tokenizer = load_model(arguments.reader, device=arguments.device)
    if "reader" in arguments.parts and model is None:
        print(
            "no reader: its part is left out, and the report reads text and form alone. Train one "
            f"with `rgh reader --data {arguments.data}`, or name any model with --reader\n"
        )
    trace_set = _solutions(solutions_file, tokenizer, model, arguments)
    if "reader" in arguments.parts and model is not None:
        found = reader_figures(model, tokenizer, trace_set, train, test, arguments.seed)
        found["reader"] = _reader_record(arguments.reader)
        print(reader_summary(found))
        path = keep("reader", found)
        if arguments.record:
            claims += reader_claims(path)
    if "report" in arguments.parts:
        found = _report(arguments, trace_set, train, model, tokenizer)
        print(predict.summary(FAMILY, found["families"][FAMILY]))
        print(writer_summary(found["writers"]))
        print("labels: comparing answers gives {agreeing} of {compared}".format(**found["labels"]))
        path = keep("report", found)
        if "rows" in found["families"][FAMILY]:
            figures = repository() / "data" / "figures" if arguments.record else results
            print(f"written: {predict.write_figure({**about, **found}, figures / FIGURE)}")
        if arguments.record:
            claims += report_claims(found, path)
    if claims:
        print(f"claims merged into {write_claims(claims)}")
    return 0


def reader_figures(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    trace_set: TraceSet,
    train: Sequence[WordProblem],
    test: Sequence[WordProblem],
    seed: int = 0,
) -> dict[str, Any]:
    """Return how well the reader foresees solutions and how many problems it solves."""
    read = trace_set.read
    wrong = np.array([bool(label.wrong_answer) for label in read.labels])
    unseen = [problem for problem in train if held_out(problem)]
    groups = {
        "held_out_references": [reference_trace(tokenizer, problem) for problem in unseen],
        "test_references": [reference_trace(tokenizer, problem) for problem in test],
        "right_solutions": read.where(~wrong).traces,
        "wrong_solutions": read.where(wrong).traces,
    }
    seen = [reader_text(problem) for problem in train if not held_out(problem)]
    entries = max(model.get_input_embeddings().num_embeddings, len(tokenizer))
    frequencies = token_log_frequencies(tokenizer(seen).input_ids, entries)
    return {
        "losses": solution_losses(model, groups, frequencies, seed=seed),
        "solving": measure_solving(greedy_solutions(model, tokenizer, test), test, train),
    }


def annotation_claims(path: Path) -> Iterator[Claim]:
    """Yield the claims about annotations."""
    for name, words in (
        ("lines_parsed", "annotated lines of GSM8K's training solutions that are parsed"),
        ("operands_resolved", "operands of these lines whose source is found"),
        ("lines_consistent", "annotated lines that give a consistent graph"),
    ):
        bar = LEAST_CONSISTENT if name == "lines_consistent" else None
        unit = "operands" if name.startswith("operands") else "lines"
        id, words = f"gsm8k.annotations.{name}", f"Share of {words}"
        yield claim_from_result(id, words, path, f"/{name}", unit, bar)


def reader_claims(path: Path) -> Iterator[Claim]:
    """Yield the claims about the reader."""
    yield claim_from_result(
        "gsm8k.reader.perplexity",
        "Perplexity of the reader on reference solutions of GSM8K's test problems",
        path,
        "/losses/name=test_references/perplexity",
        "problems",
    )
    for name, words in (
        ("accuracy", "that the reader solves greedily"),
        ("most_common_answer", "solved by the most common answer of the training problems"),
    ):
        yield claim_from_result(
            f"gsm8k.reader.{name}",
            f"Share of GSM8K's test problems {words}",
            path,
            f"/solving/{name}",
            "problems",
        )


def report_claims(found: Mapping[str, Any], path: Path) -> Iterator[Claim]:
    """Yield the claims about predicting wrong answers of real models' solutions."""
    within = {"auroc": "AUROC", "within_problem_auc": "Within-problem AUC"}
    family = found["families"][FAMILY]
    for row in family.get("rows", ()):
        for metric, words in within.items():
            if row["kind"] in ("baseline", "graph") and row[metric] is not None:
                yield claim_from_result(
                    f"gsm8k.predict.{row['name']}.{metric}",
                    f"{words} for wrong answers of real models on GSM8K: {row['title']}",
                    path,
                    f"/families/{FAMILY}/rows/name={row['name']}/{metric}",
                    "problems",
                )
    for row in found["writers"]["rows"]:
        if row["kind"] in ("baseline", "graph"):
            yield claim_from_result(
                f"gsm8k.predict.{row['name']}.within_writer_auc",
                f"AUC among solutions of one writer on GSM8K: {row['title']}",
                path,
                f"/writers/rows/name={row['name']}/within_writer_auc",
                "problems",
            )
    gains = {
        predict.INCREMENT: (f"/families/{FAMILY}/increments", family.get("increments", {})),
        INCREMENT: ("/writers/increments", found["writers"]["increments"]),
    }
    for name, (place, rows) in gains.items():
        if name in rows:
            yield claim_from_result(
                f"gsm8k.increment.{name}.delta_auroc",
                f"AUROC gained on GSM8K by all graphs over {rows[name]['over'].replace('_', ' ')}",
                path,
                f"{place}/{name}",
                "problems",
            )


def _report(
    arguments: argparse.Namespace,
    trace_set: TraceSet,
    train: Sequence[WordProblem],
    model: PreTrainedModel | None,
    tokenizer: PreTrainedTokenizerFast | None,
) -> dict[str, Any]:
    size = profiles.sizes(
        arguments.profile,
        smoke={"draws": 200, "side_draws": 100, "epochs": 2, "fit_problems": 10},
        cpu={"draws": 10_000, "side_draws": 2000, "epochs": 20, "fit_problems": 100},
        gpu={"draws": 10_000, "side_draws": 2000, "epochs": 20, "fit_problems": 200},
    )
    methods = tuple(dict.fromkeys(arguments.methods))
    settings = Settings(
        methods=methods, graph_networks=tuple(arguments.networks), seed=arguments.seed, **vars(size)
    )
    fit = None
    if tokenizer is not None:
        scored = set(trace_set.problem_ids.tolist())
        fit = annotated_fit(tokenizer, train, scored, settings.fit_problems)
    kept = _folder(arguments) / "kept"
    report = predict_report(
        trace_set, model, tokenizer, settings, fit=fit, folder=kept,
        command=_command(arguments), profile=arguments.profile,
    )  # fmt: skip
    inputs = prediction_inputs(
        trace_set, model, tokenizer, methods, fit=fit, folder=kept, seed=settings.seed
    )
    report["writers"] = writer_report(inputs, settings)
    report["labels"] = label_agreement(trace_set)
    report["reader"] = _reader_record(arguments.reader)
    return report


def _solutions(
    path: Path,
    tokenizer: PreTrainedTokenizerFast | None,
    model: PreTrainedModel | None,
    arguments: argparse.Namespace,
) -> TraceSet:
    """Read the solutions, leave out those too long for the reader, and keep them as JSONL."""
    words = build_tokenizer() if tokenizer is None else tokenizer
    trace_set, bad = read_model_solutions(path, words, most=arguments.limit)
    for line in bad[:3]:
        print(f"left out: {line}")
    config = None if model is None else model.config.get_text_config()
    most = getattr(config, "max_position_embeddings", None)
    if most is not None:
        fits = np.array([len(trace) <= most for trace in trace_set.traces], bool)
        if not fits.all():
            print(f"left out: {(~fits).sum()} solutions of more than the reader's {most} tokens")
        trace_set = trace_set.where(fits)
    trace_set.save(_folder(arguments) / "traces.jsonl")
    return trace_set


def _reader_record(name: str) -> dict[str, Any] | None:
    """Return what a local reader's record says of its making; for another model, its name."""
    if name == predict.NO_MODEL:
        return None
    record = Path(name) / "record.json"
    if not record.is_file():
        return {"name": _name(name)}
    found = read_json(record)
    wanted = ("recipe", "parameters", "tokens", "seconds", "problems_read", "data")
    return {"name": _name(name), **{key: found[key] for key in wanted if key in found}}


def _name(model: str) -> str:
    return Path(model).name if Path(model).exists() or re.search(r"^[/~.]", model) else model


def _folder(arguments: argparse.Namespace) -> Path:
    return arguments.out or repository() / "runs" / "gsm8k"


def _command(arguments: argparse.Namespace) -> str:
    """Return the command without the paths of this machine."""
    words = f"{COMMAND} --data DATA --reader {_name(arguments.reader)}"
    for option, default in (("parts", PARTS), ("methods", METHODS), ("networks", predict.NETWORKS)):
        if set(getattr(arguments, option)) != set(default):
            words += f" --{option} {' '.join(getattr(arguments, option))}"
    if arguments.limit:
        words += f" --limit {arguments.limit}"
    words += f" --profile {arguments.profile} --seed {arguments.seed}"
    return words + (" --record" if arguments.record else "")


def _check(arguments: argparse.Namespace) -> None:
    """Raise `ValueError` for options that make no sense together."""
    for name in arguments.methods:
        find_method(name)
    if arguments.limit is not None and arguments.limit < 1:
        raise ValueError(f"--limit {arguments.limit}: expected at least 1, or leave it out")
    whole = arguments.limit is None and arguments.profile != "smoke" and arguments.out is None
    whole &= set(METHODS) <= set(arguments.methods)
    needs_reader = set(arguments.parts) != {"annotations"}
    if arguments.record and not (
        whole and (arguments.reader != predict.NO_MODEL or not needs_reader)
    ):
        raise ValueError(
            "--record is for the whole data, a reader, the default methods and no --out, in the "
            "cpu or gpu profile: complete the command, or leave --record out"
        )
