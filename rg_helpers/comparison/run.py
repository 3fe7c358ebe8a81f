"""Run the comparison: sample, draw, measure; every stage is kept, so a killed run continues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from rg_helpers.comparison import stages
from rg_helpers.comparison.agreement import Ranked, agreement, agreement_matrix
from rg_helpers.comparison.controls import draw_controls
from rg_helpers.comparison.drawn import Drawn, Variant, draw
from rg_helpers.comparison.measured import (
    POPULAR,
    Controls,
    Row,
    corrected,
    measure_against,
    measure_controls,
    measure_graphs,
    row,
)
from rg_helpers.comparison.memory import peak_megabytes
from rg_helpers.comparison.pairs import Pairs
from rg_helpers.comparison.recovery import measure, readings
from rg_helpers.comparison.solutions import (
    Solution,
    comparison_problems,
    fit_data,
    fit_problems,
    judged,
    outcomes,
    readable,
    sampled_traces,
    thinned,
)
from rg_helpers.comparison.stability import stability, step_pairs
from rg_helpers.graphs.methods import METHODS, FitData, Given, Method
from rg_helpers.statistics import Bootstrap
from rg_helpers.traces import Trace, read_traces, write_traces

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

REFERENCE = "intervention"  # what the other graphs' rankings are compared with
# Methods that draw a part of the traces, and which part of the plan says how many.
SLOW = {
    "input_gradient": "slow_traces",
    "intervention": "slow_traces",
    "premise_replacement": "slow_traces",
    "intervention_direct": "slowest_traces",
    "integrated_gradients": "slowest_traces",
}
DRAWING = tuple(
    f"rg_helpers.{name}"
    for name in ("comparison.drawn", "comparison.pairs", "comparison.solutions", "edge_recovery")
)
MEASURING = ("rg_helpers.comparison.measured", "rg_helpers.comparison.stability")


@dataclass(frozen=True)
class Plan:
    """The size of a comparison; methods in `SLOW` draw fewer traces, and fit on `slow_fit`."""

    problems: int
    samples: int
    temperature: float
    fit_problems: int
    slow_traces: int
    slowest_traces: int
    slow_fit: int
    draws: int
    seed: int = 0
    longest: int | None = None  # tokens of a solution

    def __post_init__(self) -> None:
        if self.problems < 2 or self.fit_problems < 2:
            raise ValueError(
                f"{self.problems} problems, {self.fit_problems} to fit on: intervals need at "
                "least 2 of each, better 100 or more"
            )


@dataclass(frozen=True, eq=False)
class Place:
    """Where a run works: the model, its hash, the run folder, and the code that it runs."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    model_hash: str
    folder: Path
    plan: Plan
    progress: bool = True

    @staticmethod
    def of(
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        plan: Plan,
        runs: Path,
        progress: bool = True,
    ) -> Place:
        """Choose the folder below `runs` that belongs to this model and plan."""
        hashed = stages.model_hash(model)
        name = stages.key_of(model=hashed, plan=asdict(plan))[:16]
        return Place(model, tokenizer, hashed, Path(runs) / name, plan, progress)

    def key(self, *modules: str, **parts: Any) -> str:
        """Return the key of a stage that runs through `modules`."""
        return stages.key_of(
            model=self.model_hash,
            plan=asdict(self.plan),
            source=stages.source_hash(*modules),
            **parts,
        )


def compare(
    place: Place,
    families: Sequence[str],
    methods: Mapping[str, Method] | None = None,
    model_name: str | None = None,
) -> list[Row]:
    """Compare `methods` (default: all that need no server) and return the rows of the table.

    With `model_name` (course, folder or hub id) the peak memory of every method is measured in a
    process of its own, which has to load the model by that name.
    """
    if methods is None:
        methods = {name: way for name, way in METHODS.items() if "judge" not in way.needs}
    rows: list[Row] = []
    with tqdm(
        total=len(families) * (len(methods) + 2) + (len(methods) if model_name else 0),
        desc="compare",
        disable=None if place.progress else True,
    ) as bar:
        for family in families:
            rows += _compare_family(place, family, methods, bar)
        for name in methods if model_name else ():
            bar.set_postfix_str(f"memory of {name}")
            rows.append(_memory_row(place, methods[name], str(model_name)))
            bar.update()
    return corrected(rows)


