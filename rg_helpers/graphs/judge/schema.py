"""The JSON schema of a reply, and the three ways to ask a server for it.

Only keywords that every structured-output back end knows are used (type, enum, properties, items,
required, additionalProperties); ranges and directions are checked after the reply has come.
"""

from __future__ import annotations

from typing import Any

from rg_helpers.graphs.judge.typed_graph import RELATIONS, ROLES

NODE_FIELDS = ("id", "role")
EDGE_FIELDS = ("source", "target", "relation", "weight")
# From strict to lenient: a server that refuses one is asked with the next.
FORMATS = ("json_schema", "json_object", "plain")


def reply_schema(nodes: int) -> dict[str, Any]:
    """Return the schema of a reply on a trace of `nodes` nodes (ids 0 to nodes - 1)."""
    if nodes < 1:
        raise ValueError(f"a trace to judge has at least one node, got {nodes}")
    node_id = {"type": "integer", "enum": list(range(nodes))}
    return object_schema(
        nodes=_list(object_schema(id=node_id, role={"type": "string", "enum": list(ROLES)})),
        edges=_list(
            object_schema(
                source=node_id,
                target=node_id,
                relation={"type": "string", "enum": list(RELATIONS)},
                weight={"type": "number"},
            )
        ),
    )


def response_format(name: str, nodes: int) -> dict[str, Any] | None:
    """Return the `response_format` of a request for a graph; see `format_of`."""
    return format_of(name, "reasoning_graph", reply_schema(nodes))


def format_of(name: str, title: str, schema: dict[str, Any]) -> dict[str, Any] | None:
    """Return the `response_format` of a request in one of `FORMATS`; None for "plain"."""
    if name == "plain":
        return None
    if name == "json_object":
        return {"type": "json_object"}
    if name == "json_schema":
        named = {"name": title, "strict": True, "schema": schema}
        return {"type": "json_schema", "json_schema": named}
    raise ValueError(f"response format {name!r} is unknown: use {', '.join(FORMATS)}")


def object_schema(**properties: Any) -> dict[str, Any]:
    """Return the schema of an object that has these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}
