"""Problem families with their own gold graph, the checker of written steps, planted errors."""

from rg_helpers.problems.checked import VERDICTS, CheckedSolution, CheckedStep
from rg_helpers.problems.checker import check_solution
from rg_helpers.problems.generate import FAMILIES, generate_problem, generate_problems
from rg_helpers.problems.planted import ERROR_KINDS, PlantedError, plant_error
from rg_helpers.problems.problem import SPLITS, GoldNode, Problem, Quantity
from rg_helpers.problems.reorder import reordered_solution
from rg_helpers.problems.segment import segment_steps

__all__ = [
    "ERROR_KINDS",
    "FAMILIES",
    "SPLITS",
    "VERDICTS",
    "CheckedSolution",
    "CheckedStep",
    "GoldNode",
    "PlantedError",
    "Problem",
    "Quantity",
    "check_solution",
    "generate_problem",
    "generate_problems",
    "plant_error",
    "reordered_solution",
    "segment_steps",
]
