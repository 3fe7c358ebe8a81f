"""The temperature at which both classes are frequent, chosen by rule on validation problems.

A predictor of errors learns nothing from a model that is always right, and little from one that
writes noise. The rule: from cold to hot, the share of wrong answers among the solutions that can be
read; the temperature whose share is nearest to a half, within a quarter and three quarters. The
walk ends where half are wrong, or where too few solutions can still be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from rg_helpers.error_prediction.trace_set import TraceSet
from rg_helpers.traces import sample_traces

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from rg_helpers.problems import Problem

TEMPERATURES = (0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
WANTED = (0.25, 0.75)
LEAST_READ = 0.75


@dataclass(frozen=True)
class TemperatureRow:
    """What one temperature gives: solutions, how many can be read, how many of those are wrong.

    `mixed_problems` have both right and wrong answers among those read. The rule leaves them out of
    account, but only they say how well errors are told from right solutions of the same problem.
    """

    temperature: float
    traces: int
    read: int
    wrong: int
    mixed_problems: int

    @property
    def readable(self) -> bool:
        """Whether enough solutions can be read for the temperature to be a candidate."""
        return self.read > 0 and self.read >= LEAST_READ * self.traces

    @property
    def wrong_share(self) -> float:
        """Share of wrong answers among the solutions that can be read (0 if none can)."""
        return self.wrong / self.read if self.read else 0.0


@dataclass(frozen=True)
class TemperatureChoice:
    """The chosen temperature, whether it keeps both classes frequent, and all that was measured."""

    temperature: float
    both_frequent: bool
    rows: tuple[TemperatureRow, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        rows = [{**asdict(row), "wrong_share": row.wrong_share} for row in self.rows]
        return {
            "rule": f"nearest to half wrong answers within {WANTED[0]} to {WANTED[1]}, on "
            f"validation problems, where at least {LEAST_READ} of the solutions can be read",
            "temperature": self.temperature,
            "both_frequent": self.both_frequent,
            "rows": rows,
        }


def measure_temperatures(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    *,
    samples: int = 2,
    temperatures: Sequence[float] = TEMPERATURES,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> list[TemperatureRow]:
    """Walk the temperatures from cold to hot and measure each, as far as the rule needs them.

    `problems` must be validation problems: what is chosen on the traces themselves flatters them.
    `options` go to `sample_traces`. Raises `ValueError` for other problems and no temperatures.
    """
    if not problems or any(problem.split != "validation" for problem in problems):
        raise ValueError(
            "the temperature is chosen on validation problems: give split='validation'"
        )
    if not temperatures or min(temperatures) <= 0:
        raise ValueError(f"temperatures {tuple(temperatures)}: expected some, all above 0")
    rows = []
    for temperature in tqdm(
        sorted(temperatures), desc="choose temperature", disable=None if progress else True
    ):
        traces = sample_traces(
            model,
            tokenizer,
            problems,
            samples=samples,
            temperature=temperature,
            seed=seed,
            progress=False,
            **options,
        )
        read = TraceSet.of(traces, problems).read
        wrong = int(read.target("wrong_answer").sum())
        mixed = read.mixed_problems("wrong_answer")
        rows.append(TemperatureRow(temperature, len(traces), len(read), wrong, mixed))
        if rows[-1].wrong_share >= 0.5 or not rows[-1].readable:
            break
    return rows


def choose_temperature(rows: Sequence[TemperatureRow]) -> TemperatureChoice:
    """Choose by the rule; of two equally near the colder. Raises `ValueError` without rows.

    Where no candidate lies within the wanted shares the nearest is returned and `both_frequent`
    is False: then other problems are needed, not another temperature.
    """
    if not rows:
        raise ValueError("no temperature was measured: give the rows of measure_temperatures")
    candidates = [row for row in rows if row.readable]
    if not candidates:
        return TemperatureChoice(
            max(rows, key=lambda row: row.read).temperature, False, tuple(rows)
        )
    # |2 wrong - read| / read rather than |share - 1/2|: equally near must compare equal.
    nearest = min(candidates, key=lambda r: (abs(2 * r.wrong - r.read) / r.read, r.temperature))
    frequent = WANTED[0] <= nearest.wrong_share <= WANTED[1]
    return TemperatureChoice(nearest.temperature, frequent, tuple(rows))
