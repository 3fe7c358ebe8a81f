"""What a way to draw graphs is: what it needs, what it may use, and how it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from rg_helpers.problems import Problem

Axes = Literal["none", "layers", "heads"]
NEEDS = {
    "model": "pass model=..., for example load_model('course')[0]",
    "tokenizer": "pass tokenizer=..., for example load_model('course')[1]",
    "fit": "pass fit=FitData(traces, gold) of other problems than those drawn",
    "problems": "pass problems=..., the problems the traces were written for",
    "judge": "pass judge={'base_url': ..., 'model': ...}, an OpenAI-compatible server, or "
    "judge={'cache': folder} with recorded replies",
}


@dataclass(frozen=True, eq=False)
class FitData:
    """Traces with gold graphs on which methods choose layers, heads, clusters and thresholds."""

    traces: tuple[Trace, ...]
    gold: tuple[StepGraph, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "traces", tuple(self.traces))
        object.__setattr__(self, "gold", tuple(self.gold))
        if len(self.traces) != len(self.gold) or not self.traces:
            raise ValueError(
                f"{len(self.traces)} fit traces and {len(self.gold)} gold graphs: give one graph "
                "for each trace, and at least one"
            )

    def first(self, count: int) -> FitData:
        """Return the first `count` of them, for methods that are slow."""
        return FitData(self.traces[:count], self.gold[:count])


@dataclass(frozen=True, eq=False)
class Given:
    """What a method may use: traces to draw, and whatever else its `needs` name."""

    traces: Sequence[Trace]
    model: PreTrainedModel | None = None
    tokenizer: PreTrainedTokenizerFast | None = None
    fit: FitData | None = None
    problems: Mapping[str, Problem] = field(default_factory=dict)
    judge: Mapping[str, Any] | None = None
    batch_size: int | None = None
    progress: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """One way to draw graphs.

    `score` returns raw scores as the method files do: a float32 array a trace, (nodes, nodes), with
    `axes` "layers" (layers, nodes, nodes), with "heads" (layers, heads, nodes, nodes). `fit`, where
    there is one, prepares it on training traces, and its result is handed to `score`.
    """

    name: str
    meaning: str
    source: str
    score: Callable[[Given, Any], list[np.ndarray]]
    needs: tuple[str, ...] = ("model",)
    axes: Axes = "none"
    fit: Callable[[Given], Any] | None = None
    module: str = ""

    def check(self, given: Given) -> None:
        """Raise `ValueError` naming what is missing and where to get it."""
        missing = [name for name in self.needs if not _has(given, name)]
        if missing:
            cures = "; ".join(NEEDS[name] for name in missing)
            raise ValueError(f"method {self.name!r} needs {' and '.join(missing)}: {cures}")

    def prepare(self, given: Given) -> Any:
        """Fit what the method fits on `given.fit`; None where it fits nothing."""
        self.check(given)
        return None if self.fit is None else self.fit(given)

    def scores(self, given: Given, fitted: Any = None) -> list[np.ndarray]:
        """Return the raw scores of `given.traces`; `fitted` is what `prepare` returned."""
        self.check(given)
        return self.score(given, fitted)


def _has(given: Given, name: str) -> bool:
    found = getattr(given, name)
    return bool(found) if name == "problems" else found is not None
