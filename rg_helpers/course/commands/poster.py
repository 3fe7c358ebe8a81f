"""Draw the picture of the README: one problem, its gold graph and the model's attention graph.

The problem is the first test problem of its size, by seed, that the model solves with every step
right; the heads are chosen on validation problems. The record beside the picture says which.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rg_helpers.artefacts import atomic_path, provenance, write_json
from rg_helpers.course.folders import repository
from rg_helpers.edge_recovery import Candidates, GraphSet, auroc, best_heads
from rg_helpers.graphs.attention import attention_graph, attention_masses
from rg_helpers.graphs.gold import gold_graph, written_graph
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.language_model import COURSE, load_model
from rg_helpers.plots import draw_mirrored_arcs, use_course_style
from rg_helpers.plots.style import png_bytes
from rg_helpers.problems import FAMILIES, check_solution, generate_problems
from rg_helpers.traces import Trace, gold_trace, sample_traces

OPERATIONS = 3
DISTRACTORS = 2
CANDIDATES = 20  # problems tried; a model that solves none of them has no poster
FIT_PROBLEMS = 60
MOST_HEADS = 4
WIDTH = 1000  # pixels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh poster`."""
    parser.add_argument("--model", default=COURSE, help="course, a local folder or a hub id")
    parser.add_argument("--family", default="arithmetic", choices=FAMILIES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="PNG file (default: data/figures/poster.png)")


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh poster`; writes the picture and its record."""
    output = arguments.output or repository() / "data" / "figures" / "poster.png"
    model, tokenizer = load_model(arguments.model)
    trace, gold = _solved_trace(model, tokenizer, arguments.family, arguments.seed)
    heads = _choose_heads(model, tokenizer, arguments.family, arguments.seed)
    mass = attention_masses(model, [trace], progress=False)[0]
    graph = attention_graph(trace, mass, heads)
    pairs = Candidates.of([gold], [trace.problem_id])
    score = auroc(pairs.scores([graph.weights]), pairs.labels)
    shown = _strongest(graph)
    use_course_style()
    figure = draw_mirrored_arcs(
        shown,
        gold,
        title="Where does each step come from?",
        headings=(
            "left: what the model attends to, two strongest sources",
            "right: what each step truly follows from",
        ),
    )
    with atomic_path(output) as temporary:
        temporary.write_bytes(png_bytes(figure, dpi=WIDTH / figure.get_figwidth()))
    record: dict[str, Any] = {
        "problem_id": trace.problem_id,
        "heads": heads,
        "auroc_of_this_problem": score,
        "edges_in_both": int(((shown.weights > 0) & (gold.weights > 0)).sum()),
        "edges_drawn": len(shown.edges),
        "edges_gold": len(gold.edges),
        "provenance": provenance(
            f"rgh poster --model {arguments.model} --family {arguments.family} "
            f"--seed {arguments.seed}",
            arguments.seed,
        ),
    }
    write_json(output.with_suffix(".json"), record)
    print(
        f"{output}: problem {trace.problem_id}, {graph.choice}; "
        f"{record['edges_in_both']} of {record['edges_gold']} gold edges drawn, AUROC {score:.2f}"
    )
    return 0


def _solved_trace(model, tokenizer, family: str, seed: int) -> tuple[Trace, StepGraph]:
    """Return the first trace whose every step is right, and its gold graph."""
    problems = generate_problems(
        family,
        CANDIDATES,
        split="test",
        seed=seed,
        operations=(OPERATIONS, OPERATIONS),
        distractors=(DISTRACTORS, DISTRACTORS),
        joins=1,
    )
    traces = sample_traces(model, tokenizer, problems, seed=seed)
    for problem, trace in zip(problems, traces, strict=True):
        checked = check_solution(problem, trace.solution)
        if checked.all_right:
            return trace, written_graph(trace, checked, "needed")
    raise RuntimeError(
        f"the model solved none of {CANDIDATES} {family} problems with {OPERATIONS} operations, so "
        "there is no right solution to draw: train it longer, or choose another --family"
    )


def _choose_heads(model, tokenizer, family: str, seed: int) -> list[tuple[int, int]]:
    problems = generate_problems(family, FIT_PROBLEMS, split="validation", seed=seed)
    masses = attention_masses(model, [gold_trace(p, tokenizer) for p in problems])
    fit = GraphSet([gold_graph(p) for p in problems], masses, [p.problem_id for p in problems])
    return best_heads(fit, MOST_HEADS)


def _strongest(graph: StepGraph) -> StepGraph:
    """Keep the two strongest sources of every written line, and nothing between premises."""
    weights = graph.top_k(2).weights.copy()
    weights[[kind in ("premise", "question") for kind in graph.kinds]] = 0
    return StepGraph(normalise_rows(weights), graph.kinds, graph.texts, graph.method, graph.choice)
