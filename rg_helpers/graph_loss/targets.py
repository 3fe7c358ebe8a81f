"""Which rows attention is aligned to: gold, shuffled or shifted gold, or silver without gold.

Every function returns one `StepGraph` a trace, for `graph_batch(traces, graphs)`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rg_helpers.artefacts import sha256_of
from rg_helpers.graph_loss.graph_batch import WRITTEN_KINDS
from rg_helpers.graphs.gold import gold_graph, written_graph
from rg_helpers.graphs.intervention import intervention_graphs
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.graphs.text import text_graphs
from rg_helpers.problems import Problem, check_solution
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SILVER_SOURCES = 2


@dataclass(frozen=True)
class TargetRows:
    """One kind of target: `draw(traces, **what it needs)` -> one graph a trace.

    needs: "problems", "model" or nothing. meaning: one line. source: where from.
    """

    name: str
    draw: Callable[..., list[StepGraph]]
    needs: tuple[str, ...]
    meaning: str
    source: str


def gold_targets(traces: Sequence[Trace], problems: Iterable[Problem]) -> list[StepGraph]:
    """Return what each step truly follows from, one graph a trace.

    For the generator's own solution that is its gold graph; for a solution that a model wrote, what
    each of its steps ought to follow from, as the checker reads it (`written_graph`, "needed"), and
    nothing for steps that nobody can read. `problems` in any order. Raises `ValueError` for a trace
    without its problem, naming it.
    """
    known = {problem.problem_id: problem for problem in problems}
    return [_gold_target(trace, known) for trace in traces]


def shuffled_targets(graphs: Sequence[StepGraph], seed: int = 0) -> list[StepGraph]:
    """Return graphs whose rows point to random earlier nodes: the control of every alignment.

    Each row of a step or the answer keeps its weights and hands them to other eligible sources at
    random; it differs from the true row wherever any order of its weights does. Seeded by `seed`
    and the trace, so that a trace is asked for the same wrong row in every epoch.

    What an alignment to these rows gains comes from sharper or more mobile attention, from
    regularisation or from luck, but not from the graph. A wrong row may still hold some of the
    true parents; only where all earlier nodes are parents it cannot differ at all.
    """
    return [_shuffled(graph, seed) for graph in graphs]


def next_step_targets(graphs: Sequence[StepGraph]) -> list[StepGraph]:
    """Return graphs whose steps point to what the step *after* them follows from.

    Which step comes next is decided while the one before it ends, so this asks attention to look
    ahead, at what is to be worked out next, instead of at what is being copied. Row i holds row
    i + 1 of the given graph over the nodes before i, its weights made to sum to one again; rows
    whose successor follows from nothing but themselves stay empty, as does the last. Failure mode:
    all tokens of a step are asked, though only its last ones decide.
    """
    return [_next_step(graph) for graph in graphs]


def silver_text_targets(
    traces: Sequence[Trace], top_k: int | None = SILVER_SOURCES, *, progress: bool = True
) -> list[StepGraph]:
    """Return text graphs (shared names and numbers, `graphs.text`) as targets, no labels needed.

    `top_k` keeps each step's strongest sources, since a row over everything that shares a token is
    no target; None keeps all. Failure mode: what text cannot show (a rule applied without naming
    it) is missing, and attention is trained to match words, which it may do already.
    """
    return _strongest(text_graphs(traces, progress=progress), top_k)


def silver_intervention_targets(
    traces: Sequence[Trace],
    model: PreTrainedModel,
    top_k: int | None = SILVER_SOURCES,
    *,
    effect: Literal["total", "direct"] = "direct",
    progress: bool = True,
) -> list[StepGraph]:
    """Return intervention graphs of the model before training as targets (`graphs.intervention`).

    Cutting source j out of step i's sight changes its predictions: the model uses j there. "direct"
    asks what i itself looks at, which is what attention can be aligned to. Failure mode: the
    targets are what this model does, right or wrong; on traces that it gets wrong they teach its
    errors, so give it traces that are right.
    """
    graphs = intervention_graphs(model, traces, effect=effect, progress=progress)
    return _strongest(graphs, top_k)


TARGETS: Mapping[str, TargetRows] = MappingProxyType(
    {
        target.name: target
        for target in [
            TargetRows("gold", gold_targets, ("problems",),
                       "the nodes that each step truly follows from", "the problem's generator"),
            TargetRows("shuffled",
                       lambda traces, problems, seed=0: shuffled_targets(
                           gold_targets(traces, problems), seed),
                       ("problems",), "as many random earlier nodes: the control", "this course"),
            TargetRows("next_step",
                       lambda traces, problems: next_step_targets(gold_targets(traces, problems)),
                       ("problems",), "the nodes that the step after each follows from",
                       "this course"),
            TargetRows("silver_text", silver_text_targets, (),
                       "the lines that share rare names and numbers with each step",
                       "graphs.text"),
            TargetRows("silver_intervention", silver_intervention_targets, ("model",),
                       "the nodes without which the model would predict each step otherwise",
                       "Bogdan et al. 2025, arXiv 2506.19143"),
        ]
    }
)  # fmt: skip


def draw_targets(
    name: str,
    traces: Sequence[Trace],
    *,
    problems: Iterable[Problem] | None = None,
    model: PreTrainedModel | None = None,
    **options: Any,
) -> list[StepGraph]:
    """Return the targets called `name` (a key of `TARGETS`), one graph a trace.

    `options` go to the function (`seed`, `top_k`, `effect`, `progress`). Raises `ValueError` for an
    unknown name and where what it needs is missing.
    """
    if name not in TARGETS:
        near = difflib.get_close_matches(name, TARGETS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown targets {name!r}: {hint}there are {', '.join(TARGETS)}")
    given = {"problems": problems, "model": model}
    missing = [need for need in TARGETS[name].needs if given[need] is None]
    if missing:
        others = [other for other, rows in TARGETS.items() if not set(rows.needs) & set(missing)]
        raise ValueError(
            f"{name} targets need {missing[0]}=...: pass it, or use "
            f"{' or '.join(others)}, which do without"
        )
    needed = {need: given[need] for need in TARGETS[name].needs}
    return TARGETS[name].draw(traces, **needed, **options)


def _gold_target(trace: Trace, known: Mapping[str, Problem]) -> StepGraph:
    if trace.problem_id not in known:
        raise ValueError(
            f"no gold graph for trace {trace.trace_id!r}: its problem {trace.problem_id} is not "
            f"among the {len(known)} given; pass the problems the traces belong to, or use silver "
            "targets"
        )
    problem = known[trace.problem_id]
    if trace.texts == tuple(node.text for node in problem.nodes):
        return replace(gold_graph(problem), trace_id=trace.trace_id)
    checked = check_solution(problem, trace.solution)
    return written_graph(trace, checked, edges="needed")


def _shuffled(graph: StepGraph, seed: int) -> StepGraph:
    generator = np.random.default_rng(
        int(sha256_of("shuffled targets", str(seed), graph.trace_id)[:16], 16)
    )
    weights = np.array(graph.weights)
    for target, kind in enumerate(graph.kinds):
        if kind in WRITTEN_KINDS:
            weights[target, :target] = _other_order(weights[target, :target], generator)
    return replace(
        graph, weights=weights, method="shuffled", choice=f"rows of {graph.method}, seed {seed}"
    )


def _next_step(graph: StepGraph) -> StepGraph:
    weights = np.zeros_like(graph.weights)
    for target in range(1, len(graph)):
        if graph.kinds[target - 1] in WRITTEN_KINDS and graph.kinds[target] in WRITTEN_KINDS:
            weights[target - 1, : target - 1] = graph.weights[target, : target - 1]
    return replace(
        graph,
        weights=normalise_rows(weights),
        method="next_step",
        choice=f"rows of {graph.method}, one step ahead",
    )


def _other_order(row: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a random order of a row's weights that is another row, where there is one."""
    if len(set(row.tolist())) < 2:
        return row
    while True:  # at least one order in len(row) differs, namely moving everything by one
        drawn = generator.permutation(row)
        if not np.array_equal(drawn, row):
            return drawn


def _strongest(graphs: list[StepGraph], top_k: int | None) -> list[StepGraph]:
    return graphs if top_k is None else [graph.top_k(top_k) for graph in graphs]
