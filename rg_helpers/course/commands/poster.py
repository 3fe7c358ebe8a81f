"""Draw the picture of the README: one problem, three graphs of its solution, gold, the verdict.

The problem is the first test problem of its size, by seed, whose solution by the model is wholly
right (or has a wrong step, with `--solution wrong`); heads are chosen on validation problems. The
record beside the picture says which, and holds its text alternative.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rg_helpers.artefacts import atomic_path, provenance, write_json
from rg_helpers.course.folders import repository
from rg_helpers.edge_recovery import Candidates, auroc
from rg_helpers.graphs.gold import gold_graph, written_graph
from rg_helpers.graphs.methods import FitData, draw_graphs
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.language_model import COURSE, load_model
from rg_helpers.plots import draw_arc_panels, use_course_style
from rg_helpers.plots.style import png_bytes
from rg_helpers.problems import FAMILIES, CheckedSolution, check_solution, generate_problems
from rg_helpers.traces import Trace, gold_trace, sample_traces

METHODS = ("attention", "intervention", "text")  # a look, a cause, the words
OPERATIONS = 3
DISTRACTORS = 2
CANDIDATES = 40  # problems tried; a model without such a solution has no poster
FIT_PROBLEMS = 60
WIDTH = 1500  # pixels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh poster`."""
    parser.add_argument("--model", default=COURSE, help="course, a local folder or a hub id")
    parser.add_argument("--family", default="arithmetic", choices=FAMILIES)
    parser.add_argument("--solution", default="right", choices=("right", "wrong"))
    parser.add_argument("--operations", type=int, default=OPERATIONS, help=f"({OPERATIONS})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="PNG file (default: data/figures/poster.png)")


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh poster`; writes the picture and its record."""
    output = arguments.output or repository() / "data" / "figures" / "poster.png"
    family, seed = arguments.family, arguments.seed
    model, tokenizer = load_model(arguments.model)
    trace, checked = _chosen_trace(model, tokenizer, arguments)
    gold = written_graph(trace, checked, "needed")
    fitting = generate_problems(family, FIT_PROBLEMS, split="validation", seed=seed)
    fit = FitData([gold_trace(p, tokenizer) for p in fitting], [gold_graph(p) for p in fitting])
    pairs = Candidates.of([gold], [trace.problem_id])
    shown, scores = {}, {}
    for method in METHODS:
        needs_fit = fit if method == "attention" else None
        (graph,) = draw_graphs([trace], method, model, tokenizer, needs_fit, progress=False)
        shown[method] = _as_many_sources(graph, gold)
        hits = int(((shown[method].weights > 0) & (gold.weights > 0)).sum())
        scores[method] = {
            "choice": graph.choice,
            "auroc": auroc(pairs.scores([graph.weights]), pairs.labels),
            "true_edges_drawn": hits,
        }
    edges = len(gold.edges)
    wrong = _wrong_lines(trace, checked)
    notes = {name: f"{s['true_edges_drawn']} of {edges} edges" for name, s in scores.items()}
    verdict = _verdict(checked)
    use_course_style()
    figure = draw_arc_panels(
        shown,
        gold,
        wrong=wrong,
        title="Where does each step come from?",
        subtitle="Of every written line as many sources as it truly has, the strongest first.",
        notes={**notes, "gold": f"{edges} edges"},
        verdict=f"The checker: {verdict}",
    )
    with atomic_path(output) as temporary:
        temporary.write_bytes(png_bytes(figure, dpi=WIDTH / figure.get_figwidth()))
    record: dict[str, Any] = {
        "problem_id": trace.problem_id,
        "verdict": verdict,
        "edges_gold": edges,
        "graphs": scores,
        "alt": _alt(len(gold), edges, scores, verdict),
        "provenance": provenance(
            f"rgh poster --model {arguments.model} --family {family} --solution "
            f"{arguments.solution} --operations {arguments.operations} --seed {seed}",
            seed,
        ),
    }
    write_json(output.with_suffix(".json"), record)
    print(f"{output}: {record['alt']}")
    return 0


def _chosen_trace(model, tokenizer, arguments: argparse.Namespace) -> tuple[Trace, CheckedSolution]:
    """Return the first trace that is wholly right, or that answers with a wrong step."""
    problems = generate_problems(
        arguments.family,
        CANDIDATES,
        split="test",
        seed=arguments.seed,
        operations=(arguments.operations, arguments.operations),
        distractors=(DISTRACTORS, DISTRACTORS),
        joins=1,
    )
    traces = sample_traces(model, tokenizer, problems, seed=arguments.seed)
    for problem, trace in zip(problems, traces, strict=True):
        checked = check_solution(problem, trace.solution)
        if arguments.solution == "right":
            wanted = checked.all_right
        else:
            unreadable = any(step.verdict == "unreadable" for step in checked.steps)
            wanted = checked.first_wrong_step is not None and not (unreadable or checked.truncated)
        if wanted:
            return trace, checked
    raise RuntimeError(
        f"the model has no {arguments.solution} solution among {CANDIDATES} {arguments.family} "
        f"problems with {arguments.operations} operations, so there is nothing to draw: change "
        "--operations or --family, or train it longer"
    )


def _as_many_sources(graph: StepGraph, gold: StepGraph) -> StepGraph:
    """Keep of every written line as many strongest sources as gold gives it, as notebooks do."""
    weights = graph.weights.copy()
    for target, row in enumerate(weights):
        keep = int((gold.weights[target] > 0).sum())
        row[row.argsort(kind="stable")[: len(row) - keep]] = 0
    return StepGraph(normalise_rows(weights), graph.kinds, graph.texts, graph.method, graph.choice)


def _wrong_lines(trace: Trace, checked: CheckedSolution) -> dict[int, str]:
    given = len(trace.nodes) - len(trace.steps)
    steps = enumerate(checked.steps, start=given)
    return {node: step.verdict for node, step in steps if step.verdict != "right"}


def _verdict(checked: CheckedSolution) -> str:
    wrong = [step.verdict for step in checked.steps if step.verdict != "right"]
    steps = (
        f"{wrong[0]}, {len(wrong)} of {len(checked.steps)} lines wrong"
        if wrong
        else (f"all {len(checked.steps)} lines right")
    )
    return f"{steps}; the answer is {'right' if checked.answer_right else 'wrong'}."


def _alt(nodes: int, edges: int, scores: dict[str, dict[str, Any]], verdict: str) -> str:
    graphs = ", ".join(f"{name} {score['true_edges_drawn']}" for name, score in scores.items())
    return (
        f"One problem and the model's solution, {nodes} lines. Beside them arcs from each line to "
        f"the lines it comes from, as three methods draw them and as it truly is. Of {edges} true "
        f"edges are drawn: {graphs}. The checker: {verdict}"
    )
