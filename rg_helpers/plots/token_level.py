"""Figures of token-level scores: surprise by token, scores of right and wrong, before and after."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rg_helpers.plots.style import FAINT, FAMILY_STYLES, INK, PALETTE, new_figure
from rg_helpers.statistics import Interval

MARKERS = "osD^vPX*"


def draw_token_surprise(
    surprise: Sequence[float],
    step_ends: Sequence[int],
    *,
    marked: Collection[int] = (),
    wrong_step: int | None = None,
    title: str = "",
) -> Figure:
    """Draw a bar for each token of one solution; tokens in `marked` are hatched.

    `surprise` holds -log p in nats, one number a token; `step_ends` the token index at which each
    step ends (exclusive). Steps are numbered above the bars, `wrong_step` (0-based) gets a cross.
    Raises `ValueError` if a step ends beyond the tokens.
    """
    if any(end > len(surprise) for end in step_ends):
        raise ValueError(f"steps end at {list(step_ends)} but there are {len(surprise)} tokens")
    figure = new_figure(8.6, 2.7)
    axes = figure.subplots()
    for token, height in enumerate(surprise):
        differs = token in marked
        axes.bar(
            token,
            height,
            width=0.85,
            color=PALETTE["vermilion" if differs else "sky"],
            hatch="////" if differs else None,
            edgecolor=INK if differs else "none",
        )
    begin = 0
    for number, end in enumerate(step_ends):
        axes.axvline(end - 0.5, color="#bbbbbb", linewidth=0.8)
        axes.annotate(
            f"{number + 1} ✗" if number == wrong_step else f"{number + 1}",
            ((begin + end - 1) / 2, 1.0),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="bottom",
            fontsize=9,
        )
        begin = end
    axes.set(
        xlabel="token of the solution (step number above; ✗: the wrong step)",
        ylabel="surprise, nats",
        xlim=(-1, len(surprise)),
    )
    axes.set_title(title, pad=18)
    return figure


def draw_fine_tuning(
    losses: Sequence[float], evaluations: Sequence[Mapping[str, float]], title: str = ""
) -> Figure:
    """Draw the loss of every training batch and what was measured on held-out problems.

    `evaluations` hold "step", "loss" (nats a token) and "token_accuracy".
    """
    figure = new_figure(8.6, 2.9)
    left, right = figure.subplots(1, 2)
    steps = [entry["step"] for entry in evaluations]
    left.plot(losses, color=PALETTE["sky"], linewidth=0.9, label="training batches")
    held_out = [entry["loss"] for entry in evaluations]
    left.plot(steps, held_out, "o-", color=PALETTE["blue"], label="held-out problems")
    left.set(xlabel="step", ylabel="nats a solution token", title="Loss")
    left.legend()
    accuracy = [entry["token_accuracy"] for entry in evaluations]
    right.plot(steps, accuracy, "s--", color=PALETTE["vermilion"])
    right.set(xlabel="step", ylabel="share of tokens", title="Token accuracy, teacher-forced")
    if title:
        figure.suptitle(title)
    return figure


def draw_before_after(
    cells: Mapping[str, Mapping[str, tuple[Interval, Interval]]], *, label: str, below: str = ""
) -> Figure:
    """Draw shares before and after something, one panel a family, one place a difficulty.

    `cells[family][difficulty]` is (before, after), intervals included; `below` names the
    difficulties' axis.
    """
    figure = new_figure(8.6, 3.2)
    panels = figure.subplots(1, len(cells), sharey=True, squeeze=False)[0]
    looks = (("before", "o", "--", -0.06, "white"), ("after", "s", "-", 0.06, PALETTE["blue"]))
    for axes, (family, by_difficulty) in zip(panels, cells.items()):
        for index, (name, marker, dashes, shift, fill) in enumerate(looks):
            points = [pair[index] for pair in by_difficulty.values()]
            axes.errorbar(
                np.arange(len(points)) + shift,
                [point.value for point in points],
                yerr=[
                    [point.value - point.low for point in points],
                    [point.high - point.value for point in points],
                ],
                marker=marker,
                linestyle=dashes,
                color=PALETTE["blue"],
                markerfacecolor=fill,
                capsize=3,
                label=name,
            )
        axes.set_xticks(range(len(by_difficulty)), list(by_difficulty))
        axes.set(title=family, ylim=(-0.03, 1.03), xlim=(-0.3, len(by_difficulty) - 0.7))
        axes.grid(axis="y")
    panels[0].set_ylabel(label)
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper right", ncols=2)
    figure.supxlabel(below, fontsize=10)
    return figure


def draw_compounding(rows: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Draw whole solutions against token accuracy, with what independent errors would give.

    Each row holds `family`, `when` ("before" is hollow), `token_accuracy`, `tokens` (mean length)
    and `solved`. The dotted curves are accuracy to the power of the smallest and largest `tokens`.
    """
    figure = new_figure(7.4, 3.6)
    axes = figure.subplots()
    seen = set()
    for row in rows:
        style = FAMILY_STYLES[row["family"]]
        name = f"{row['family']}, {row['when']}"
        axes.plot(
            row["token_accuracy"],
            row["solved"],
            style.marker,
            color=style.colour,
            markerfacecolor="white" if row["when"] == "before" else style.colour,
            markersize=7,
            label=None if name in seen else name,
        )
        seen.add(name)
    grid = np.linspace(min(min(row["token_accuracy"] for row in rows), 0.98), 1, 200)
    lengths = [row["tokens"] for row in rows]
    for count, side in ((min(lengths), "right"), (max(lengths), "left")):
        axes.plot(grid, grid**count, color=FAINT, linestyle=":", linewidth=1.2)
        place = (0.7 ** (1 / count), 0.7)
        axes.annotate(
            f"  {count:.0f} tokens  ", place, fontsize=9, color=FAINT, ha=side, va="bottom"
        )
    axes.set(xlabel="teacher-forced token accuracy $p$", ylabel="share solved", ylim=(-0.03, 1.03))
    axes.grid(axis="y")
    axes.set_title(title)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize=9)
    return figure


