"""One unit of the sweep: an arm at a size and a seed, trained, tested, and kept as one file."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rg_helpers.artefacts import read_json, write_json
from rg_helpers.experiment.arms import ARMS, Arm
from rg_helpers.experiment.evaluation import Row, graph_rows, solution_rows
from rg_helpers.experiment.fitted_predictor import family_predictor
from rg_helpers.experiment.place import NAMED, Place
from rg_helpers.experiment.plan import Cell
from rg_helpers.experiment.problem_sets import cell_problems, training_problems
from rg_helpers.experiment.reranking import reranked_rows
from rg_helpers.experiment.training_inputs import supervised_heads, training_inputs
from rg_helpers.token_scores import score_tokens
from rg_helpers.traces import gold_trace
from rg_helpers.training import train_with_graphs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HEAD_PROBLEMS = 32  # training problems on which the head of an attention graph is chosen


@dataclass(frozen=True)
class Unit:
    """Everything that tells one run from another under the same recipe.

    size: training problems, 0 where nothing is trained. strengths: (term, weight) pairs. steps: of
    the optimiser. purpose: "tuning" trains on problems of no measured seed and asks validation
    problems alone.
    """

    family: str
    arm: str
    size: int
    seed: int
    learning_rate: float
    strengths: tuple[tuple[str, float], ...]
    steps: int
    purpose: Literal["test", "tuning"] = "test"

    @property
    def name(self) -> str:
        """Return the readable part of the file's name."""
        return f"{self.purpose}-{self.arm}-n{self.size}-s{self.seed}"


def unit_path(place: Place, unit: Unit) -> Path:
    """Return where the unit's record is kept; another recipe, model or program has another path."""
    return place.path(unit.family, unit.name, place.key(__name__, unit=asdict(unit)))


def run_unit(place: Place, unit: Unit) -> dict[str, Any]:
    """Return the unit's record: read back if it was kept whole, else made and kept.

    unit: its fields. rows: `evaluation.judged_row`s by the name of the arm (reranking arms have a
    row set for every way to choose). graphs: `evaluation.graph_rows`. training: seconds, steps and
    the logged losses, None where nothing was trained. validation: of a tuning unit, the share
    solved, which problems were, and the cross-entropy. seconds, cpu_seconds: of the whole unit.
    """
    path = unit_path(place, unit)
    kept = _kept(path, unit)
    if kept is not None:
        return kept
    started, used = time.perf_counter(), time.process_time()
    arm = ARMS[unit.arm]
    predictor = family_predictor(place, unit.family) if _predicts(unit, arm) else None
    model, training = _trained(place, unit, arm, predictor)
    record: dict[str, Any] = {"unit": asdict(unit), "training": training}
    if unit.purpose == "tuning":
        record |= {"rows": {}, "graphs": [], "validation": _validation(place, unit, model)}
    elif arm.reranks:
        record |= {"rows": _reranked(place, unit, model, predictor), "graphs": []}
    else:
        cells = place.recipe.cells()
        rows = solution_rows(model, place.tokenizer, cells, unit.family, place.recipe)
        record |= {"rows": {unit.arm: rows}, "graphs": _graphs(place, unit, model)}
    record["seconds"] = time.perf_counter() - started
    record["cpu_seconds"] = time.process_time() - used
    write_json(path, record)
    return read_json(path)  # so that a unit gives the same whether it was kept or not


def _kept(path: Path, unit: Unit) -> dict[str, Any] | None:
    """Return a record that is whole and of this very unit; a broken file is made anew."""
    try:
        found = read_json(path)
        same = found["unit"]["arm"] == unit.arm and "cpu_seconds" in found
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if same else None


def _predicts(unit: Unit, arm: Arm) -> bool:
    if unit.arm == "combination":
        return "error_feedback" in dict(unit.strengths)
    return arm.predicts


def _trained(
    place: Place, unit: Unit, arm: Arm, predictor: Any
) -> tuple[PreTrainedModel, dict[str, Any] | None]:
    """Return the unit's model and how it was trained; the base model as it is for size 0."""
    if not arm.trains:
        return place.model, None
    # A reranked arm starts from the very model of plain cross-entropy, which has been kept.
    name = "ce" if arm.reranks else unit.arm
    inputs = training_inputs(
        place,
        ARMS[name],
        unit.family,
        unit.size,
        unit.seed,
        unit.learning_rate,
        dict(unit.strengths),
        unit.steps,
        predictor,
    )
    folder = None
    if unit.purpose == "test" and (place.keep_models or name == "ce"):
        fields = asdict(unit) | {"arm": name}
        key = place.key("rg_helpers.experiment.training_inputs", unit=fields)
        folder = (
            place.folder
            / unit.family
            / "models"
            / f"{name}-n{unit.size}-s{unit.seed}-{key[:NAMED]}"
        )
    model, record = train_with_graphs(
        place.model,
        place.tokenizer,
        inputs.data,
        inputs.terms,
        inputs.settings,
        folder=folder,
        progress=False,
    )
    training = {
        "seconds": record.seconds,
        "steps": record.steps,
        "solutions": len(inputs.data),
        "own_solutions": inputs.own,
        "heads": [list(pair) for pair in inputs.heads],
        "log": [dict(row) for row in record.log],
    }
    return model.eval(), training


def _validation(place: Place, unit: Unit, model: PreTrainedModel) -> dict[str, Any]:
    """Return which validation problems are solved, and the cross-entropy of their solutions."""
    recipe = place.recipe
    hardest = recipe.cells()[0]
    cell = Cell(hardest.name, hardest.operations, hardest.distractors, recipe.tuning)
    rows = solution_rows(model, place.tokenizer, [cell], unit.family, recipe, "validation")
    problems = cell_problems(cell, unit.family, "validation")
    gold = [gold_trace(problem, place.tokenizer) for problem in problems]
    scores = score_tokens(model, gold, progress=False)
    tokens = sum(len(score.token_ids) for score in scores)
    nats = -sum(float(score.log_probabilities.sum()) for score in scores)
    solved = [bool(row["solved"]) for row in rows]
    return {"solved": float(np.mean(solved)), "ce": nats / tokens, "each": solved}


def _reranked(
    place: Place, unit: Unit, model: PreTrainedModel, predictor: Any
) -> dict[str, list[Row]]:
    """Return the rows of every way to choose; the predictor's carry the name of the arm alone."""
    cell = place.recipe.cells()[0]
    found = reranked_rows(place, model, predictor, cell, unit.family, unit.seed)
    return {
        unit.arm if name == "predictor" else f"{unit.arm}_{name}": rows
        for name, rows in found.items()
    }


def _graphs(place: Place, unit: Unit, model: PreTrainedModel) -> list[Row]:
    recipe = place.recipe
    size = unit.size or HEAD_PROBLEMS
    chosen_on = training_problems(unit.family, size, unit.seed, recipe)[:HEAD_PROBLEMS]
    tested = cell_problems(recipe.cells()[0], unit.family)[: recipe.graphs]
    supervised = supervised_heads(place, unit.family, size, unit.seed)
    return graph_rows(
        model,
        place.tokenizer,
        chosen_on,
        tested,
        supervised,
        min(recipe.interventions, len(tested)),
    )
