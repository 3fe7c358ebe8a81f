"""Rows of the comparison's table: what was measured of one graph, beside the best control."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rg_helpers.comparison.controls import REWIRED, rewired
from rg_helpers.comparison.drawn import Drawn, Variant
from rg_helpers.comparison.pairs import Pairs
from rg_helpers.comparison.recovery import BASIC, METRICS, Reading, measure
from rg_helpers.statistics import Bootstrap, holm

Row = dict[str, Any]
Readings = Mapping[tuple[str, str], Reading]
GAP = "auroc_minus_best_control"
POPULAR = "attention_few"  # the graph that every other one is held against
VERSUS = f"auroc_minus_{POPULAR}"
LAYER_DRAWS = 200  # of the table of layers, which is to be looked at, not to be claimed from
CHOSEN = "chosen"  # the `layer` of a row that is not of a single layer

COLUMNS = (
    "family",
    "method",  # name of the graph, such as attention_few
    "kind",  # "method", "control" or "traces"
    "drawn_by",  # name of the method that it is a variant of
    "layer",  # CHOSEN or the number of a single layer
    "choice",
    "reading",  # see comparison.recovery; "" where the figure is not about gold edges
    "difficulty",
    "metric",
    "other",  # the graph or control compared with
    "value",
    "low",
    "high",
    "n",  # problems, or traces where the figure has no interval
    "traces",
    "p",
    "p_holm",
)


def row(variant: Variant, kind: str, metric: str, found: Bootstrap | float, **more: Any) -> Row:
    """Make one row; a `Bootstrap` gives value, interval and number of problems."""
    filled: Row = dict.fromkeys(COLUMNS)
    filled |= {"reading": "", "difficulty": "all", "other": ""}
    filled |= {
        "method": variant.name,
        "kind": kind,
        "drawn_by": variant.method,
        "layer": CHOSEN if variant.layer is None else str(variant.layer),
        "choice": variant.choice,
        "metric": metric,
    }
    if isinstance(found, Bootstrap):
        interval = found.interval()
        filled |= {name: getattr(interval, name) for name in ("value", "low", "high", "n")}
    else:
        filled["value"] = float(found)
    return filled | more


@dataclass(frozen=True, eq=False)
class Controls:
    """What the controls reach on each reading, kept with its draws: differences are paired."""

    rows: list[Row]
    auroc: Mapping[tuple[str, str], Mapping[str, Bootstrap]]


def measure_controls(drawn: Drawn, readings: Readings) -> Controls:
    """Measure the shared controls on every reading."""
    rows: list[Row] = []
    auroc: dict[tuple[str, str], dict[str, Bootstrap]] = {key: {} for key in readings}
    for variant, weights in drawn.named():
        for key, reading in readings.items():
            found = measure(weights, reading, variant.threshold, _metrics(key))
            rows += _rows(variant, "control", reading, found)
            auroc[key][variant.name] = found["auroc"]
    return Controls(rows, auroc)


def measure_graphs(
    drawn: Drawn,
    pairs: Pairs,
    readings: Readings,
    controls: Controls,
    seed: int = 0,
) -> list[Row]:
    """Measure every graph of one method on every reading, with its gap to the best control.

    The best control is the one with the highest AUROC on these very traces, the method's own graph
    rewired being one of them: whoever beats it beats all of them.
    """
    rows: list[Row] = []
    for variant, weights in drawn.named():
        shuffled = rewired(weights, pairs, seed)
        for key, reading in readings.items():
            found = measure(weights, reading, variant.threshold, _metrics(key))
            rows += _rows(variant, "method", reading, found)
            if key[1] != "all":
                continue
            own = measure(shuffled, reading, variant.threshold, ("auroc",))["auroc"]
            rows.append(_row(variant, "method", reading, "auroc_of_rewired", own))
            rivals = {**controls.auroc[key], REWIRED: own}
            best = max(rivals, key=lambda name: rivals[name].value)
            gap = found["auroc"].minus(rivals[best])
            rows.append(_row(variant, "method", reading, GAP, gap, other=best, p=gap.p_value()))
    reading = readings.get(("right", "all"))
    if reading is not None:
        few = replace(reading, weights=reading.weights[:LAYER_DRAWS])
        for variant, weights in drawn.layers():
            found = measure(weights, few, variant.threshold, BASIC)
            rows += _rows(variant, "method", few, found)
    return rows


def measure_against(
    drawn: Drawn,
    kind: str,
    reading: Reading,
    rival: Bootstrap,
) -> list[Row]:
    """Return each graph's paired AUROC difference to `rival`, which is measured on `reading`."""
    rows = []
    for variant, weights in drawn.named():
        if variant.name != POPULAR:
            found = measure(weights, reading, variant.threshold, ("auroc",))["auroc"]
            gap = found.minus(rival)
            rows.append(_row(variant, kind, reading, VERSUS, gap, other=POPULAR, p=gap.p_value()))
    return rows


def corrected(rows: Iterable[Row]) -> list[Row]:
    """Fill `p_holm`: Holm's correction over all graphs of one family, reading and question."""
    rows = [dict(r) for r in rows]
    together: dict[tuple[str, str, str], list[Row]] = {}
    for r in rows:
        if r["p"] is not None:
            together.setdefault((r["family"], r["reading"], r["metric"]), []).append(r)
    for group in together.values():
        for r, p in zip(group, holm([r["p"] for r in group]), strict=True):
            r["p_holm"] = p
    return rows


def _metrics(key: tuple[str, str]) -> Sequence[str]:
    return METRICS if key == ("right", "all") else BASIC


def _rows(
    variant: Variant, kind: str, reading: Reading, found: Mapping[str, Bootstrap]
) -> list[Row]:
    return [_row(variant, kind, reading, name, value) for name, value in found.items()]


def _row(
    variant: Variant, kind: str, reading: Reading, metric: str, found: Bootstrap, **more: Any
) -> Row:
    where = {"reading": reading.name, "difficulty": reading.difficulty, "traces": reading.traces}
    return row(variant, kind, metric, found, **where, **more)
