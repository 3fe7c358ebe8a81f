"""What a reader who sees neither widget nor figure is told about a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rg_helpers.explorer.data import GOLD, WRITTEN, method_named, weights_of


def line_in_words(data: Mapping[str, Any], node: int) -> str:
    """Return a line's text, its verdict and what it follows from in the first graph."""
    name = f"{data['kinds'][node]} {node}"
    words = f"{name}: {data['texts'][node]}"
    judged = data["steps"][node]
    if judged is not None and judged["verdict"] != "right":
        words += f" (wrong: {judged['verdict']})"
    if data["kinds"][node] not in WRITTEN:
        return words
    method = data["methods"][0]
    row = weights_of(data, method["name"])[node]
    sources = [int(source) for source in np.argsort(-row) if row[source] >= method["threshold"]]
    found = [f"{data['kinds'][source]} {source} ({row[source]:.2f})" for source in sources]
    return f"{words} It follows from {joined(found) or 'nothing'} in {method['name']}."


def graph_in_words(data: Mapping[str, Any], name: str, threshold: float | None = None) -> str:
    """Return the alt text of a graph: its size, how it agrees with gold, which steps are wrong."""
    least = method_named(data, name)["threshold"] if threshold is None else threshold
    drawn = weights_of(data, name) >= max(least, 1e-9)
    nodes = len(data["kinds"])
    words = f"Reasoning graph of {nodes} lines: {name} has {int(drawn.sum())} edges"
    words += f" of at least {least:.3f}"
    if data["gold"] is not None:
        gold = weights_of(data, GOLD) > 0
        words += f", {int((drawn & gold).sum())} of them among the {int(gold.sum())} gold edges"
    wrong = wrong_steps(data)
    if wrong:
        marked = [f"{data['kinds'][node]} {node} ({reason})" for node, reason in wrong.items()]
        words += f"; marked as wrong: {joined(marked)}"
    return f"{words}."


def wrong_steps(data: Mapping[str, Any]) -> dict[int, str]:
    """Return node -> verdict of every line that is not right."""
    return {
        node: step["verdict"]
        for node, step in enumerate(data["steps"])
        if step is not None and step["verdict"] != "right"
    }


def joined(words: Sequence[str]) -> str:
    """Join words as a sentence does: "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
