"""Accuracy and cost of lightweight graphs, beside the full attention graph and the generation.

    python benchmarks/lightweight.py [--model course] [--problems 300] [--rounds 5] [--quick]

Accuracy: heads are chosen on validation problems, edge recovery (AUROC of gold edges) is measured
on test problems. The full attention graph is the strongest of all that read every layer and head
(mean, maximum, up to four heads chosen greedily), also chosen on the validation problems.
Cost: the model writes solutions of test problems token by token in one batch, as in deployment,
where no gold solution can serve as a draft. Contenders run in turns, ratios are taken in a round:
    generate            `sample_traces`, nothing else (what overhead is measured against)
    capture             `capture.graphs`, with queries and keys kept while writing: the overhead is
                        (generation under capture + graphs) / generation - 1, and, apart from
                        it, what the graphs alone take
    forward             `lightweight_graphs`: one early-ended pass over the finished traces
    full                `attention_graphs`: one pass through all layers
Writes data/results/lightweight.json and its claims; `--quick` only prints.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measure import interleaved_seconds, median_with_interval, ratio_with_interval

from rg_helpers.artefacts import provenance, write_json
from rg_helpers.course.claims import claim_from_result, write_claims
from rg_helpers.course.commands.edges import DISTRACTORS, OPERATIONS
from rg_helpers.course.folders import repository
from rg_helpers.edge_recovery import GraphSet, auroc, best_heads
from rg_helpers.graphs.attention import attention_graphs, attention_masses
from rg_helpers.graphs.capture import capture_attention
from rg_helpers.graphs.gold import gold_graph
from rg_helpers.graphs.lightweight import (
    Lightweight,
    choose_lightweight,
    lightweight_curve,
    lightweight_graphs,
    lightweight_scores,
)
from rg_helpers.graphs.step_graph import normalise_rows
from rg_helpers.language_model import COURSE, load_model
from rg_helpers.problems import FAMILIES, generate_problems
from rg_helpers.statistics import DRAWS, Bootstrap, bootstrap_auroc, cluster_weights
from rg_helpers.traces import Trace, gold_trace, sample_traces

SEED = 0
RESULT_NAME = "lightweight.json"
MOST_HEADS = 4
SAMPLED_ROWS = (1, 2, 4)
STATEMENTS = {
    "edge_recovery_share": (
        "share of the full attention graph's edge recovery above chance (AUROC - 0.5) that "
        "lightweight graphs keep on {family} problems",
        "problems",
        ">= 0.95",
    ),
    "edge_recovery_share_raw": (
        "AUROC of lightweight graphs over the AUROC of the full attention graph on {family} "
        "problems",
        "problems",
        ">= 0.95",
    ),
    "overhead": (
        "extra time for lightweight graphs captured while the model writes, over the time of "
        "writing alone, on {family} problems",
        "rounds",
        "<= 0.1",
    ),
    "overhead_forward": (
        "time of lightweight graphs by one early-ended pass over finished traces, over the time "
        "of writing them, on {family} problems",
        "rounds",
        "<= 0.1",
    ),
}


def gold_set(model, tokenizer, problems) -> tuple[list[Trace], GraphSet]:
    """Gold traces of problems, and their gold graphs with the masses of all layers and heads."""
    traces = [gold_trace(problem, tokenizer) for problem in problems]
    gold = [gold_graph(problem) for problem in problems]
    masses = attention_masses(model, traces)
    return traces, GraphSet(gold, masses, [problem.problem_id for problem in problems])


def full_graphs(fit: GraphSet) -> tuple[str, Callable[[GraphSet], np.ndarray]]:
    """The strongest full attention graph on `fit`: its name, and how to score candidates with it.

    Mean and maximum are taken over raw masses and over masses with every head's rows scaled to one.
    """

    def reduced(reduce, each: bool, side: GraphSet) -> np.ndarray:
        masses = [normalise_rows(mass) if each else mass for mass in side.masses]
        return side.candidates.scores([normalise_rows(reduce(m, axis=(0, 1))) for m in masses])

    heads = best_heads(fit, MOST_HEADS)
    ways = {
        ", ".join(f"layer {i} head {j}" for i, j in heads): functools.partial(average, heads),
        **{
            f"{name}{suffix}": functools.partial(reduced, reduce, each)
            for name, reduce in (("mean", np.mean), ("maximum", np.max))
            for suffix, each in ((" of all heads", False), (" of all heads, rows of one", True))
        },
    }
    reached = {name: auroc(score(fit), fit.candidates.labels) for name, score in ways.items()}
    best = max(reached, key=reached.__getitem__)
    return best, ways[best]


def average(heads: Sequence[tuple[int, int]], side: GraphSet) -> np.ndarray:
    """Scores of the mean of some heads, rows scaled to one each."""
    return np.mean([side.heads[pair] for pair in heads], axis=0)


def share(light: Bootstrap, full: Bootstrap, chance: float) -> dict[str, float | int]:
    """(light - chance) / (full - chance), paired over bootstrap draws of problems."""
    ratio = Bootstrap(
        (light.value - chance) / (full.value - chance),
        (light.draws - chance) / (full.draws - chance),
        light.n,
    )
    return ratio.interval().as_dict()


def measure_accuracy(model, tokenizer, family: str, options) -> tuple[dict, Lightweight, list]:
    """Edge recovery of the full graph, of the chosen one and of every point of the curve."""
    sizes = {"operations": OPERATIONS, "distractors": DISTRACTORS}
    count = max(10, options.problems // 3)
    drawn = functools.partial(generate_problems, family, seed=options.seed, **sizes)
    fit_traces, fit = gold_set(model, tokenizer, drawn(count, split="validation"))
    test_traces, test = gold_set(model, tokenizer, drawn(options.problems, split="test"))
    curve = lightweight_curve(fit, MOST_HEADS)
    chosen = choose_lightweight(curve)
    for rows in SAMPLED_ROWS:
        sampled = Lightweight(chosen.heads, 0.0, rows)
        scores = fit.candidates.scores(lightweight_scores(model, fit_traces, sampled))
        curve.append(Lightweight(chosen.heads, auroc(scores, fit.candidates.labels), rows))
    candidates = test.candidates
    weights = cluster_weights(candidates.problems, options.draws, options.seed)
    name, full_scores = full_graphs(fit)

    def recovered(scores: np.ndarray) -> Bootstrap:
        return bootstrap_auroc(scores, candidates.labels, candidates.clusters, weights)

    full = recovered(full_scores(test))
    points = []
    for option in curve:
        scores = average(option.heads, test)
        if option.rows is not None:
            scores = candidates.scores(lightweight_scores(model, test_traces, option))
        light = recovered(scores)
        points.append(
            {
                "choice": option.choice,
                "layers": option.depth,
                "heads": len(option.heads),
                "rows": option.rows,
                "chosen": option == chosen,
                "fit_auroc": option.fit_auroc,
                "auroc": light.interval().as_dict(),
                "edge_recovery_share": share(light, full, 0.5),
                "edge_recovery_share_raw": share(light, full, 0.0),
            }
        )
    (row,) = [point for point in points if point["chosen"]]
    result = {
        **sizes,
        "fit_problems": count,
        "test_problems": options.problems,
        "full": {"choice": name, "auroc": full.interval().as_dict()},
        "chosen": {key: row[key] for key in ("choice", "layers", "heads", "auroc")},
        "edge_recovery_share": row["edge_recovery_share"],
        "edge_recovery_share_raw": row["edge_recovery_share_raw"],
        "curve": points,
    }
    return result, chosen, curve


def measure_cost(
    model, tokenizer, family: str, chosen: Lightweight, curve: Sequence[Lightweight], options
) -> dict:
    """Seconds of writing and of every way of drawing, and their ratios within a round."""
    sizes = {"operations": OPERATIONS, "distractors": DISTRACTORS}
    problems = generate_problems(
        family, options.generate, split="test", seed=options.seed + 1, **sizes
    )
    quiet: dict[str, Any] = {"draft": False, "progress": False}
    write = functools.partial(
        sample_traces, model, tokenizer, problems, batch_size=options.generate, **quiet
    )
    traces = write()
    missed: list[int] = []
    seconds_of_graphs: list[float] = []

    def captured() -> None:
        with capture_attention(model, chosen) as capture:
            written = write()
        start = time.perf_counter()
        capture.graphs(written, progress=False)
        seconds_of_graphs.append(time.perf_counter() - start)
        missed.append(capture.missed)

    def one_at_a_time() -> None:
        for problem in problems[: options.single]:
            sample_traces(model, tokenizer, [problem], batch_size=1, **quiet)

    def forward_one_at_a_time() -> None:
        for trace in traces[: options.single]:
            lightweight_graphs(model, [trace], chosen, progress=False)

    draw = functools.partial(lightweight_graphs, model, traces, progress=False)
    contenders: dict[str, Callable[[], object]] = {
        "generate": write,
        "capture": captured,
        "forward": functools.partial(draw, chosen),
        "full": functools.partial(attention_graphs, model, traces, progress=False),
        "generate one at a time": one_at_a_time,
        "forward one at a time": forward_one_at_a_time,
        **{f"curve {number}": functools.partial(draw, o) for number, o in enumerate(curve)},
    }
    seconds = interleaved_seconds(contenders, options.rounds, options.device)
    generation = np.array(seconds["generate"])
    extra = np.array(seconds["capture"]) - generation
    return {
        "generated_traces": len(traces),
        "written_alone_in_a_batch_of": options.generate,
        "tokens_per_trace": float(np.mean([len(trace) for trace in traces])),
        "nodes_per_trace": float(np.mean([len(trace.nodes) for trace in traces])),
        "traces_not_captured": missed[-1],
        "seconds": {
            name: median_with_interval(values)
            for name, values in seconds.items()
            if not name.startswith("curve")
        },
        "overhead": median_with_interval(extra / generation),
        "overhead_graphs_of_capture": ratio_with_interval(
            seconds_of_graphs[-options.rounds :], generation
        ),
        "overhead_forward": ratio_with_interval(seconds["forward"], generation),
        "overhead_full": ratio_with_interval(seconds["full"], generation),
        "overhead_forward_one_at_a_time": ratio_with_interval(
            seconds["forward one at a time"], seconds["generate one at a time"]
        ),
        "overhead_of_curve": [
            ratio_with_interval(seconds[f"curve {number}"], generation)
            for number in range(len(curve))
        ],
    }


def measure_family(model, tokenizer, family: str, options) -> dict:
    """Accuracy and cost of one family; the curve holds both."""
    accuracy, chosen, curve = measure_accuracy(model, tokenizer, family, options)
    cost = measure_cost(model, tokenizer, family, chosen, curve, options)
    for point, overhead in zip(accuracy["curve"], cost.pop("overhead_of_curve"), strict=True):
        point["overhead_forward"] = overhead
    return {**accuracy, **cost}


def show(family: str, row: Mapping[str, Any]) -> str:
    """The lines printed for one family."""
    full, chosen = row["full"], row["chosen"]
    lines = [
        f"{family}: full AUROC {_text(full['auroc'])} ({full['choice']}), "
        f"lightweight {_text(chosen['auroc'])} ({chosen['choice']}, {chosen['layers']} layers)",
        f"  share above chance {_text(row['edge_recovery_share'])}, "
        f"raw {_text(row['edge_recovery_share_raw'])}",
        f"  overhead captured {_text(row['overhead'])} (its graphs "
        f"{_text(row['overhead_graphs_of_capture'])}), forward {_text(row['overhead_forward'])}, "
        f"full {_text(row['overhead_full'])}, one at a time "
        f"{_text(row['overhead_forward_one_at_a_time'])}; "
        f"{row['traces_not_captured']} of {row['generated_traces']} traces not captured",
    ]
    for point in row["curve"]:
        rows = "all" if point["rows"] is None else point["rows"]
        lines.append(
            f"  {'*' if point['chosen'] else ' '} {point['layers']} layers {point['heads']} heads "
            f"rows {rows!s:>3}  AUROC {_text(point['auroc'])}  share "
            f"{_text(point['edge_recovery_share'])}  overhead {_text(point['overhead_forward'])}"
        )
    return "\n".join(lines)


def _text(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def register_claims(path: Path, families: Sequence[str]) -> None:
    """Write the ledger entries, each read back from the result file."""
    write_claims(
        claim_from_result(
            id=f"lightweight.{family}.{figure}",
            statement=statement.format(family=family),
            source=path.relative_to(repository()),
            pointer=f"/families/{family}/{figure}",
            unit=unit,
            target=target,
        )
        for family in families
        for figure, (statement, unit, target) in STATEMENTS.items()
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=COURSE, help="course, a local folder or a hub id")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--problems", type=int, help="test problems a family (default 300)")
    parser.add_argument("--generate", type=int, help="traces written, as one batch (default 64)")
    parser.add_argument("--single", type=int, help="traces written one at a time (default 4)")
    parser.add_argument("--rounds", type=int, help="timed rounds (default 5)")
    parser.add_argument("--draws", type=int, default=DRAWS, help="bootstrap draws")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--quick", action="store_true", help="a small run that only prints")
    options = parser.parse_args(arguments)
    usual = {"problems": 300, "generate": 64, "single": 4, "rounds": 5}
    small = {"problems": 12, "generate": 4, "single": 1, "rounds": 1}
    for name, value in (small if options.quick else usual).items():
        if getattr(options, name) is None:
            setattr(options, name, value)

    model, tokenizer = load_model(options.model, device=options.device)
    load, families = os.getloadavg(), {}
    for family in options.families:
        families[family] = measure_family(model, tokenizer, family, options)
        print(show(family, families[family]), flush=True)
    counts = options.model == COURSE and not options.quick
    if not counts:
        return 0
    command = " ".join(["python benchmarks/lightweight.py", *(arguments or sys.argv[1:])])
    path = write_json(
        repository() / "data" / "results" / RESULT_NAME,
        {
            "provenance": provenance(command, options.seed, options.device),
            "model": str(options.model),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "load_average_before": load[0],
            "rounds": options.rounds,
            "families": families,
        },
    )
    register_claims(path, options.families)
    print(f"written: {path.relative_to(repository())} and its claims")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
