"""Your own solutions read by your own model: read a file, draw its graphs, report what they tell.

from rg_helpers.scoring import draw_solutions, load_safely, read_solutions, report_solutions

model, tokenizer = load_safely("Qwen/Qwen3-0.6B")
solutions = read_solutions("traces.jsonl", tokenizer)             # lines become traces
scored = draw_solutions(solutions, model, "scored")               # graphs, features, baselines
report = report_solutions(scored)                                 # where labels exist
"""

from rg_helpers.scoring.apply import Predictions, apply_predictor, predictor_of
from rg_helpers.scoring.correctness import Judged, judge_correctness
from rg_helpers.scoring.draw import METHODS, Scored, draw_solutions
from rg_helpers.scoring.judging import Judge
from rg_helpers.scoring.predictor import ErrorPredictor, load_predictor, save_predictor
from rg_helpers.scoring.report import report_solutions
from rg_helpers.scoring.safe_model import load_safely
from rg_helpers.scoring.segmentation import RULES, cut_steps
from rg_helpers.scoring.solution_file import Solution, SolutionFile, read_solutions

__all__ = [
    "METHODS",
    "RULES",
    "ErrorPredictor",
    "Judge",
    "Judged",
    "Predictions",
    "Scored",
    "Solution",
    "SolutionFile",
    "apply_predictor",
    "cut_steps",
    "draw_solutions",
    "judge_correctness",
    "load_predictor",
    "load_safely",
    "predictor_of",
    "read_solutions",
    "report_solutions",
    "save_predictor",
]