def draw_score_distributions(
    right: Mapping[str, Sequence[float]],
    wrong: Mapping[str, Sequence[float]],
    names: Mapping[str, str],
) -> Figure:
    """Draw histograms of each score for right (plain) and wrong (hatched) solutions.

    `right[column]` and `wrong[column]` hold one number a solution; `names` maps the columns to
    panel titles. Each histogram sums to 1, so that groups of different sizes compare.
    """
    rows = -(-len(names) // 3)
    figure = new_figure(8.6, 2.35 * rows)
    panels = list(figure.subplots(rows, 3, squeeze=False).flat)
    for axes, (column, name) in zip(panels, names.items()):
        everything = np.concatenate([right[column], wrong[column]])
        bins = np.linspace(everything.min(), everything.max() + 1e-9, 26)
        for values, colour, hatch, group in (
            (right[column], "sky", None, "right"),
            (wrong[column], "vermilion", "////", "wrong"),
        ):
            axes.hist(
                values,
                bins,
                weights=np.full(len(values), 1 / max(1, len(values))),
                color=PALETTE[colour],
                alpha=0.55,
                hatch=hatch,
                edgecolor="#444444",
                linewidth=0.6,
                label=group,
            )
        axes.set_title(name, fontsize=10)
    for axes in panels[len(names) :]:
        axes.axis("off")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    figure.supylabel("share of solutions", fontsize=10)
    return figure


def draw_pairs(
    panels: Mapping[str, Sequence[tuple[str, float, float]]], *, below: str, beside: str
) -> Figure:
    """Draw pairs of positive numbers on logarithmic axes, with the diagonal of equal ones.

    `panels[title]` holds (kind, x, y); every kind has a marker of its own in all panels.
    """
    figure = new_figure(8.6, 3.8)
    kinds = list(dict.fromkeys(kind for pairs in panels.values() for kind, _, _ in pairs))
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, pairs) in zip(drawn, panels.items()):
        for number, kind in enumerate(kinds):
            chosen = [(x, y) for named, x, y in pairs if named == kind]
            axes.plot(
                [x for x, _ in chosen],
                [y for _, y in chosen],
                MARKERS[number % len(MARKERS)],
                color=list(PALETTE.values())[number % len(PALETTE)],
                markersize=4.5,
                alpha=0.7,
                label=kind,
            )
        ends = [value for _, x, y in pairs for value in (x, y)]
        axes.plot([min(ends), max(ends)], [min(ends), max(ends)], ":", color=FAINT)
        axes.set(xscale="log", yscale="log", xlabel=below, ylabel=beside, title=title)
    figure.legend(
        *drawn[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=6,
        fontsize=9,
        columnspacing=1,
        handletextpad=0.2,
    )
    return figure


def draw_losses(curves: Mapping[str, Sequence[float]], *, label: str, title: str = "") -> Figure:
    """Draw loss curves (nats a step), each named at its end."""
    figure = new_figure(7.4, 3.0)
    axes = figure.subplots()
    looks = (("vermilion", "--"), ("blue", "-"), ("green", "-."), ("brown", ":"))
    for (name, losses), (colour, dashes) in zip(curves.items(), looks):
        axes.plot(losses, dashes, color=PALETTE[colour])
        axes.annotate(
            name,
            (len(losses) - 1, losses[-1]),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=PALETTE[colour],
            annotation_clip=False,
        )
    axes.set(xlabel="step", ylabel=label, ylim=(0, None))
    axes.set_title(title)
    return figure