def _compare_family(
    place: Place, family: str, methods: Mapping[str, Method], bar: tqdm
) -> list[Row]:
    bar.set_postfix_str(f"{family}: solutions")
    solutions, counts = _solutions(place, family)
    bar.update()
    sides = _Sides(place, family, solutions)
    rows = counts
    graphs: dict[str, tuple[Drawn, Pairs]] = {}
    for name, method in methods.items():
        bar.set_postfix_str(f"{family}: {name}")
        side = sides.side(name)
        drawn = sides.draw(method, side)
        rows += sides.measure(method, drawn, side)
        rows.append(_time_row(method, drawn))
        graphs[name] = drawn, side.pairs
        bar.update()
    rows += sides.side().controls.rows
    rows += _against_popular(graphs, sides)
    rows += _agreements(place, solutions, graphs, sides)
    bar.update()
    return [filled | {"family": family} for filled in rows]


def _solutions(place: Place, family: str) -> tuple[list[Solution], list[Row]]:
    """Sample or read back the family's traces; return the readable ones and the counts."""
    plan, path = place.plan, place.folder / family / "traces.jsonl"
    problems = comparison_problems(family, plan.problems, plan.seed)
    key = place.key("rg_helpers.comparison.solutions", family=family)
    marker = path.with_suffix(".json")
    if stages.load_rows(marker, key) is None:
        traces = sampled_traces(
            place.model,
            place.tokenizer,
            problems,
            plan.samples,
            plan.temperature,
            plan.seed,
            plan.longest,
            place.progress,
        )
        write_traces(path, traces)
        stages.save_rows(marker, [], key)
    traces, bad = read_traces(path)
    if bad:
        raise ValueError(f"{bad[0]}: delete {path.parent} and run the comparison again")
    solutions = judged(problems, traces)
    blank = Variant("", "", "", 0.0)
    counts = [
        row(blank, "traces", "count", number, other=outcome, n=number, traces=len(solutions))
        for outcome, number in outcomes(solutions).items()
    ]
    kept = readable(solutions)
    if not kept:
        raise ValueError(
            f"the model wrote no readable {family} solution in {len(solutions)}: there is nothing "
            "to draw; use a trained model, or leave the family out"
        )
    return kept, counts


@dataclass(frozen=True, eq=False)
class _Side:
    """Solutions that a class of methods is measured on, with the controls on the same ones."""

    indices: tuple[int, ...]
    traces: list[Trace]
    pairs: Pairs
    fit: FitData
    readings: Mapping
    controls: Controls
    drawn_controls: Drawn


class _Sides:
    """All solutions, and the thinned ones of slow methods; made when first asked for."""

    def __init__(self, place: Place, family: str, solutions: list[Solution]) -> None:
        self.place, self.family, self.solutions = place, family, solutions
        problems = fit_problems(family, place.plan.fit_problems, place.plan.seed)
        self.fit = fit_data(place.tokenizer, problems)
        problems += [solution.problem for solution in solutions]
        self.problems = {problem.problem_id: problem for problem in problems}
        self._made: dict[str, _Side] = {}

    def side(self, method: str = "") -> _Side:
        """Return what `method` is measured on; without a name all solutions."""
        plan, size = self.place.plan, SLOW.get(method, "")
        if size not in self._made:
            most = getattr(plan, size) if size else len(self.solutions)
            indices = tuple(thinned(self.solutions, most))
            chosen = [self.solutions[i] for i in indices]
            traces = [solution.trace for solution in chosen]
            pairs = Pairs.of(traces)
            found = readings(chosen, pairs, plan.draws, plan.seed)
            fit = self.fit.first(plan.slow_fit) if size else self.fit
            drawn = draw_controls(traces, fit, indices, plan.seed)
            controls = measure_controls(drawn, found)
            self._made[size] = _Side(indices, traces, pairs, fit, found, controls, drawn)
        return self._made[size]

    def draw(self, method: Method, side: _Side) -> Drawn:
        """Draw a method's graphs, or read them back."""
        place = self.place
        stem = place.folder / self.family / f"drawn_{method.name}"
        own = (f"rg_helpers.graphs.{method.module}",) if method.module else ()
        key = place.key(*DRAWING, *own, family=self.family, method=method.name)
        drawn = stages.load_drawn(stem, key)
        if drawn is None or drawn.indices != side.indices:
            given = Given(
                side.traces,
                place.model,
                place.tokenizer,
                side.fit,
                self.problems,
                progress=place.progress,
            )
            drawn = draw(method, given, side.indices)
            stages.save_drawn(stem, drawn, key)
        return drawn

    def measure(self, method: Method, drawn: Drawn, side: _Side) -> list[Row]:
        """Measure a method's graphs, or read the rows back."""
        place = self.place
        path = place.folder / self.family / f"rows_{method.name}.json"
        own = (f"rg_helpers.graphs.{method.module}",) if method.module else ()
        key = place.key(*DRAWING, *MEASURING, *own, family=self.family, method=method.name)
        rows = stages.load_rows(path, key)
        if rows is None:
            seed = place.plan.seed
            rows = measure_graphs(drawn, side.pairs, side.readings, side.controls, seed)
            stages.save_rows(path, rows, key)
        return rows


