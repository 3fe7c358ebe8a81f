"""What an arm trains with: the data, the terms and the settings, equal where arms must be equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from rg_helpers.experiment.arms import ARMS, Arm
from rg_helpers.experiment.own_solutions import own_solutions
from rg_helpers.experiment.place import Place
from rg_helpers.experiment.problem_sets import training_problems
from rg_helpers.graph_loss import BoundTerm, graph_batch, graph_term
from rg_helpers.graph_loss.disorder import fit_disorder_target
from rg_helpers.graph_loss.error_feedback import error_weights
from rg_helpers.graph_loss.error_predictor import GraphErrorPredictor
from rg_helpers.graph_loss.head_choice import best_aligned_heads, random_heads
from rg_helpers.graph_loss.koleo import KoLeoBuffer
from rg_helpers.graph_loss.targets import next_step_targets, shuffled_targets
from rg_helpers.graphs.attention import attention_masses
from rg_helpers.graphs.gold import gold_graph
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.problems import Problem
from rg_helpers.traces import Trace, gold_trace
from rg_helpers.training import GraphDataset, TrainingSettings, WeightedTerm

KOLEO_BUFFER = 64
FITTED_ON = 32  # training solutions at most that heads and the disorder target are fitted on

Strengths = Mapping[str, float]
Heads = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class TrainingInputs:
    """Data, terms and settings of a run, and the heads that its attention terms read."""

    data: GraphDataset
    terms: tuple[WeightedTerm, ...]
    settings: TrainingSettings
    heads: Heads
    own: int  # solutions that the model wrote among the data


def training_inputs(
    place: Place,
    arm: Arm,
    family: str,
    size: int,
    seed: int,
    learning_rate: float,
    strengths: Strengths,
    steps: int,
    predictor: GraphErrorPredictor | None = None,
) -> TrainingInputs:
    """Prepare one run.

    All arms of a family, size and seed learn from the same solutions in the same order; only the
    practitioners' arms add solutions. Heads and the disorder target are fitted on the unit's own
    training solutions, read by the base model, so that no arm sees problems that plain
    cross-entropy does not see; the error predictor alone brings labels of other problems along.
    strengths: weight of every term, or beta of "error_weights". Raises `ValueError` for a strength
    without a term of that name, and where a predictor is needed and not given.
    """
    recipe = place.recipe
    problems = training_problems(family, size, seed, recipe)
    traces = [gold_trace(problem, place.tokenizer) for problem in problems]
    gold = _aimed(place, problems)
    # Fitting costs a reading of training solutions; plain arms do without.
    fitted = traces[:FITTED_ON] if strengths else []
    masses = _readings(place, family, size, seed) if fitted else ()
    heads = _heads(place, arm, masses, gold[:FITTED_ON], seed) if fitted else ()
    settings = TrainingSettings(
        steps=steps,
        batch_size=recipe.batch_size,
        learning_rate=learning_rate,
        bf16=recipe.bf16,
        cpu=place.on_cpu,
        seed=seed,
        log_every=max(1, steps // 20),
    )
    own: list[Trace] = []
    graphs: list[StepGraph] | None = (
        shuffled_targets(gold, seed) if arm.data == "shuffled" else gold
    )
    if arm.extends:
        own = own_solutions(place, arm.data, family, size, seed, predictor)
        graphs = None
    weights = None
    if "error_weights" in strengths:
        weights = _weights(place, traces, _needed(predictor), strengths["error_weights"])
    terms = tuple(
        WeightedTerm(
            _term(name, place, heads, fitted, masses, predictor),
            strength,
            start=int(recipe.start_share * steps),
            stop=None if recipe.stop_share == 1 else max(1, int(recipe.stop_share * steps)),
        )
        for name, strength in strengths.items()
        if name != "error_weights"
    )
    data = GraphDataset([*traces, *own], graphs, weights)
    return TrainingInputs(data, terms, settings, heads, len(own))


def supervised_heads(place: Place, family: str, size: int, seed: int) -> Heads:
    """Return the heads that an alignment of this family, size and seed supervises."""
    problems = training_problems(family, size, seed, place.recipe)[:FITTED_ON]
    gold = _aimed(place, problems)
    return _heads(place, ARMS["alignment"], _readings(place, family, size, seed), gold, seed)


def _aimed(place: Place, problems: Sequence[Problem]) -> list[StepGraph]:
    """Return the rows that attention is aligned to, as the recipe wants them."""
    gold = [gold_graph(problem) for problem in problems]
    return next_step_targets(gold) if place.recipe.targets == "next" else gold


@lru_cache(maxsize=8)
def _readings(place: Place, family: str, size: int, seed: int) -> tuple[np.ndarray, ...]:
    """Return the base model's attention on the first training solutions; arms share it."""
    problems = training_problems(family, size, seed, place.recipe)[:FITTED_ON]
    traces = [gold_trace(problem, place.tokenizer) for problem in problems]
    return tuple(attention_masses(place.model, traces, progress=False))


def _heads(
    place: Place, arm: Arm, masses: Sequence[np.ndarray], gold: Sequence[StepGraph], seed: int
) -> Heads:
    recipe = place.recipe
    best = best_aligned_heads(masses, gold, recipe.heads, layers=recipe.layers)
    if arm.name != "alignment_random_heads":
        return best
    layers, heads = masses[0].shape[:2]
    return random_heads(layers, heads, recipe.heads, seed=seed, exclude=best)


def _term(
    name: str,
    place: Place,
    heads: Heads,
    traces: Sequence[Trace],
    masses: Sequence[np.ndarray],
    predictor: GraphErrorPredictor | None,
) -> BoundTerm:
    recipe = place.recipe
    if name == "alignment":
        return graph_term(name, heads=heads, form=recipe.form, sink=recipe.sink)
    if name == "disorder":
        return graph_term(name, target=fit_disorder_target(traces, masses))
    if name == "error_feedback":
        return graph_term(name, predictor=_needed(predictor))
    if name == "koleo":
        return graph_term(name, buffer=KoLeoBuffer.empty(KOLEO_BUFFER))
    return graph_term(name, heads=heads)


def _weights(
    place: Place, traces: Sequence[Trace], predictor: GraphErrorPredictor, beta: float
) -> list[float]:
    """Return 1 + beta * p_wrong of every gold solution as the base model reads it."""
    masses = attention_masses(place.model, traces, progress=False)
    return [
        float(error_weights(torch.as_tensor(mass)[None], graph_batch([trace]),
                            predictor=predictor.to("cpu"), beta=beta))
        for trace, mass in zip(traces, masses, strict=True)
    ]  # fmt: skip


def _needed(predictor: GraphErrorPredictor | None) -> GraphErrorPredictor:
    if predictor is None:
        raise ValueError("this arm needs a graph error predictor: fit one for the family first")
    return predictor
