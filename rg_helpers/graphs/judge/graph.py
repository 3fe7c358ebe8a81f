"""Graphs as a language model judges them: typed nodes and edges for many traces at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rg_helpers.graphs.judge.asking import ask_all
from rg_helpers.graphs.judge.cache import JudgeReply, ReplyCache, request_key
from rg_helpers.graphs.judge.client import JudgeSettings
from rg_helpers.graphs.judge.parse import parse_reply
from rg_helpers.graphs.judge.problem import JudgeProblem
from rg_helpers.graphs.judge.prompt import Message, judge_messages
from rg_helpers.graphs.judge.schema import response_format
from rg_helpers.graphs.judge.typed_graph import (
    RELATION_WEIGHTS,
    TypedGraph,
    check_relation_weights,
)
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.traces import Trace


@dataclass(frozen=True)
class JudgeRun:
    """What a judge made of some traces; every list but `problems` has one entry per trace.

    `graphs` holds the dependencies as `StepGraph`s with method "judge", `typed` also roles,
    relations and contradictions; both are None for a trace with a fatal problem. `requests`
    counts the requests sent (retries by the client not counted), `cached` the traces whose reply
    came from the cache.
    """

    graphs: list[StepGraph | None]
    typed: list[TypedGraph | None]
    problems: list[JudgeProblem]
    replies: list[JudgeReply | None]
    requests: int = 0
    cached: int = 0

    def report(self) -> str:
        """Return in words how many traces have a graph and which problems there were."""
        drawn = sum(graph is not None for graph in self.graphs)
        counts = Counter(problem.kind for problem in self.problems)
        listed = ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
        return f"{drawn} of {len(self.graphs)} traces have a graph; problems: {listed or 'none'}"


def judge_graphs(
    traces: Sequence[Trace],
    base_url: str | None = None,
    model: str = "",
    cache: str | Path | None = None,
    *,
    concurrency: int = 4,
    relation_weights: Mapping[str, float] = RELATION_WEIGHTS,
    progress: bool = True,
    **settings: Any,
) -> JudgeRun:
    """Let the model behind an OpenAI-compatible server draw the graph of every trace.

    `cache` is a folder: replies in it are used without a request, new ones are added as they come,
    so that a stopped run goes on where it was; when it holds all of them, neither a server nor
    the `openai` package is needed and `base_url` may be None. `concurrency` bounds the requests
    under way at a time. `settings` are those of `JudgeSettings` (temperature, max_tokens, ...).

    A reply that cannot be used is a `JudgeProblem` of its trace, never an exception. Raises
    `ConnectionError` if no server answers, `RuntimeError` for a missing package, a refused key or
    an unknown model, `ValueError` for bad arguments.
    """
    check_relation_weights(relation_weights)
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, got {concurrency}")
    chosen = JudgeSettings(base_url=base_url or "", model=model, **settings)
    store = ReplyCache(cache)
    problems: dict[int, list[JudgeProblem]] = {number: [] for number in range(len(traces))}

    def report(number: int, kind: str, detail: str) -> None:
        problems[number].append(JudgeProblem(traces[number].trace_id, kind, detail))

    requests: dict[str, list[Message]] = {}
    askers: dict[str, list[int]] = {}  # equal traces share one request
    for number, trace in enumerate(traces):
        if not trace.steps:
            report(number, "nothing_to_judge", "no written step")
            continue
        messages = judge_messages(trace)
        key = request_key(model, messages, chosen.parameters())
        requests[key] = messages
        askers.setdefault(key, []).append(number)

    found: dict[str, JudgeReply] = {}
    for key, numbers in askers.items():
        reply, fault = store.get(key)
        if reply is not None:
            found[key] = reply
        elif fault is not None:
            for number in numbers:
                report(number, "cache_entry", fault)
    cached = sum(len(askers[key]) for key in found)
    missing = {key: requests[key] for key in askers if key not in found}
    if missing:
        sizes = {key: len(traces[askers[key][0]].nodes) for key in missing}
        forms = {key: partial(response_format, nodes=nodes) for key, nodes in sizes.items()}
        how = {"concurrency": concurrency, "progress": progress}
        answers, failures = ask_all(missing, forms, chosen, store, **how)
        found.update(answers)
        for key, reason in failures.items():
            for number in askers[key]:
                report(number, "request_failed", reason)

    replies: list[JudgeReply | None] = [None] * len(traces)
    for key, reply in found.items():
        for number in askers[key]:
            replies[number] = reply
    typed: list[TypedGraph | None] = [None] * len(traces)
    for number, (trace, reply) in enumerate(zip(traces, replies, strict=True)):
        if reply is None:
            continue
        if reply.response_format != chosen.first_format:
            report(number, "schema_refused", f"asked as {reply.response_format}")
        parsed = parse_reply(trace, reply.content, reply.finish_reason, model)
        problems[number].extend(parsed.problems)
        typed[number] = parsed.typed
    return JudgeRun(
        graphs=[None if graph is None else graph.step_graph(relation_weights) for graph in typed],
        typed=typed,
        problems=[problem for number in problems for problem in problems[number]],
        replies=replies,
        requests=len(missing),
        cached=cached,
    )
