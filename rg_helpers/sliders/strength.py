"""Lambda against accuracy: what the strength of a graph term did on validation problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rg_helpers.plots.intervals import SERIES
from rg_helpers.plots.style import FAINT, INK, new_figure
from rg_helpers.sliders.slide import slide
from rg_helpers.statistics import wilson_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TERM = "alignment"
REFERENCE = "ce"  # no graph term: strength 0


def strength_rows(result: Mapping[str, Any], term: str = TERM) -> list[dict[str, Any]]:
    """Return what tuning found: one row a family, arm and strength, with a 95 % Wilson interval.

    `result` is a graph-loss experiment as `data/results/graph_loss_experiment.json` holds it. Every
    arm that tuned `term` alone is kept, at the learning rate that was chosen for its family; the
    reference without any term is each arm's strength 0. Raises `ValueError` for a result without
    tuning of that term.
    """
    problems = result["recipe"]["tuning"]
    rates = {family: chosen["learning_rate"] for family, chosen in result["chosen"].items()}
    tuned = [row for row in result["tuning"] if row["learning_rate"] == rates[row["family"]]]
    arms = list(dict.fromkeys(r["arm"] for r in tuned if set(r["strengths"]) == {term}))
    if not arms:
        raise ValueError(f"this result holds no tuning of {term!r}: run the experiment with it")
    rows = []
    for arm in arms:
        for row in tuned:
            if row["arm"] not in (arm, REFERENCE):
                continue
            solved = round(row["solved"] * problems)
            interval = wilson_interval(solved, problems)
            rows.append(
                {
                    "family": row["family"],
                    "arm": arm,
                    "strength": float(row["strengths"].get(term, 0.0)),
                    "solved": row["solved"],
                    "low": interval.low,
                    "high": interval.high,
                    "n": problems,
                    "ce": row["ce"],
                }
            )
    return rows


def draw_strengths(
    rows: Sequence[Mapping[str, Any]], strength: float, titles: Mapping[str, str] | None = None
) -> Figure:
    """Draw the share solved over the tried strengths, a panel a family, one of them marked.

    `rows` are those of `strength_rows`; strengths stand side by side, not to scale. `titles` names
    the arms. Raises `ValueError` for a strength that was not tried.
    """
    tried = strengths_of(rows)
    if strength not in tried:
        raise ValueError(f"strength {strength} was not tried: choose among {tried}")
    families = list(dict.fromkeys(row["family"] for row in rows))
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    figure = new_figure(3.0 * len(families) + 1.0, 3.6)
    panels = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
    for axes, family in zip(panels, families):
        axes.axvspan(
            tried.index(strength) - 0.4, tried.index(strength) + 0.4, color="#eeeeee", zorder=0
        )
        for place, arm in enumerate(arms):
            style = SERIES[place % len(SERIES)]
            points = sorted(
                (r for r in rows if r["family"] == family and r["arm"] == arm),
                key=lambda r: r["strength"],
            )
            x = [tried.index(r["strength"]) + 0.14 * (place - (len(arms) - 1) / 2) for r in points]
            y = [r["solved"] for r in points]
            errors = [
                [max(0.0, r["solved"] - r["low"]) for r in points],
                [max(0.0, r["high"] - r["solved"]) for r in points],
            ]
            look = {"color": style.colour, "marker": style.marker, "linestyle": style.dashes}
            title = (titles or {}).get(arm, arm.replace("_", " "))
            axes.errorbar(x, y, yerr=errors, capsize=2.5, elinewidth=1, label=title, **look)
            at = next((i for i, r in enumerate(points) if r["strength"] == strength), None)
            if at is not None:
                side, where = ("right", 4) if place == 0 else ("left", -4)
                axes.annotate(
                    f"{y[at]:.3f}",
                    (x[at], points[at]["high"]),
                    xytext=(where, 3),
                    textcoords="offset points",
                    ha=side,
                    fontsize=9,
                    color=INK,
                )
        axes.set_xticks(range(len(tried)), [f"{value:g}" for value in tried])
        axes.set(title=family, xlabel="lambda", xlim=(-0.6, len(tried) - 0.4))
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    panels[0].set(ylim=(0, None), ylabel="share solved")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=len(arms), fontsize=9)
    figure.text(
        0.99,
        0.015,
        f"{rows[0]['n']} validation problems a point, one seed; bars: 95 %",
        ha="right",
        fontsize=8.5,
        color=FAINT,
    )
    return figure


def slide_strengths(result: Mapping[str, Any], term: str = TERM) -> Any:
    """Show the figure at the strongest lambda that was tried, and return its slider."""
    rows = strength_rows(result, term)
    titles = {name: arm["title"] for name, arm in result["arms"].items()}
    tried = strengths_of(rows)
    return slide(
        lambda strength: draw_strengths(rows, strength, titles),
        lambda strength: describe_strengths(rows, strength, titles),
        tried,
        label="lambda",
        start=len(tried) - 1,
        words=lambda strength: f"{strength:g}",
    )


def strengths_of(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the strengths that were tried, each once, in order."""
    return sorted({row["strength"] for row in rows})


def describe_strengths(
    rows: Sequence[Mapping[str, Any]], strength: float, titles: Mapping[str, str] | None = None
) -> str:
    """Return the alt text of `draw_strengths`."""
    found = [row for row in rows if row["strength"] == strength]
    words = [
        f"{row['family']}, {(titles or {}).get(row['arm'], row['arm'])}: {row['solved']:.3f} "
        f"[{row['low']:.3f}, {row['high']:.3f}]"
        for row in found
    ]
    return f"Share of validation problems solved at lambda {strength:g}: {'; '.join(words)}."
