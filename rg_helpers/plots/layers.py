"""Where the nodes of a reasoning graph stand, and how its edges bend round them."""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]

STEP_GAP = 1.3  # between steps of one layer
PREMISE_GAP = 1.2  # from the outermost step to the nearest premise
LANE_GAP = 0.8  # between lanes of premises
STAGGER = 0.36  # how much lower each further lane starts, so that its edges pass between nodes
CLEARANCE = 0.34  # what an edge should keep from nodes that are not its own
BENDS = (0.05, -0.05, 0.18, -0.18, 0.3, -0.3, 0.42, -0.42, 0.55, -0.55)


def layered_positions(kinds: Sequence[str], parents: Sequence[Sequence[int]]) -> list[Point]:
    """Return (x, y) per node; y falls by one a layer, the question stands at the top.

    A step stands one layer below the deepest step it follows from. A premise stands left or right
    of the steps, whichever is nearer, at the height of the first step that reads it; premises
    that nothing reads stand in a column of their own at the far left. Raises `ValueError` for a
    parent that does not stand before its node.
    """
    depth = _depths(kinds, parents)
    layers: dict[int, list[int]] = {}
    for node, kind in enumerate(kinds):
        if kind != "premise":
            layers.setdefault(depth[node], []).append(node)
    x = [0.0] * len(kinds)
    for level in sorted(layers):
        members = layers[level]
        wish = {
            node: _mean([x[p] for p in parents[node] if kinds[p] not in ("premise", "question")])
            for node in members
        }
        members.sort(key=lambda node, wish=wish: (wish[node], node))
        centre = _mean(list(wish.values()))
        for place, node in enumerate(members):
            x[node] = centre + STEP_GAP * (place - (len(members) - 1) / 2)
    y = [-float(level) for level in depth]
    _place_premises(kinds, parents, depth, x, y)
    return list(zip(x, y))


def choose_bend(
    start: Point, end: Point, others: Sequence[Point], scale: Point = (1.0, 1.0)
) -> float:
    """Return the curvature (matplotlib's arc3 `rad`) that keeps an edge clear of other nodes.

    The straightest of a few curves that stays CLEARANCE away from all `others`, else the one that
    comes least close; `scale` turns coordinates into lengths on paper. Long edges bend less, so
    that they do not swing out of the picture.
    """
    (x0, y0), (x1, y1) = [(px * scale[0], py * scale[1]) for px, py in (start, end)]
    length = math.hypot(x1 - x0, y1 - y0)
    best, best_gap = BENDS[0], -1.0
    for bend in BENDS:
        limited = math.copysign(min(abs(bend), 2.6 / max(length, 1e-9)), bend)
        # The control point of arc3: the middle, moved sideways by rad times the length.
        cx = (x0 + x1) / 2 + limited * (y1 - y0)
        cy = (y0 + y1) / 2 - limited * (x1 - x0)
        gap = math.inf
        for part in range(1, 12):
            t = part / 12
            px = (1 - t) ** 2 * x0 + 2 * t * (1 - t) * cx + t**2 * x1
            py = (1 - t) ** 2 * y0 + 2 * t * (1 - t) * cy + t**2 * y1
            for other in others:
                gap = min(gap, math.hypot(px - other[0] * scale[0], py - other[1] * scale[1]))
        if gap >= CLEARANCE:
            return limited
        if gap > best_gap:
            best, best_gap = limited, gap
    return best


def _depths(kinds: Sequence[str], parents: Sequence[Sequence[int]]) -> list[int]:
    depth: list[int] = []
    for node, sources in enumerate(parents):
        if any(source >= node for source in sources):
            raise ValueError(
                f"node {node} has the parents {tuple(sources)}: a parent must stand before it"
            )
        written = [depth[p] for p in sources if kinds[p] in ("step", "answer")]
        depth.append(1 + max(written, default=0) if kinds[node] in ("step", "answer") else 0)
    return depth


def _place_premises(
    kinds: Sequence[str],
    parents: Sequence[Sequence[int]],
    depth: Sequence[int],
    x: list[float],
    y: list[float],
) -> None:
    """Give each premise the height of its first reader, in the first free lane of its side."""
    steps = [x[node] for node, kind in enumerate(kinds) if kind != "premise"] or [0.0]
    left, right, middle = min(steps), max(steps), (min(steps) + max(steps)) / 2
    taken: set[tuple[int, int, int]] = set()
    unread = []
    furthest = 0
    for node, kind in enumerate(kinds):
        if kind != "premise":
            continue
        readers = [child for child in range(len(kinds)) if node in parents[child]]
        if not readers:
            unread.append(node)
            continue
        first = min(readers, key=lambda child: depth[child])
        side = 1 if x[first] > middle + 0.1 else -1
        lane = 0
        while (side, lane, depth[first]) in taken:
            lane += 1
        taken.add((side, lane, depth[first]))
        edge = right if side > 0 else left
        x[node] = edge + side * (PREMISE_GAP + LANE_GAP * lane)
        y[node] = -float(depth[first]) - STAGGER * lane
        furthest = max(furthest, lane if side < 0 else 0)
    column = left - PREMISE_GAP - LANE_GAP * (furthest + 1)
    for place, node in enumerate(unread):
        x[node], y[node] = column, -1.0 - place


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
