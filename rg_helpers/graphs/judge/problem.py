"""`JudgeProblem`: what was wrong with one reply of a judge, and whether a graph remained."""

from __future__ import annotations

from dataclasses import dataclass

# Nothing can be drawn after one of these: what is left of the reply cannot be trusted.
FATAL = {
    "nothing_to_judge": "the trace has no written step; the judge was not asked",
    "request_failed": "the server gave no reply, or none in the protocol, after all retries",
    "empty_reply": "the reply holds no text",
    "truncated": "the reply ends inside its JSON: the later edges are missing",
    "not_json": "no JSON object with the expected keys can be read",
    "several_objects": "different JSON objects stand in one reply: which one is meant is unknown",
    "wrong_shape": "the JSON is no object, or it has no list of edges",
    "shifted_ids": "the ids seem to run from 1: every edge would be off by one",
    "no_edges": "no valid edge is left",
}
# The named part is left out or mended, the rest of the reply is used.
MENDED = {
    "schema_refused": "the server refused a JSON schema and was asked for JSON in words only",
    "cache_entry": "a file of the cache could not be read and was replaced by a new reply",
    "cut_after_json": "the reply was cut, but after its JSON was complete",
    "prose_around_json": "text or a code fence stands around the JSON",
    "duplicate_key": "a JSON object names a key twice (the last one counts)",
    "unknown_field": "a field that was not asked for",
    "wrong_type": "a value of a wrong type (converted where only one reading is possible)",
    "no_roles": "the list of nodes is missing: no node has a role",
    "missing_node": "a node without a role",
    "duplicate_node": "a node listed twice (the first one counts)",
    "unknown_node": "an id that is no node of the trace",
    "unknown_role": "a role that was not offered",
    "role_misfit": "a role that a node of this kind cannot have",
    "unknown_relation": "a relation that was not offered",
    "self_loop": "an edge from a node to itself",
    "backward_edge": "an edge whose source stands after its target",
    "edge_into_prompt": "an edge into a premise or the question, which were given",
    "cycle": "edges that lead back to where they start",
    "duplicate_edge": "a second edge between two nodes (the first one counts)",
    "weight_out_of_range": "a weight outside 0 to 1",
}
PROBLEM_KINDS = {**FATAL, **MENDED}


@dataclass(frozen=True)
class JudgeProblem:
    """One fault of one reply: which trace, which kind (`PROBLEM_KINDS`), and what was found.

    `fatal` problems leave the trace without a graph; after the others the rest is used.
    """

    trace_id: str
    kind: str
    detail: str

    def __post_init__(self) -> None:
        if self.kind not in PROBLEM_KINDS:
            raise ValueError(
                f"problem kind {self.kind!r} is unknown: use {', '.join(PROBLEM_KINDS)}"
            )

    @property
    def fatal(self) -> bool:
        """Say whether this problem left the trace without a graph."""
        return self.kind in FATAL

    def __str__(self) -> str:
        outcome = "no graph" if self.fatal else "the rest is used"
        return f"trace {self.trace_id}: {self.kind}: {self.detail} ({outcome})"


def shown(value: object, most: int = 60) -> str:
    """Return a short printable form of a value that a model wrote, whatever it holds."""
    if isinstance(value, int) and abs(value) >= 10**most:
        return "a huge number"
    try:
        text = ascii(value)
    except RecursionError:
        return "a deeply nested value"
    return text if len(text) <= most else f"{text[: most - 3]}..."
