"""Graphs that a judge draws, as one stage of a run, with what they cost.

Whatever a server does wrong (no reply in time, a page instead of JSON, a rate limit that does not
end, a reply without a usable graph) costs the solution it was asked about and no other one: it is
named with the reason, and a rerun asks for it again. Replies are kept in the run's folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rg_helpers.comparison.stages import key_of, source_hash
from rg_helpers.error_prediction.graph_blocks import DRAWING
from rg_helpers.error_prediction.trace_drawing import drawn_trace
from rg_helpers.graphs.judge import JudgeReply, JudgeRun, JudgeSettings, judge_graphs
from rg_helpers.scoring.memory import Refused
from rg_helpers.scoring.stages import TABLE, WEIGHTS, Arrays, Stage
from rg_helpers.traces import Trace

METHOD = "judge"
REPLIES = "judge_replies"
NAME_BOTH = (
    "asks a model behind an OpenAI-compatible server: name both, for example "
    "--judge-url http://localhost:8000/v1 --judge-model NAME"
)
CURE = f"method 'judge' {NAME_BOTH}"
BYTES_OF_A_PAIR = 100  # weights and their float64 copies
MILLION = 1_000_000


@dataclass(frozen=True)
class Judge:
    """A model behind an OpenAI-compatible server; `settings` are further ones of `JudgeSettings`.

    `prices` are what a million prompt tokens and a million reply tokens cost. Without `base_url`
    only replies that are kept already are used. Raises `ValueError` for settings out of range.
    """

    model: str
    base_url: str | None = None
    prices: tuple[float, float] | None = None
    concurrency: int = 4
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.request_settings()
        if self.concurrency < 1:
            raise ValueError(f"concurrency {self.concurrency}: expected at least 1 request")
        if self.prices is not None and not all(price >= 0 for price in self.prices):
            raise ValueError(
                f"judge prices {self.prices}: expected two numbers from 0, what a million prompt "
                "tokens and a million reply tokens cost"
            )

    def request_settings(self) -> JudgeSettings:
        """Return the settings of every request."""
        return JudgeSettings(base_url=self.base_url or "", model=self.model, **self.settings)


@dataclass(eq=False)
class JudgeUse:
    """What judging took in one run: requests, replies from the folder, and tokens of all replies.

    `uncounted` replies came from a server that does not count tokens.
    """

    requests: int = 0
    kept: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    uncounted: int = 0

    def add(self, run: JudgeRun) -> None:
        """Count one more batch of graphs."""
        self.count(run.requests, run.cached, run.replies)

    def count(self, requests: int, kept: int, replies: Iterable[JudgeReply | None]) -> None:
        """Count requests, replies kept from before, and the tokens of all replies."""
        self.requests += requests
        self.kept += kept
        for reply in replies:
            if reply is None:
                continue
            counts = reply.prompt_tokens, reply.completion_tokens
            self.uncounted += None in counts
            self.prompt_tokens += counts[0] or 0
            self.reply_tokens += counts[1] or 0

    def cost(self, prices: tuple[float, float]) -> float:
        """Return what all these tokens cost at prices for a million of each kind."""
        return (self.prompt_tokens * prices[0] + self.reply_tokens * prices[1]) / MILLION

    def words(self, prices: tuple[float, float] | None = None) -> str:
        """Say what was asked and what it cost."""
        said = (
            f"judge: {self.requests} requests, {self.kept} replies kept from before; "
            f"{self.prompt_tokens:,} prompt tokens and {self.reply_tokens:,} reply tokens"
        )
        if self.uncounted:
            said += f", {self.uncounted} replies not counted by the server"
        if prices is None:
            return f"{said}; --judge-prices says what they cost"
        return f"{said}; cost {self.cost(prices):.4f}, at {prices[0]:g} and {prices[1]:g} a million"

    def as_dict(self) -> dict[str, int]:
        """Return the counts as plain values."""
        return asdict(self)


def judge_stage(judge: Judge, folder: Path, use: JudgeUse) -> Stage:
    """Return the stage in which a judge draws; replies are kept in `folder`, `use` counts them."""
    asking = _Asking(judge, folder / REPLIES, use)
    key = key_of(
        stage=METHOD,
        judge=judge.model,
        parameters=judge.request_settings().parameters(),
        source=source_hash(*DRAWING, "rg_helpers.graphs.judge.graph"),
    )
    return Stage(METHOD, key, asking.work, _bytes_needed, lambda _: asking.words, METHOD)


class _Asking:
    """Asks about traces until the server is gone; from then on only what is kept is used."""

    def __init__(self, judge: Judge, replies: Path, use: JudgeUse) -> None:
        self.judge, self.replies, self.use = judge, replies, use
        self.words: dict[str, str] = {}
        self._gone: str | None = None

    def work(self, traces: Sequence[Trace]) -> list[Arrays | Refused]:
        if self._gone is None:
            try:
                return self._drawn(traces, self._run(traces, self.judge.base_url))
            except ConnectionError as error:
                self._gone = str(error)
        return [self._kept(trace) for trace in traces]

    def _kept(self, trace: Trace) -> Arrays | Refused:
        try:
            return self._drawn([trace], self._run([trace], None))[0]
        except ValueError:  # no reply is kept
            return Refused(f"the server is gone: {self._gone}; run again once it answers")

    def _run(self, traces: Sequence[Trace], base_url: str | None) -> JudgeRun:
        judge = self.judge
        return judge_graphs(
            traces,
            base_url,
            judge.model,
            self.replies,
            concurrency=judge.concurrency,
            progress=False,
            **judge.settings,
        )

    def _drawn(self, traces: Sequence[Trace], run: JudgeRun) -> list[Arrays | Refused]:
        self.use.add(run)
        faults: dict[str, str] = {
            problem.trace_id: f"{problem.kind}: {problem.detail}"
            for problem in run.problems
            if problem.fatal
        }
        found: list[Arrays | Refused] = []
        for trace, graph in zip(traces, run.graphs, strict=True):
            if graph is None:
                found.append(Refused(faults[trace.trace_id]))
                continue
            drawn = drawn_trace(trace, graph.weights)
            self.words = {"choice": drawn.choice, "names": json.dumps(drawn.names)}
            found.append({WEIGHTS: drawn.weights, TABLE: drawn.table})
        return found


def _bytes_needed(trace: Trace) -> int:
    return BYTES_OF_A_PAIR * len(trace.nodes) ** 2
