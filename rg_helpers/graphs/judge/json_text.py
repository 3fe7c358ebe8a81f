"""Find the one JSON object in the text of a reply, and say what stood around or inside it.

Models wrap JSON in prose, code fences or `<think>` blocks, stop in the middle, write a draft and
then another, or repeat a key. Each case has its name (`problem.PROBLEM_KINDS`); none raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from rg_helpers.graphs.judge.problem import shown

Fault = tuple[str, str]  # kind, detail

_THOUGHT = "</think>"
_FENCED = re.compile(r"\s*```[\w-]*\s*(.*?)\s*```\s*", re.DOTALL)
_OBJECT = re.compile(r'\{\s*"')
_MOST_STARTS = 2000  # places tried as the beginning of an object: bounds the work on nonsense
CUT = ("length", "content_filter", "max_tokens")


def read_object(
    text: str, finish_reason: str, keys: tuple[str, ...]
) -> tuple[dict[str, Any] | None, list[Fault]]:
    """Return the JSON object with one of `keys` in `text` (None if there is none), and faults.

    `finish_reason` is the server's ("length": it stopped at `max_tokens`). A reply that is cut
    inside its object is given up whole, since the edges it lost are the latest ones and a graph
    without them would look like a judgement.
    """
    if not text.strip():
        why = f" (finish_reason {finish_reason!r})" if finish_reason else ""
        return None, [("empty_reply", f"no text{why}")]
    whole, faults = _decode(text.strip())
    if faults is None:
        found, faults = _search(text, finish_reason, keys)
        if found is None:
            return None, faults
    elif not isinstance(whole, dict):
        return None, [("wrong_shape", f"the JSON is a {type(whole).__name__}, not an object")]
    else:
        found = whole
    if finish_reason in CUT:
        faults = [*faults, ("cut_after_json", f"finish_reason {finish_reason!r}")]
    return found, faults


def _search(
    text: str, finish_reason: str, keys: tuple[str, ...]
) -> tuple[dict[str, Any] | None, list[Fault]]:
    """Look for the object inside prose, fences and thoughts."""
    visible = text.rpartition(_THOUGHT)[2]  # a thought may hold drafts of the object
    candidates = [found for found in _objects(visible) if any(key in found[0] for key in keys)]
    if any(not _equal(found, candidates[0][0]) for found, _, _ in candidates[1:]):
        return None, [("several_objects", f"{len(candidates)} different objects")]
    if candidates:
        found, faults, (start, end) = candidates[0]
        around = (visible[:start] + visible[end:]).strip()
        fenced = _FENCED.fullmatch(visible) is not None
        detail = "a code fence" if fenced else shown(around or "a thought before it")
        return found, [("prose_around_json", detail), *faults]
    if finish_reason in CUT:
        return None, [("truncated", f"finish_reason {finish_reason!r}: raise max_tokens")]
    if _unbalanced(visible):
        return None, [("truncated", f"it ends with {shown(visible[-30:])}")]
    return None, [("not_json", f"it starts with {shown(visible.strip()[:60])}")]


def _equal(one: Any, other: Any) -> bool:
    try:
        return one == other
    except RecursionError:  # nested too deeply to compare
        return False


def _objects(text: str) -> Iterator[tuple[dict[str, Any], list[Fault], tuple[int, int]]]:
    """Yield every JSON object that starts in `text` and is not inside one already found."""
    position = 0
    for _ in range(_MOST_STARTS):
        start = _OBJECT.search(text, position)
        if start is None:
            return
        end, found, faults = _decode_at(text, start.start())
        if faults is None or not isinstance(found, dict):
            position = start.start() + 1
        else:
            yield found, faults, (start.start(), end)
            position = end


def _decode(text: str) -> tuple[Any, list[Fault] | None]:
    """Decode a text that is JSON and nothing else; faults are None if it is not."""
    end, value, faults = _decode_at(text, 0)
    return (value, faults) if faults is not None and end == len(text) else (None, None)


def _decode_at(text: str, start: int) -> tuple[int, Any, list[Fault] | None]:
    """Decode the JSON value at `start`: where it ends, the value, faults (None: not JSON)."""
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in items]
        twice.extend(name for name in dict.fromkeys(names) if names.count(name) > 1)
        return dict(items)

    try:
        value, end = json.JSONDecoder(object_pairs_hook=pairs).raw_decode(text, start)
    except (ValueError, RecursionError):  # bad JSON, a number too long, or nested too deeply
        return start, None, None
    return end, value, [("duplicate_key", shown(name)) for name in dict.fromkeys(twice)]


def _unbalanced(text: str) -> bool:
    """Say whether the first object of `text` is still open at its end."""
    first = _OBJECT.search(text)
    if first is None:
        return text.rstrip().endswith("{")
    depth, inside, escaped = 0, False, False
    for letter in text[first.start() :]:
        if inside:
            inside, escaped = escaped or letter != '"', letter == "\\" and not escaped
        elif letter == '"':
            inside = True
        elif letter in "{[":
            depth += 1
        elif letter in "}]":
            depth -= 1
            if depth == 0:
                return False
    return True
