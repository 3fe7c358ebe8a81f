"""Where the nodes of a reasoning graph stand: steps in layers by depth, premises at their side."""

from __future__ import annotations

from collections.abc import Sequence

PREMISE_LANE = -1.15  # the nearest column of premises, left of the steps


def layered_positions(
    kinds: Sequence[str], parents: Sequence[Sequence[int]]
) -> list[tuple[float, float]]:
    """Return (x, y) per node; y falls by one a layer, the question stands at the top.

    A step stands one layer below the deepest step (or question) it follows from. A premise stands
    in a lane on the left at the height of the first step that reads it; premises that nothing
    reads stand in a lane of their own further left. Parents must be earlier nodes.
    """
    depth = _depths(kinds, parents)
    layers: dict[int, list[int]] = {}
    for node, kind in enumerate(kinds):
        if kind != "premise":
            layers.setdefault(depth[node], []).append(node)
    x = dict.fromkeys(range(len(kinds)), 0.0)
    for level in sorted(layers):
        members = layers[level]
        wish = {
            node: _mean([x[p] for p in parents[node] if kinds[p] != "premise"]) for node in members
        }
        members.sort(key=lambda node: (wish[node], node))
        centre = _mean([wish[node] for node in members])
        for place, node in enumerate(members):
            x[node] = centre + 1.3 * (place - (len(members) - 1) / 2)
    left = min([x[node] for node, kind in enumerate(kinds) if kind != "premise"], default=0.0)
    y = {node: -float(depth[node]) for node in range(len(kinds))}
    _place_premises(kinds, parents, depth, left, x, y)
    return [(x[node], y[node]) for node in range(len(kinds))]


def _depths(kinds: Sequence[str], parents: Sequence[Sequence[int]]) -> list[int]:
    depth: list[int] = []
    for node, sources in enumerate(parents):
        if any(source >= node for source in sources):
            raise ValueError(
                f"node {node} has the parents {tuple(sources)}: a parent must stand before it"
            )
        written = [depth[p] for p in sources if kinds[p] not in ("premise", "question")]
        depth.append(1 + max(written, default=0) if kinds[node] in ("step", "answer") else 0)
    return depth


def _place_premises(
    kinds: Sequence[str],
    parents: Sequence[Sequence[int]],
    depth: Sequence[int],
    left: float,
    x: dict[int, float],
    y: dict[int, float],
) -> None:
    """Give each premise the height of its first reader, one lane further left when it is taken."""
    taken: set[tuple[int, int]] = set()
    unread = []
    lanes = 0
    for node, kind in enumerate(kinds):
        if kind != "premise":
            continue
        readers = [depth[child] for child in range(len(kinds)) if node in parents[child]]
        if not readers:
            unread.append(node)
            continue
        lane, level = 0, min(readers)
        while (lane, level) in taken:
            lane += 1
        taken.add((lane, level))
        lanes = max(lanes, lane)
        x[node], y[node] = left + PREMISE_LANE - 0.85 * lane, -float(level)
    bottom = max(depth, default=0)
    for place, node in enumerate(unread):
        x[node] = left + PREMISE_LANE - 0.85 * (lanes + 1)
        y[node] = -1.0 - place * min(1.0, max(0.6, (bottom - 1) / max(1, len(unread) - 1)))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
