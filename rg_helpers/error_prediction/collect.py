"""Sampling many traces in parts that survive a kill: a part is whole on disk or not there.

Every part is a file of its own, written under a temporary name and renamed. A run that starts again
reads the parts it finds, checks that they hold just the traces they should, and samples the rest;
since each sample has a random stream of its own, the result is that of an uninterrupted run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from rg_helpers.artefacts import read_json, write_json
from rg_helpers.error_prediction.sampling_temperature import (
    TEMPERATURES,
    TemperatureChoice,
    TemperatureRow,
    choose_temperature,
    measure_temperatures,
)
from rg_helpers.error_prediction.trace_set import TraceSet
from rg_helpers.problems import Problem, generate_problems
from rg_helpers.problems.problem import Split
from rg_helpers.traces import Trace, read_traces, sample_traces, write_traces
from rg_helpers.traces.engines import BATCHED, Engine, open_engine

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PART_PROBLEMS = 25
LEAST_SAMPLES = 2


@dataclass(frozen=True)
class Sampling:
    """What is sampled from one family; ranges are (smallest, largest), drawn evenly.

    `temperature=None` chooses it on `choice_problems` validation problems. Raises `ValueError` for
    impossible numbers.
    """

    family: str
    problems: int = 250
    samples: int = 4
    operations: tuple[int, int] = (2, 8)
    distractors: tuple[int, int] = (1, 3)
    joins: int | None = None
    split: Split = "test"
    temperature: float | None = None
    choice_problems: int = 60
    seed: int = 0
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.problems < 1 or self.samples < LEAST_SAMPLES or self.choice_problems < 1:
            raise ValueError(
                f"{self.problems} problems, {self.samples} samples, {self.choice_problems} problems"
                f" for the choice: expected at least 1, {LEAST_SAMPLES} and 1 (right and wrong "
                "solutions of one problem are compared, so one sample says nothing; 4 are better)"
            )
        if self.temperature is not None and not 0 < self.temperature < float("inf"):
            raise ValueError(
                f"temperature {self.temperature}: samples differ only at one above 0; leave it out "
                "to have it chosen"
            )
        for name in ("operations", "distractors"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ValueError(f"{name} {low} to {high}: expected smallest <= largest, from 0 up")

    def drawn(self, split: Split, count: int) -> list[Problem]:
        """Generate problems of these sizes."""
        sizes = {"operations": self.operations, "distractors": self.distractors}
        return generate_problems(self.family, count, split, self.seed, **sizes, joins=self.joins)


def collect_traces(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    sampling: Sampling,
    folder: str | Path,
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    engine: str | Engine = BATCHED,
    progress: bool = True,
) -> tuple[TraceSet, TemperatureChoice]:
    """Sample a family's traces, part by part into `folder`, and label them by the checker.

    `engine` writes them (see `traces.engines`); an opened one serves several families. Parts found
    in `folder` are taken over, so give one folder per model and settings. The order is problem by
    problem. Without a choice of temperature the returned one has no rows.
    """
    folder = Path(folder)
    if isinstance(engine, str):
        engine = open_engine(engine, model, tokenizer)
    options = {"max_new_tokens": sampling.max_new_tokens, "engine": engine}
    choice = _choice(model, tokenizer, sampling, folder, temperatures, options, progress)
    problems = sampling.drawn(sampling.split, sampling.problems)
    traces: list[Trace] = []
    bar = tqdm(
        total=len(problems) * sampling.samples,
        desc=f"{sampling.family} traces",
        disable=None if progress else True,
    )
    with bar:
        for first in range(0, len(problems), PART_PROBLEMS):
            part = problems[first : first + PART_PROBLEMS]
            path = folder / f"{sampling.family}-{first:06d}.jsonl"
            found = _read_part(path, part, sampling.samples, choice.temperature, engine.name)
            if found is None:
                found = sample_traces(
                    model,
                    tokenizer,
                    part,
                    samples=sampling.samples,
                    temperature=choice.temperature,
                    seed=sampling.seed,
                    progress=False,
                    **options,
                )
                write_traces(path, found)
            traces += found
            bar.update(len(found))
    return TraceSet.of(traces, problems), choice


def _choice(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    sampling: Sampling,
    folder: Path,
    temperatures: Sequence[float],
    options: dict[str, Any],
    progress: bool,
) -> TemperatureChoice:
    """Take the given temperature, or the one chosen by an earlier run, or choose."""
    if sampling.temperature is not None:
        return TemperatureChoice(sampling.temperature, True, ())
    path = folder / f"{sampling.family}-temperatures.json"
    try:
        rows = [TemperatureRow(**row) for row in read_json(path)]
    except (OSError, ValueError, TypeError):
        rows = measure_temperatures(
            model,
            tokenizer,
            sampling.drawn("validation", sampling.choice_problems),
            temperatures=temperatures,
            seed=sampling.seed,
            progress=progress,
            **options,
        )
        write_json(path, [vars(row) for row in rows])
    return choose_temperature(rows)


def _read_part(
    path: Path, problems: Sequence[Problem], samples: int, temperature: float, engine: str
) -> list[Trace] | None:
    """Read a part; None unless it holds exactly the traces it should, in order."""
    if not path.is_file():
        return None
    traces, bad = read_traces(path)
    wanted = [(p.problem_id, p.prompt, sample) for p in problems for sample in range(samples)]
    found = [(trace.problem_id, trace.prompt, trace.extra.get("sample")) for trace in traces]
    made = {(trace.extra.get("temperature"), trace.extra.get("engine")) for trace in traces}
    return None if bad or found != wanted or made != {(temperature, engine)} else traces
