"""From the text of a reply to a typed graph: every fault is named, none is raised.

Nothing is guessed. A part that breaks a rule is left out (a value with only one possible reading,
such as "3" for 3, is converted), the rest is used, and each such decision is a `JudgeProblem`.
Edges that point backwards are left out, not turned round: a judge that mixes up directions has
not said which of its other edges it meant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import networkx

from rg_helpers.graphs.judge.json_text import read_object
from rg_helpers.graphs.judge.problem import JudgeProblem, shown
from rg_helpers.graphs.judge.schema import EDGE_FIELDS, NODE_FIELDS
from rg_helpers.graphs.judge.typed_graph import (
    GIVEN_ROLES,
    RELATIONS,
    ROLES,
    TypedGraph,
    typed_graph,
)
from rg_helpers.traces import Trace
from rg_helpers.traces.trace import PROMPT_KINDS


@dataclass(frozen=True)
class ParsedReply:
    """The typed graph of one reply (None where none can be trusted) and all that was wrong."""

    typed: TypedGraph | None
    problems: tuple[JudgeProblem, ...]


def parse_reply(
    trace: Trace, content: str, finish_reason: str = "stop", model: str = ""
) -> ParsedReply:
    """Validate a judge's reply on a trace.

    `content` is the text of the reply, `finish_reason` what the server says about its end. The
    graph is None exactly if one of the problems is fatal. Never raises for any text.
    """
    reading = _Reading(trace)
    found, faults = read_object(content, finish_reason, ("edges", "nodes"))
    for kind, detail in faults:
        reading.report(kind, detail)
    if found is None:
        return ParsedReply(None, tuple(reading.problems))
    reading.unknown_fields(found, ("nodes", "edges"), "the reply")
    if not isinstance(found.get("edges"), list):
        given = type(found["edges"]).__name__ if "edges" in found else "missing"
        reading.report("wrong_shape", f"edges must be a list, they are {given}")
        return ParsedReply(None, tuple(reading.problems))
    if reading.is_shifted(found):
        last = len(trace.nodes)
        reading.report("shifted_ids", f"it names {last} and never 0; ids are 0 to {last - 1}")
        return ParsedReply(None, tuple(reading.problems))
    roles = reading.read_roles(found.get("nodes"))
    edges = reading.read_edges(found["edges"])
    if not edges:
        reading.report("no_edges", f"{len(found['edges'])} were given")
        return ParsedReply(None, tuple(reading.problems))
    return ParsedReply(typed_graph(trace, roles, edges, model), tuple(reading.problems))


@dataclass
class _Reading:
    """One pass over a decoded reply; collects problems."""

    trace: Trace
    problems: list[JudgeProblem] = field(default_factory=list)

    def report(self, kind: str, detail: str) -> None:
        self.problems.append(JudgeProblem(self.trace.trace_id, kind, detail))

    def unknown_fields(self, found: dict[str, Any], known: Sequence[str], where: str) -> None:
        extra = [name for name in found if name not in known]
        if extra:
            self.report("unknown_field", f"{where} has {', '.join(map(shown, extra[:5]))}")

    def is_shifted(self, found: dict[str, Any]) -> bool:
        """Say whether the ids seem to run from 1 to N: N is named somewhere, 0 nowhere."""
        ids: set[int | None] = set()
        for name, fields in (("nodes", ("id",)), ("edges", ("source", "target"))):
            entries = found.get(name)
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, dict):
                    ids |= {_integer(entry.get(field))[0] for field in fields}
        return len(self.trace.nodes) in ids and 0 not in ids

    def node(self, value: Any, where: str) -> int | None:
        """Return the node that a value names, or None and a report."""
        number, exact = _integer(value)
        if number is None or not exact:
            outcome = "no node" if number is None else f"read as {number}"
            self.report("wrong_type", f"{where} is {shown(value)}, not an integer: {outcome}")
        if number is None:
            return None
        if not 0 <= number < len(self.trace.nodes):
            last = len(self.trace.nodes) - 1
            self.report("unknown_node", f"{where} is {shown(number)}; nodes are 0 to {last}")
            return None
        return number

    def read_roles(self, nodes: Any) -> dict[int, str]:
        """Return the valid roles by node."""
        if not isinstance(nodes, list):
            self.report("no_roles", f"nodes must be a list, they are {type(nodes).__name__}")
            return {}
        roles: dict[int, str] = {}
        listed: set[int] = set()
        for number, entry in enumerate(nodes):
            where = f"node entry {number}"
            if not isinstance(entry, dict):
                self.report("wrong_type", f"{where} is {shown(entry)}, not an object")
                continue
            self.unknown_fields(entry, NODE_FIELDS, where)
            node = self.node(entry.get("id"), f"id of {where}")
            if node is None:
                continue
            if node in listed:
                self.report("duplicate_node", f"node {node}, role {shown(entry.get('role'))}")
                continue
            listed.add(node)
            role = entry.get("role")
            if not isinstance(role, str) or role not in ROLES:
                self.report("unknown_role", f"node {node} is called {shown(role)}")
            elif not self._fits(node, role):
                kind = self.trace.kinds[node]
                self.report("role_misfit", f"node {node} is a {kind} but is called {role}")
            else:
                roles[node] = role
        missing = [node for node in range(len(self.trace.nodes)) if node not in listed]
        if missing:
            self.report("missing_node", f"nodes {', '.join(map(str, missing))} are not listed")
        return roles

    def _fits(self, node: int, role: str) -> bool:
        given = self.trace.kinds[node] in PROMPT_KINDS
        return role in GIVEN_ROLES if given else role not in ("premise", "question")

    def read_edges(self, entries: list[Any]) -> dict[tuple[int, int], tuple[str, float]]:
        """Return the valid edges: (source, target) -> (relation, weight)."""
        edges: dict[tuple[int, int], tuple[str, float]] = {}
        drawn = networkx.DiGraph()  # every readable pair, also the backward ones, for cycles
        for number, entry in enumerate(entries):
            where = f"edge {number}"
            if not isinstance(entry, dict):
                self.report("wrong_type", f"{where} is {shown(entry)}, not an object")
                continue
            self.unknown_fields(entry, EDGE_FIELDS, where)
            source = self.node(entry.get("source"), f"source of {where}")
            target = self.node(entry.get("target"), f"target of {where}")
            relation = entry.get("relation")
            known = isinstance(relation, str) and relation in RELATIONS
            if not known:
                self.report("unknown_relation", f"{where} is called {shown(relation)}")
            weight = self._weight(entry, where)
            if source is None or target is None:
                continue
            drawn.add_edge(source, target)
            allowed = self._allowed(source, target, where)
            if not (known and allowed) or weight is None:
                continue
            if (source, target) in edges:
                kept = edges[source, target][0]
                self.report(
                    "duplicate_edge", f"{where}: {source} -> {target} {relation}; kept: {kept}"
                )
                continue
            edges[source, target] = (relation, weight)
        for nodes in networkx.strongly_connected_components(drawn):
            if len(nodes) > 1:
                self.report("cycle", f"nodes {', '.join(map(str, sorted(nodes)))}")
        return edges

    def _allowed(self, source: int, target: int, where: str) -> bool:
        if source == target:
            self.report("self_loop", f"{where}: {source} -> {target}")
        elif source > target:
            self.report("backward_edge", f"{where}: {source} -> {target}")
        elif self.trace.kinds[target] in PROMPT_KINDS:
            kind = self.trace.kinds[target]
            self.report("edge_into_prompt", f"{where}: {source} -> {target}, a {kind}")
        else:
            return True
        return False

    def _weight(self, entry: dict[str, Any], where: str) -> float | None:
        """Return an edge's weight; a missing one is 1, one outside 0 to 1 drops the edge."""
        if "weight" not in entry:
            self.report("wrong_type", f"{where} has no weight: taken as 1")
            return 1.0
        value = entry["weight"]
        weight = _number(value)
        if weight is None:
            self.report("wrong_type", f"weight of {where} is {shown(value)}, not a number")
        elif not 0 <= weight <= 1:
            self.report("weight_out_of_range", f"weight of {where} is {shown(value)}")
            return None
        elif isinstance(value, str):
            self.report("wrong_type", f"weight of {where} is {shown(value)}: read as {weight}")
        return weight


def _integer(value: Any) -> tuple[int | None, bool]:
    """Return the integer a JSON value stands for, and whether it is written as one."""
    if isinstance(value, bool):
        return None, False
    if isinstance(value, int):
        return value, True
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return int(value), False
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value), False
    return None, False


def _number(value: Any) -> float | None:
    """Return the number a JSON value stands for: also of "0.5", not of true or null."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.inf if isinstance(value, int) else None
