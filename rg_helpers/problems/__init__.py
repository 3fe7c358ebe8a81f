"""Problem families that carry their own gold reasoning graph, and the checker of written steps."""

from rg_helpers.problems.checked import VERDICTS, CheckedSolution, CheckedStep
from rg_helpers.problems.checker import check_solution
from rg_helpers.problems.generate import FAMILIES, generate_problem, generate_problems
from rg_helpers.problems.problem import GoldNode, Problem, Quantity
from rg_helpers.problems.segment import segment_steps

__all__ = [
    "FAMILIES",
    "VERDICTS",
    "CheckedSolution",
    "CheckedStep",
    "GoldNode",
    "Problem",
    "Quantity",
    "check_solution",
    "generate_problem",
    "generate_problems",
    "segment_steps",
]
