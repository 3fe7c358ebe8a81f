"""Threshold against edge F1: a graph of weights becomes a graph of edges only by a cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rg_helpers.edge_recovery import Candidates
from rg_helpers.plots.style import EDGE_STYLES, FAINT, PALETTE, LineStyle, new_figure
from rg_helpers.sliders.slide import slide

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rg_helpers.graphs.step_graph import StepGraph

THRESHOLDS = tuple(round(0.02 * place, 2) for place in range(1, 46))
CURVES = {
    "precision": LineStyle(PALETTE["orange"], "^", (0, (1.5, 1.5))),
    "recall": LineStyle(PALETTE["green"], "s", (0, (5, 2))),
    "F1": LineStyle(PALETTE["blue"], "o", "-"),
}


def threshold_table(
    drawn: Sequence[StepGraph],
    gold: Sequence[StepGraph],
    thresholds: Sequence[float] = THRESHOLDS,
) -> list[dict[str, Any]]:
    """Return one row a threshold: hits, extra and missed edges, precision, recall and F1.

    Pairs are pooled over all graphs; candidates are those of `edge_recovery.Candidates`. Precision
    is None where nothing is drawn. Raises `ValueError` where a graph is not over its gold's nodes.
    """
    for number, (graph, truth) in enumerate(zip(drawn, gold, strict=True)):
        if graph.kinds != truth.kinds:
            raise ValueError(
                f"drawn graph {number} has {len(graph)} nodes, its gold graph {len(truth)}, or of "
                "other kinds: draw both over the same text"
            )
    candidates = Candidates.of(gold, [str(number) for number in range(len(gold))])
    scores = candidates.scores([graph.weights for graph in drawn])
    rows = []
    for least in thresholds:
        chosen = scores >= least
        hits = int((chosen & candidates.labels).sum())
        extra, missed = int(chosen.sum()) - hits, int(candidates.labels.sum()) - hits
        rows.append(
            {
                "threshold": float(least),
                "hits": hits,
                "extra": extra,
                "missed": missed,
                "precision": hits / (hits + extra) if hits + extra else None,
                "recall": hits / (hits + missed),
                "F1": 2 * hits / (2 * hits + extra + missed),
            }
        )
    return rows


def draw_threshold(rows: Sequence[Mapping[str, Any]], threshold: float) -> Figure:
    """Draw precision, recall and F1 over the threshold, and the edges counted at one of them.

    `rows` are those of `threshold_table`. Raises `ValueError` for a threshold that has no row.
    """
    row = _row(rows, threshold)
    figure = new_figure(8.6, 3.4)
    curves, bars = figure.subplots(1, 2, width_ratios=(1.7, 1))
    for name, style in CURVES.items():
        points = [(r["threshold"], r[name]) for r in rows if r[name] is not None]
        curves.plot(*zip(*points), color=style.colour, linestyle=style.dashes, label=name)
        if row[name] is not None:
            here = {"color": style.colour, "marker": style.marker, "markersize": 8, "zorder": 3}
            curves.plot([threshold], [row[name]], linestyle="", **here)
            curves.lines[-2].set_label(f"{name} {row[name]:.2f}")
    curves.axvline(threshold, color=FAINT, linewidth=1, gid="threshold")
    best = max(rows, key=lambda r: r["F1"])
    curves.axvline(best["threshold"], color=FAINT, linewidth=1, linestyle=":", gid="best")
    curves.annotate(
        f" highest F1 at {best['threshold']:.2f} ",
        (best["threshold"], 0.0),
        ha="left" if best["threshold"] < 0.5 else "right",
        va="bottom",
        fontsize=9,
        color=FAINT,
        annotation_clip=False,
    )
    curves.set(xlabel="least weight of an edge", ylim=(-0.03, 1.08), title="Cut and agreement")
    curves.title.set_y(1.08)
    curves.legend(loc="center right", fontsize=9)
    counts = {
        "both": ("drawn and gold", row["hits"]),
        "extra": ("drawn, not gold", row["extra"]),
        "missed": ("gold, not drawn", row["missed"]),
    }
    most = max(max(r["hits"] + r["missed"], r["extra"]) for r in rows)
    for place, (name, (label, count)) in enumerate(counts.items()):
        bars.barh(
            [-place],
            [count],
            color=EDGE_STYLES[name].colour if name == "both" else "white",
            edgecolor=EDGE_STYLES[name].colour,
            hatch={"both": "", "extra": "....", "missed": "///"}[name],
            height=0.5,
            gid=f"bar {name}",
        )
        bars.annotate(f" {count}", (count, -place), va="center")
        bars.annotate(label, (0, -place + 0.27), fontsize=9, va="bottom")
    bars.set(xlim=(0, 1.15 * most + 1), yticks=[], title=f"Edges at {threshold:.2f}")
    bars.set(ylim=(-2.6, 0.9))
    return figure


def slide_threshold(
    drawn: Sequence[StepGraph],
    gold: Sequence[StepGraph],
    thresholds: Sequence[float] = THRESHOLDS,
    start: float | None = None,
) -> Any:
    """Show the figure at `start`, by default the middle threshold, and return its slider."""
    rows = threshold_table(drawn, gold, thresholds)
    cuts = [row["threshold"] for row in rows]
    chosen = len(cuts) // 2 if start is None else cuts.index(_row(rows, start)["threshold"])
    return slide(
        lambda least: draw_threshold(rows, least),
        lambda least: describe_threshold(rows, least),
        cuts,
        label="least weight",
        start=chosen,
        words=lambda least: f"{least:.2f}",
    )


def describe_threshold(rows: Sequence[Mapping[str, Any]], threshold: float) -> str:
    """Return the alt text of `draw_threshold`."""
    row, best = _row(rows, threshold), max(rows, key=lambda r: r["F1"])
    return (
        f"Precision, recall and F1 over the least weight of an edge. At {threshold:.2f}: "
        f"{row['hits']} drawn edges are gold, {row['extra']} are not, {row['missed']} gold edges "
        f"are missed, F1 {row['F1']:.2f}. The highest F1, {best['F1']:.2f}, stands at "
        f"{best['threshold']:.2f}."
    )


def _row(rows: Sequence[Mapping[str, Any]], threshold: float) -> Mapping[str, Any]:
    for row in rows:
        if abs(row["threshold"] - threshold) < 1e-9:
            return row
    known = ", ".join(f"{row['threshold']:g}" for row in rows)
    raise ValueError(f"no row for the threshold {threshold}: choose among {known or 'none'}")
