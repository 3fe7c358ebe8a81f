"""The graph error predictor of a family: fitted once, on other training problems, and kept."""

from __future__ import annotations

from pathlib import Path

from rg_helpers.error_prediction.labels import label_trace
from rg_helpers.experiment.place import BATCH, Place
from rg_helpers.experiment.problem_sets import fit_problems
from rg_helpers.graph_loss.error_predictor import (
    GraphErrorPredictor,
    fit_error_predictor,
    load_error_predictor,
    save_error_predictor,
)
from rg_helpers.graphs.attention import attention_masses
from rg_helpers.traces import sample_traces


def family_predictor(place: Place, family: str) -> GraphErrorPredictor:
    """Return the frozen predictor of flawed solutions of a family, fitted or read back.

    It sees solutions that the base model samples for `fit_problems` training problems of mixed
    difficulty, labelled by the checker; solutions that break off or cannot be read are left out,
    since their form would give them away. Raises `ValueError` naming the cure where too few of
    them are right or wrong.
    """
    path = _path(place, family)
    if not path.is_file():
        save_error_predictor(path, _fit(place, family))
    return load_error_predictor(path)


def _path(place: Place, family: str) -> Path:
    return place.path(
        family, "predictor", place.key(__name__, family=family), suffix=".safetensors"
    )


def _fit(place: Place, family: str) -> GraphErrorPredictor:
    recipe = place.recipe
    problems = fit_problems(family, recipe)
    many = recipe.fit_samples > 1
    traces = sample_traces(
        place.model,
        place.tokenizer,
        problems,
        samples=recipe.fit_samples,
        temperature=recipe.temperature if many else 0.0,
        batch_size=BATCH,
        max_new_tokens=recipe.longest,
        progress=place.progress,
    )
    known = {problem.problem_id: problem for problem in problems}
    labels = [label_trace(known[trace.problem_id], trace) for trace in traces]
    kept = [
        (trace, bool(label.flawed))
        for trace, label in zip(traces, labels, strict=True)
        if label.status == "read"
    ]
    read = [trace for trace, _ in kept]
    if not read:
        raise ValueError(
            f"the base model wrote no readable {family} solution for {len(problems)} problems, so "
            "no error predictor can be fitted: leave out the arms that need one, or give easier "
            "fit_operations"
        )
    masses = attention_masses(place.model, read, progress=place.progress)
    return fit_error_predictor(read, masses, [wrong for _, wrong in kept])
