"""Which needed premises a conclusion leaves out, and which irrelevant ones a solution uses.

The truth is the checker's: it reads which premises and steps every written step rests on. A
needed premise is ignored if no way leads back to it from the answer line, so a right answer can
ignore premises too: then it does not follow from what is written. An irrelevant premise is used if
any step rests on it, whether or not the answer does.

The guess comes from a graph, whoever drew it. A walker starts at the answer and goes back from
target to source, each time by the weights of the row, until it stands on something that was given;
the share of walks that end on a premise says how far the answer rests on it (absorption in a Markov
chain, Kemeny & Snell 1960). What any step uses shows in its largest weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rg_helpers.error_prediction.best_of_samples import chosen_right
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.problems import CheckedSolution, Problem

GIVEN = ("premise", "question")


@dataclass(frozen=True)
class PremiseUse:
    """What became of a problem's premises 0 to `premises` - 1 in one written solution.

    `needed`: the premises that the right answer rests on; `ignored`: those of them that the
    written answer does not rest on; `irrelevant_used`: premises that are not needed and that some
    written step rests on.
    """

    premises: int
    needed: frozenset[int]
    ignored: frozenset[int]
    irrelevant_used: frozenset[int]


def premise_use(problem: Problem, checked: CheckedSolution) -> PremiseUse:
    """Return what became of each premise in a checked solution of the problem.

    Raises `ValueError` for a solution without an answer line: it concludes nothing.
    """
    written = [number for number, step in enumerate(checked.steps) if step.kind == "answer"]
    if not written:
        raise ValueError(
            f"a solution of problem {problem.problem_id} has no answer line, so nothing can be "
            "said of what its answer rests on: leave truncated solutions out"
        )
    given = problem.prompt_nodes
    premises = frozenset(i for i in range(given) if problem.nodes[i].kind == "premise")
    gold = [node.parents for node in problem.nodes]
    claimed: list[Sequence[int]] = [()] * given
    claimed += [
        step.parents if step.used is None else (*step.parents, step.used) for step in checked.steps
    ]
    needed = premises & _behind(gold, len(gold) - 1)
    reached = _behind(claimed, given + written[0])
    touched = premises & {node for row in claimed for node in row}
    return PremiseUse(len(premises), needed, needed - reached, touched - needed)


def grounds(graph: StepGraph) -> np.ndarray:
    """Return how far the answer rests on each premise: float64 (premises,), together at most one.

    The rest ends on the question, or at a step without any source. Without an answer line the walk
    starts at the last node.
    """
    nodes = len(graph)
    answers = [node for node in range(nodes) if graph.kinds[node] == "answer"]
    share = np.zeros(nodes)
    share[answers[0] if answers else nodes - 1] = 1
    for node in range(nodes - 1, -1, -1):  # later nodes first: they hand on what they hold
        if graph.kinds[node] not in GIVEN:
            share[:node] += share[node] * graph.weights[node, :node]
    return share[_is_premise(graph)]


def strongest_use(graph: StepGraph) -> np.ndarray:
    """Return the largest weight that any written node gives to each premise: (premises,)."""
    written = np.array([kind not in GIVEN for kind in graph.kinds])
    return graph.weights[written].max(axis=0, initial=0)[_is_premise(graph)].astype(np.float64)


def first_guesses(scores: Sequence[np.ndarray], marked: Sequence[np.ndarray]) -> np.ndarray:
    """Return, a solution, the chance that its highest score is of a marked one: float (solutions,).

    `scores` and `marked` (bool) hold one array a solution, as long as it has candidates; equal
    scores share the guess, so constant scores give the share of a blind guess.
    """
    for index, (own, truth) in enumerate(zip(scores, marked, strict=True)):
        if len(own) != len(truth) or not len(own):
            raise ValueError(
                f"solution {index}: {len(own)} scores for {len(truth)} candidates; give one each, "
                "and leave out solutions without any"
            )
    numbers = np.repeat(np.arange(len(scores)), [len(own) for own in scores])
    return chosen_right(-np.concatenate(scores), np.concatenate(marked), numbers)


def _behind(parents: Sequence[Sequence[int]], start: int) -> set[int]:
    """Return the node `start` and all that it rests on, however indirectly."""
    found: set[int] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += parents[node]
    return found


def _is_premise(graph: StepGraph) -> np.ndarray:
    return np.array([kind == "premise" for kind in graph.kinds])