def _time_row(method: Method, drawn: Drawn) -> Row:
    count = len(drawn.indices)
    variant = Variant(method.name, method.name, drawn.variants[0].choice, 0.0)
    value = 1000 * drawn.seconds / count
    return row(variant, "method", "ms_per_trace", value, n=count, traces=count)


def _memory_row(place: Place, method: Method, model_name: str) -> Row:
    path = place.folder / "memory" / f"{method.name}.json"
    own = (f"rg_helpers.graphs.{method.module}",) if method.module else ()
    key = place.key("rg_helpers.comparison.memory", *own, method=method.name, model_name=model_name)
    kept = stages.load_rows(path, key)
    if kept is None:
        device = place.model.device.type
        kept = [peak_megabytes(method.name, model_name, device, place.plan.seed)]
        stages.save_rows(path, kept, key)
    found = kept[0]
    choice = f"one {found['family']} trace of {found['tokens']} tokens, {found['nodes']} nodes"
    variant = Variant(method.name, method.name, choice, 0.0)
    filled = row(variant, "method", "mb_per_trace", found["megabytes"], n=1, traces=1)
    return filled | {"family": "all"}


def _against_popular(graphs: Mapping[str, tuple[Drawn, Pairs]], sides: _Sides) -> list[Row]:
    """Hold every graph, and the controls, against the popular one on the same right traces."""
    popular = graphs.get(POPULAR.removesuffix("_few"))
    if popular is None:
        return []
    drawn, pairs = popular
    threshold, weights = next((v.threshold, w) for v, w in drawn.named() if v.name == POPULAR)
    rivals: dict[tuple[int, ...], Bootstrap] = {}
    rows: list[Row] = []
    whole = sides.side()
    for name, (one, _) in graphs.items():
        side = sides.side(name)
        reading = side.readings.get(("right", "all"))
        if reading is None:
            continue
        if one.indices not in rivals:
            shared = weights[np.isin(np.asarray(drawn.indices)[pairs.graphs], one.indices)]
            rivals[one.indices] = measure(shared, reading, threshold, ("auroc",))["auroc"]
        rows += measure_against(one, "method", reading, rivals[one.indices])
    reading = whole.readings.get(("right", "all"))
    if reading is not None:
        rows += measure_against(whole.drawn_controls, "control", reading, rivals[whole.indices])
    return rows


def _agreements(
    place: Place,
    solutions: Sequence[Solution],
    graphs: Mapping[str, tuple[Drawn, Pairs]],
    sides: _Sides,
) -> list[Row]:
    """Compare rankings with the interventions' and with each other's, and samples with samples."""
    plan = place.plan
    problem_ids = [solution.problem.problem_id for solution in solutions]
    whole = sides.side()
    everything = {**graphs, "": (whole.drawn_controls, whole.pairs)}
    ranked: dict[str, Ranked] = {}
    variants: dict[str, tuple[Variant, str]] = {}
    rows: list[Row] = []
    for drawn, pairs in everything.values():
        kind = "control" if drawn is whole.drawn_controls else "method"
        chosen = [solutions[i] for i in drawn.indices]
        steps = step_pairs(chosen, pairs, plan.seed)
        for variant, weights in drawn.named():
            ranked[variant.name] = Ranked.of(weights, pairs, drawn.indices)
            variants[variant.name] = variant, kind
            if steps is not None:
                same, chance = stability(weights, pairs, steps, plan.draws, plan.seed)
                count = len(chosen)
                rows.append(row(variant, kind, "stability", same, traces=count))
                rows.append(row(variant, kind, "stability_chance", chance, traces=count))
                rows.append(
                    row(variant, kind, "stability_above_chance", same.minus(chance), traces=count)
                )
    reference = ranked.get(REFERENCE)
    for name, one in ranked.items() if reference is not None else ():
        found = agreement(one, reference, problem_ids, plan.draws, plan.seed)
        if found is not None and name != REFERENCE:
            variant, kind = variants[name]
            rows.append(
                row(variant, kind, f"agreement_with_{REFERENCE}", found, traces=len(one.indices))
            )
    for (name, other), value in agreement_matrix(ranked).items():
        variant, kind = variants[name]
        rows.append(row(variant, kind, "agreement", value, other=other))
    return rows
