"""Write a page that explores one solution: its text beside the graphs drawn of it and the true one.

The problem is the first test problem of its size, by seed, whose solution by the model is as asked
for (`--solution`); heads and layers are chosen on validation problems. The page holds all it needs
and opens from disk.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from rg_helpers.course.folders import repository
from rg_helpers.explorer import explorer_data, explorer_html
from rg_helpers.graphs.gold import gold_graph
from rg_helpers.graphs.method import FitData, Given
from rg_helpers.graphs.methods import draw_graphs, find_method
from rg_helpers.language_model import COURSE, load_model
from rg_helpers.problems import FAMILIES, CheckedSolution, check_solution, generate_problems
from rg_helpers.traces import Trace, gold_trace, sample_traces

METHODS = ("attention", "intervention", "text")
CANDIDATES = 60  # problems tried
FIT_PROBLEMS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh explore`."""
    parser.add_argument("--model", default=COURSE, help="course, a local folder or a hub id")
    parser.add_argument("--family", default="arithmetic", choices=FAMILIES)
    parser.add_argument("--operations", type=int, default=4)
    parser.add_argument("--distractors", type=int, default=2)
    parser.add_argument("--solution", default="any", choices=("any", "right", "wrong"))
    parser.add_argument("--methods", nargs="+", default=METHODS, help=f"({' '.join(METHODS)})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="HTML file (default: runs/explorer.html)")


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh explore`; writes the page and prints where it is and what it shows."""
    chosen = [find_method(name) for name in arguments.methods]
    model, tokenizer = load_model(arguments.model)
    trace, checked = _chosen_solution(model, tokenizer, arguments)
    fitting = generate_problems(
        arguments.family, FIT_PROBLEMS, split="validation", seed=arguments.seed
    )
    fit = FitData([gold_trace(p, tokenizer) for p in fitting], [gold_graph(p) for p in fitting])
    graphs, parts = {}, {}
    for method in chosen:
        (graphs[method.name],) = draw_graphs([trace], method.name, model, tokenizer, fit)
        if method.axes != "none":
            given = Given([trace], model, tokenizer, fit, {}, None, None, False, {})
            parts[method.name] = np.tril(method.scores(given, method.prepare(given))[0], -1)
    solved = "every step right" if checked.all_right else "with wrong steps"
    title = f"{arguments.family}, {arguments.operations} operations, {solved}"
    data = explorer_data(trace, graphs, heads=parts, checked=checked, title=title)
    output = arguments.output or repository() / "runs" / "explorer.html"
    path = explorer_html(data, output)
    print(f"{path}: {len(trace.nodes)} lines, {', '.join(graphs)}; {solved}")
    return 0


def _chosen_solution(model, tokenizer, arguments) -> tuple[Trace, CheckedSolution]:
    """Return the first solution of the kind asked for, and its verdicts."""
    problems = generate_problems(
        arguments.family,
        1 if arguments.solution == "any" else CANDIDATES,
        split="test",
        seed=arguments.seed,
        operations=(arguments.operations, arguments.operations),
        distractors=(arguments.distractors, arguments.distractors),
    )
    traces = sample_traces(model, tokenizer, problems, seed=arguments.seed)
    for problem, trace in zip(problems, traces, strict=True):
        checked = check_solution(problem, trace.solution)
        if len(checked.steps) != len(trace.steps):
            continue  # a line that the tokenizer could not keep apart
        if arguments.solution in ("any", "right" if checked.all_right else "wrong"):
            return trace, checked
    raise RuntimeError(
        f"none of {len(problems)} solutions to {arguments.family} problems with "
        f"{arguments.operations} operations is {arguments.solution}: try more or fewer "
        "--operations, or another --seed"
    )
