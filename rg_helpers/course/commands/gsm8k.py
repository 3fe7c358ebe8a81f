"""Measure GSM8K's graphs, a reader model, and what graphs tell of real models' solutions.

DATA is a folder that you keep: GSM8K's train.jsonl and example_model_solutions.jsonl, from
https://github.com/openai/grade-school-math (folder grade_school_math/data), or let --download fetch
them. Four parts: how far the calculator annotations give graphs; what the reader (`rgh reader`
trains one; any folder or hub id will do) can do itself; which graphs find the annotated edges; and
the report of `rgh predict` on solutions that real models wrote. Without a reader, text and form
alone are measured. Nothing of the data is written to data/, texts and traces stay in runs/gsm8k.
Exit code 1: some lines could not be read (left_out.jsonl says why of each), the rest is measured.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rg_helpers.artefacts import provenance, read_json, sha256_of, write_json
from rg_helpers.course import profiles
from rg_helpers.course.claims import Claim, write_claims
from rg_helpers.course.commands import predict
from rg_helpers.course.folders import repository, results_folder
from rg_helpers.course.gsm8k_claims import (
    annotation_claims,
    edge_claims,
    reader_claims,
    report_claims,
)
from rg_helpers.course.left_out import tell_left_out
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
from rg_helpers.datasets.real_edges import recover_annotated_edges
from rg_helpers.datasets.solution_report import (
    annotated_fit,
    annotated_references,
    writer_report,
)
from rg_helpers.datasets.sources import SOLUTIONS, TRAIN, download_gsm8k, find_file
from rg_helpers.datasets.summaries import (
    annotation_summary,
    edge_summary,
    reader_summary,
    writer_summary,
)
from rg_helpers.datasets.word_problems import WordProblem, read_word_problems
from rg_helpers.error_prediction.fit_traces import FitTraces
from rg_helpers.error_prediction.inputs import prediction_inputs
from rg_helpers.error_prediction.report import Settings, predict_report
from rg_helpers.error_prediction.trace_set import TraceSet
from rg_helpers.graphs.methods import FitData, find_method
from rg_helpers.language_model import load_model
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import BadLine

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

COMMAND = "rgh gsm8k"
PARTS = ("annotations", "reader", "edges", "report")
RESULTS = {part: f"gsm8k_{part}.json" for part in PARTS}
FIGURE = "gsm8k_prediction.png"
METHODS = ("attention", "attention_gradient", "cluster", "text")
NETWORKS = ("gcn",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh gsm8k`."""
    parser.add_argument("--data", type=Path, required=True, help="folder with GSM8K's files")
    parser.add_argument("--download", action="store_true", help="fetch them into it first")
    parser.add_argument(
        "--reader", default=predict.NO_MODEL, help="reader: a folder, a hub id, or none (default)"
    )
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="graph methods")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=predict.NETWORKS)
    parser.add_argument("--limit", type=int, help="only the first so many problems with solutions")
    parser.add_argument("--profile", default="cpu", choices=tuple(profiles.PROFILES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, help="folder (default: runs/gsm8k)")
    parser.add_argument("--record", action="store_true", help="write data/results and claims")


@dataclass(frozen=True, eq=False)
class Given:
    """What the parts work on; without a reader `model` is None and the course's words are used."""

    arguments: argparse.Namespace
    settings: Settings
    train: Sequence[WordProblem]
    test: Sequence[WordProblem]
    trace_set: TraceSet
    references: FitData
    fit: FitTraces
    model: PreTrainedModel | None
    tokenizer: PreTrainedTokenizerFast
    left_out: Sequence[BadLine]

    @property
    def kept(self) -> Path:
        """Where graphs and states are kept."""
        return _folder(self.arguments) / "kept"


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh gsm8k`; prints what each part found and writes one result file a part."""
    _check(arguments)
    if arguments.download:
        download_gsm8k(arguments.data)
    files = [find_file(arguments.data, pattern) for pattern in (TRAIN, SOLUTIONS)]
    about = {
        "provenance": provenance(_command(arguments), arguments.seed, arguments.profile),
        "files": {path.name: sha256_of(path) for path in files},
        "reader": _reader_record(arguments.reader),
    }
    given = _given(arguments, *files)
    code = tell_left_out(given.left_out, _folder(arguments))
    results = results_folder() if arguments.record else _folder(arguments)
    claims: list[Claim] = []
    for part in PARTS:
        if part not in arguments.parts:
            continue
        if part == "reader" and given.model is None:
            print(
                "no reader: its part is left out, and only text and form are measured. Train one "
                f"with `rgh reader --data {arguments.data}`, or name any model with --reader\n"
            )
            continue
        measure, words, claim = MEASURES[part]
        found = {**measure(given), **about}
        print(words(found))
        path = write_json(results / RESULTS[part], found)
        print(f"written: {path}\n")
        if part == "report" and "rows" in found["families"][FAMILY]:
            figures = repository() / "data" / "figures" if arguments.record else results
            print(f"written: {predict.write_figure(found, figures / FIGURE)}")
        if arguments.record:
            claims += claim(found, path)
    if claims:
        print(f"claims merged into {write_claims(claims)}")
    return code


def annotation_figures(given: Given) -> dict[str, Any]:
    """Return how far annotations give graphs, and how many problems are copies."""
    return measure_annotations(given.train, given.settings.seed) | {
        "copies": {
            "within_train": count_degrees(find_copies(given.train)),
            "test_in_train": count_degrees(find_overlap(given.train, given.test)),
            "test": len(given.test),
        }
    }


def reader_figures(given: Given) -> dict[str, Any]:
    """Return how well the reader foresees solutions and how many problems it solves."""
    model, tokenizer, read = given.model, given.tokenizer, given.trace_set.read
    wrong = np.array([bool(label.wrong_answer) for label in read.labels])
    unseen = [problem for problem in given.train if held_out(problem)]
    groups = {
        "held_out_references": [reference_trace(tokenizer, problem) for problem in unseen],
        "test_references": [reference_trace(tokenizer, problem) for problem in given.test],
        "right_solutions": read.where(~wrong).traces,
        "wrong_solutions": read.where(wrong).traces,
    }
    seen = [reader_text(problem) for problem in given.train if not held_out(problem)]
    entries = max(model.get_input_embeddings().num_embeddings, len(tokenizer))
    frequencies = token_log_frequencies(tokenizer(seen).input_ids, entries)
    written = greedy_solutions(model, tokenizer, given.test)
    return {
        "losses": solution_losses(model, groups, frequencies, seed=given.settings.seed),
        "solving": measure_solving(written, given.test, given.train),
    }


def edge_figures(given: Given) -> dict[str, Any]:
    """Return how well each method's graphs find annotated edges."""
    offered = {"fit"} | ({"model", "tokenizer"} if given.model is not None else set())
    drawn = [name for name in given.settings.methods if offered.issuperset(find_method(name).needs)]
    return recover_annotated_edges(
        given.references,
        given.fit,
        drawn,
        given.model,
        given.tokenizer,
        folder=given.kept / "references",
        draws=given.settings.draws,
        seed=given.settings.seed,
    )


def report_figures(given: Given) -> dict[str, Any]:
    """Return the report of `rgh predict`, and the comparison among one writer's solutions."""
    settings, arguments = given.settings, given.arguments
    # Without a reader the words' tokenizer must not make anything seem to be readable.
    reads = (given.model, given.tokenizer if given.model is not None else None)
    how = {"fit": given.fit, "folder": given.kept}
    report = predict_report(
        given.trace_set,
        *reads,
        settings,
        command=_command(arguments),
        profile=arguments.profile,
        **how,
    )
    report["labels"] = label_agreement(given.trace_set)
    if "skipped" in report["families"][FAMILY]:
        return report | {"writers": None}
    inputs = prediction_inputs(given.trace_set, *reads, settings.methods, seed=settings.seed, **how)
    return report | {"writers": writer_report(inputs, settings)}


def report_words(found: Mapping[str, Any]) -> str:
    """Return the report as text."""
    labels = "labels: comparing answers gives {agreeing} of {compared}".format(**found["labels"])
    parts = [predict.summary(FAMILY, found["families"][FAMILY])]
    if found["writers"] is not None:
        parts.append(writer_summary(found["writers"]))
    return "\n".join([*parts, labels])


MEASURES = {
    "annotations": (annotation_figures, annotation_summary, annotation_claims),
    "reader": (reader_figures, reader_summary, reader_claims),
    "edges": (edge_figures, edge_summary, edge_claims),
    "report": (report_figures, report_words, report_claims),
}


def _given(arguments: argparse.Namespace, train_file: Path, solutions_file: Path) -> Given:
    size = profiles.sizes(
        arguments.profile,
        smoke={"draws": 200, "side_draws": 100, "epochs": 2, "fit_problems": 10},
        cpu={"draws": 10_000, "side_draws": 2000, "epochs": 20, "fit_problems": 100},
        gpu={"draws": 10_000, "side_draws": 2000, "epochs": 20, "fit_problems": 100},
    )
    settings = Settings(
        methods=tuple(dict.fromkeys(arguments.methods)),
        graph_networks=tuple(arguments.networks),
        seed=arguments.seed,
        **vars(size),
    )
    train, bad = read_word_problems(train_file)
    test, of_test = read_word_problems(solutions_file)
    model, tokenizer = None, build_tokenizer()
    if arguments.reader != predict.NO_MODEL:
        model, tokenizer = load_model(arguments.reader, device=arguments.device)
    trace_set, of_solutions = _solutions(solutions_file, tokenizer, model, arguments)
    references = annotated_references(tokenizer, train, set(trace_set.problem_ids.tolist()))
    return Given(
        arguments=arguments,
        settings=settings,
        train=train,
        test=test[: arguments.limit],
        trace_set=trace_set,
        references=references,
        fit=annotated_fit(references, settings.fit_problems),
        model=model,
        tokenizer=tokenizer,
        left_out=[*bad, *of_test, *of_solutions],
    )


def _solutions(
    path: Path,
    tokenizer: PreTrainedTokenizerFast,
    model: PreTrainedModel | None,
    arguments: argparse.Namespace,
) -> tuple[TraceSet, list[BadLine]]:
    """Read the solutions, leave out those too long for the reader, and keep them as JSONL."""
    trace_set, bad = read_model_solutions(path, tokenizer, most=arguments.limit)
    config = None if model is None else model.config.get_text_config()
    most = getattr(config, "max_position_embeddings", None)
    if most is not None:
        fits = np.array([len(trace) <= most for trace in trace_set.traces], bool)
        if not fits.all():
            print(f"left out: {(~fits).sum()} solutions of more than the reader's {most} tokens")
        trace_set = trace_set.where(fits)
    trace_set.save(_folder(arguments) / "traces.jsonl")
    return trace_set, bad


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
    for option, default in (("parts", PARTS), ("methods", METHODS), ("networks", NETWORKS)):
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
