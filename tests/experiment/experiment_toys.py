"""A toy sweep (a model of random weights, problems of one or two operations), planted outcomes."""

from __future__ import annotations

import numpy as np
import torch

from rg_helpers.experiment.arms import RERANKED
from rg_helpers.experiment.plan import Plan, Recipe
from rg_helpers.experiment.workers import Opening
from rg_helpers.graph_loss.error_predictor import fit_error_predictor
from rg_helpers.graphs.attention import attention_masses
from rg_helpers.language_model import new_course_model, save_model
from rg_helpers.problems import generate_problems
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import gold_trace

RECIPE = Recipe(
    steps=2,
    batch_size=4,
    operations=(1, 2),
    distractors=(0, 1),
    heads=1,
    hardest=3,
    other=2,
    transfer=2,
    tuning=2,
    graphs=2,
    interventions=1,
    samples=2,
    fit_problems=12,
    fit_samples=1,
    fit_operations=(1, 2),
    longest=8,
)
PLAN = Plan(
    families=("arithmetic",),
    arms=("base", "ce", "ce_equal_time", "alignment", "alignment_shuffled"),
    ladder_arms=("ce",),
    sizes=(8, 12),
    main_size=8,
    seeds=2,
    tries=2,
    draws=100,
)


def toy_model(folder):
    """Write a course model of two layers and two heads, sharpened, and return its folder."""
    state = torch.random.get_rng_state()
    model = new_course_model(0, hidden_size=32, layers=2, heads=2, intermediate_size=64)
    torch.random.set_rng_state(state)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3.0)
    return save_model(folder, model, build_tokenizer())


def opening(model_folder, runs, recipe=RECIPE) -> Opening:
    return Opening(str(model_folder), "cpu", recipe, runs, threads=1)


def planted_predictor(place, family):
    """A predictor fitted on gold solutions with labels drawn at random: it knows nothing."""
    problems = generate_problems(family, 12, "train", 999, operations=(3, 3), distractors=(2, 2))
    traces = [gold_trace(problem, place.tokenizer) for problem in problems]
    masses = attention_masses(place.model, traces, progress=False)
    return fit_error_predictor(traces, masses, [n % 2 == 0 for n in range(12)], epochs=5)


def planted_records(chances, seeds=5, problems=60, cells=("hardest", "easy"), seed=0):
    """Records as `run_unit` writes them, in which (arm, size) solves with the chance given.

    A problem's difficulty and a seed's luck are shared by all arms, as in the experiment.
    """
    generator = np.random.default_rng(seed)
    hard = generator.normal(0, 0.8, (len(cells), problems))
    luck = generator.normal(0, 0.1, seeds)
    records = []
    for (arm, size), chance in chances.items():
        base = np.log(chance / (1 - chance))
        for number in range(seeds if arm != "base" else 1):
            rows = []
            for place, cell in enumerate(cells):
                share = 1 / (1 + np.exp(-(base + hard[place] + luck[number])))
                solved = generator.random(problems) < share
                rows += [
                    {
                        "cell": cell,
                        "family": "arithmetic",
                        "problem": f"{cell}{n:03}",
                        "solved": bool(right),
                        "answer_right": bool(right),
                        "truncated": False,
                        "first_error": None if right else "wrong operand",
                        "errors": {} if right else {"wrong operand": 2},
                        "steps": 10,
                        "tokens": 90,
                        "gold_tokens": 100,
                        "log_probability": float(np.log(share[n])),
                    }
                    for n, right in enumerate(solved)
                ]
            graphs = [
                {
                    "problem": f"hardest{n:03}",
                    "attention": 0.6
                    + (0.2 if arm == "alignment" else 0)
                    + 0.05 * float(generator.normal()),
                    "attention_mean": 0.5,
                    "gold_share": 0.4,
                    "intervention": 0.7 + 0.01 * n if n < 3 else None,
                    "agreement": 0.3 + 0.01 * n if n < 3 else None,
                }
                for n in range(8)
            ]
            unit = {"family": "arithmetic", "arm": arm, "size": size, "seed": number}
            unit |= {"learning_rate": 1e-3, "strengths": [], "steps": 2, "purpose": "test"}
            training = None if arm == "base" else {"seconds": 1.0}
            records.append({"unit": unit, "rows": {arm: rows}, "graphs": graphs,
                            "training": training, "seconds": 2.0, "cpu_seconds": 1.5})  # fmt: skip
    return records


def reranked_names(arm: str) -> set[str]:
    return {arm if name == "predictor" else f"{arm}_{name}" for name in RERANKED}
