"""Measure how well attention graphs recover the gold graph, beside controls that see no content.

For every problem family: the head is chosen and the thresholds and the position-only table are
fitted on validation problems; everything is measured on test problems, with 95 % intervals from
the cluster bootstrap over problems. Two sorts of solutions are read: the gold ones, and what
the model itself writes (greedy, only those whose every step is right). The shipped model's figures
go to data/results and into the ledger of claims; those of another model go to runs/edges.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from rg_helpers.artefacts import provenance, write_json
from rg_helpers.course import profiles
from rg_helpers.course.claims import claim_from_result, write_claims
from rg_helpers.course.folders import repository, results_folder
from rg_helpers.edge_recovery import (
    METRICS,
    GraphSet,
    compare_with_controls,
    differences,
    head_table,
)
from rg_helpers.graphs.attention import attention_masses
from rg_helpers.graphs.gold import gold_graph, written_graph
from rg_helpers.language_model import COURSE, load_model
from rg_helpers.problems import FAMILIES, Problem, check_solution, generate_problems
from rg_helpers.traces import gold_trace, sample_traces

RESULT_NAME = "edge_recovery_attention.json"
CLAIMED_METRICS = ("auroc", "ap", "f1")
OPERATIONS = (2, 6)
DISTRACTORS = (1, 3)
LEAST_OWN_SOLUTIONS = 10  # fewer right solutions than this say nothing; the table shows a gap
LEAST_FIT_PROBLEMS = 10
METRIC_NAMES = {"auroc": "AUROC", "ap": "average precision", "f1": "edge F1"}
METHOD_NAMES = {
    "attention": "the attention head chosen on other problems",
    "attention_few": "the mean of up to four heads chosen on other problems",
    "attention_mean": "the mean of all attention heads",
    "attention_max": "the maximum over all attention heads",
    "previous_step": "the previous-step control",
    "position_only": "the position-only control",
    "random": "the random control",
    "rewired": "the chosen head's graph, randomly rewired",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh edges`."""
    parser.add_argument("--model", default=COURSE, help="course, a local folder or a hub id")
    parser.add_argument("--profile", default="cpu", choices=tuple(profiles.PROFILES))
    parser.add_argument("--problems", type=int, help="test problems a family (default: by profile)")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--output", type=Path, help="result file (then no claims are written)")


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh edges`; prints one table a family and writes the result file."""
    size = profiles.sizes(
        arguments.profile,
        smoke={"problems": 24, "draws": 300},
        cpu={"problems": 300, "draws": 10_000},
        gpu={"problems": 1000, "draws": 10_000},
    )
    problems = size.problems if arguments.problems is None else arguments.problems
    if problems < 2:
        raise ValueError(f"--problems {problems}: intervals need at least 2, better 100 or more")
    model, tokenizer = load_model(arguments.model, device=arguments.device)
    families = {}
    for family in arguments.families:
        families[family] = _measure(model, tokenizer, family, problems, size.draws, arguments.seed)
        _print_table(family, families[family])
    command = f"rgh edges --profile {arguments.profile} --problems {problems}"
    command += f" --seed {arguments.seed}"
    if arguments.model != COURSE:
        command += f" --model {arguments.model}"
    counts = arguments.model == COURSE and arguments.profile != "smoke" and not arguments.output
    folder = results_folder() if counts else repository() / "runs" / "edges"
    path = write_json(
        arguments.output or folder / RESULT_NAME,
        {
            "provenance": provenance(command, arguments.seed, arguments.profile),
            "model": str(arguments.model),
            "families": families,
        },
    )
    print(f"written: {path}")
    if counts:
        ledger = write_claims(
            claim_from_result(
                f"edges.{method}.{family}.{metric}",
                f"{METRIC_NAMES[metric]} of gold edges in {family} problems: {name}",
                path,
                f"/families/{family}/gold/methods/{method}/{metric}",
                "problems",
            )
            for family in families
            for method, name in METHOD_NAMES.items()
            for metric in CLAIMED_METRICS
        )
        print(f"claims merged into {ledger}")
    return 0


def _measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    family: str,
    problems: int,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Measure one family on gold solutions and on the model's own right ones."""
    sizes = {"operations": OPERATIONS, "distractors": DISTRACTORS}
    fit_count = max(LEAST_FIT_PROBLEMS, problems // 3)
    fit_problems = generate_problems(family, fit_count, split="validation", seed=seed, **sizes)
    test_problems = generate_problems(family, problems, split="test", seed=seed, **sizes)
    fit = _gold_set(model, tokenizer, fit_problems)
    test = _gold_set(model, tokenizer, test_problems)
    own = _own_set(model, tokenizer, test_problems)
    found = {"gold": _report(fit, test, draws, seed, heads=True), "own_right": None}
    if len(own.gold) >= LEAST_OWN_SOLUTIONS:
        found["own_right"] = _report(fit, own, draws, seed)
    return {
        **sizes,
        "fit_problems": len(fit_problems),
        "test_problems": len(test_problems),
        "own_right_share": len(own.gold) / len(test_problems),
        **found,
    }


def _gold_set(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, problems: Sequence[Problem]
) -> GraphSet:
    traces = [gold_trace(problem, tokenizer) for problem in problems]
    return GraphSet(
        gold=[gold_graph(problem) for problem in problems],
        masses=attention_masses(model, traces),
        problem_ids=[problem.problem_id for problem in problems],
    )


def _own_set(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, problems: Sequence[Problem]
) -> GraphSet:
    """Let the model solve the problems greedily; keep the solutions whose every step is right.

    Then what a step claims to follow from is what it truly follows from.
    """
    traces = sample_traces(model, tokenizer, problems)
    checked = [check_solution(p, trace.solution) for p, trace in zip(problems, traces, strict=True)]
    right = [
        (trace, verdict)
        for trace, verdict in zip(traces, checked, strict=True)
        if trace.finished and verdict.all_right
    ]
    return GraphSet(
        gold=[written_graph(trace, verdict) for trace, verdict in right],
        masses=attention_masses(model, [trace for trace, _ in right]),
        problem_ids=[trace.problem_id for trace, _ in right],
    )


def _report(
    fit: GraphSet, test: GraphSet, draws: int, seed: int, heads: bool = False
) -> dict[str, Any]:
    recoveries = compare_with_controls(fit, test, draws, seed)
    report = {
        "solutions": len(test.gold),
        "candidate_edges": len(test.candidates.labels),
        "base_rate": test.candidates.base_rate,
        "methods": {name: recovery.as_dict() for name, recovery in recoveries.items()},
        "auroc_of_attention_minus": differences(recoveries),
    }
    if heads:
        report["heads"] = head_table(fit, test, draws, seed)
    return report


def _print_table(family: str, measured: dict[str, Any]) -> None:
    titles = {
        "gold": "gold solutions",
        "own_right": "the model's own greedy solutions, all steps right",
    }
    for key, title in titles.items():
        report = measured[key]
        if report is None:
            share = measured["own_right_share"]
            print(f"\n{family}, {title}: too few ({share:.0%} of the problems), not measured")
            continue
        print(
            f"\n{family}, {title}: {report['solutions']} of {measured['test_problems']} problems, "
            f"{report['candidate_edges']} candidate edges, {report['base_rate']:.1%} of them gold"
        )
        print(f"{'method':16}" + "".join(f"{name:>24}" for name in METRICS))
        for method, row in report["methods"].items():
            cells = "".join(
                f"{row[name]['value']:.3f} [{row[name]['low']:.3f}, {row[name]['high']:.3f}]".rjust(
                    24
                )
                for name in METRICS
            )
            print(f"{method:16}{cells}  {row['choice']}")
        for control, gap in report["auroc_of_attention_minus"].items():
            print(
                f"  AUROC of attention minus {control}: {gap['value']:+.3f} "
                f"[{gap['low']:+.3f}, {gap['high']:+.3f}], Holm p {gap['p_holm']:.2g}"
            )
