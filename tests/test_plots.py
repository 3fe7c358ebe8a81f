"""Figures: the right artists and labels, alt text that arrives."""

from __future__ import annotations

import base64
import itertools
from collections import Counter

import numpy as np
import pytest

from rg_helpers import plots
from rg_helpers.graphs.gold import gold_graph
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.plots.layers import choose_bend, layered_positions
from rg_helpers.plots.style import png_bytes
from rg_helpers.problems import FAMILIES, generate_problem


def artists(figure, prefix: str) -> list[str]:
    return [a.get_gid() for a in figure.findobj() if (a.get_gid() or "").startswith(prefix)]


def toy() -> tuple[StepGraph, StepGraph]:
    """A drawn graph and its gold: one edge in both, one extra, one missed."""
    kinds = ("premise", "premise", "question", "step", "answer")
    texts = ("Ana has 3 pens.", "Bo has 4.", "How many has Ana?", "Ana has 3.", "The answer is 3.")
    drawn, gold = np.zeros((5, 5)), np.zeros((5, 5))
    drawn[3, 0], drawn[4, 1] = 1, 1
    gold[3, 0], gold[4, 3] = 1, 1
    return StepGraph(drawn, kinds, texts, "toy"), StepGraph(gold, kinds, texts, "gold")


def test_every_node_and_edge_is_drawn_once():
    problem = generate_problem("arithmetic", seed=5, operations=4, distractors=2, joins=1)
    figure = plots.draw_reasoning_graph(problem)
    assert len(artists(figure, "node ")) == len(problem.nodes)
    drawn = {tuple(map(int, gid.split()[1:3])) for gid in artists(figure, "edge ")}
    assert drawn == {(p, c) for c, node in enumerate(problem.nodes) for p in node.parents}
    written = [text.get_text() for text in figure.findobj() if hasattr(text, "get_text")]
    assert all(node.text in written for node in problem.nodes)


def test_comparison_tells_three_sets_of_edges_apart():
    drawn, gold = toy()
    figure = plots.draw_reasoning_graph(drawn, gold=gold, wrong={4: "missing step"})
    assert sorted(artists(figure, "edge ")) == [
        "edge 0 3 both",
        "edge 1 4 extra",
        "edge 3 4 missed",
    ]
    assert artists(figure, "wrong ") == ["wrong 4"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "gold, not drawn (1)" in labels
    assert "wrong step" in labels
    assert any("missing step" in text.get_text() for text in figure.findobj(_is_text))


def _is_text(artist) -> bool:
    return hasattr(artist, "get_text")


def test_arc_panels_show_each_graph_beside_gold_with_the_verdict():
    drawn, gold = toy()
    figure = plots.draw_arc_panels(
        {"one": drawn, "two": gold}, gold, wrong={4: "arithmetic slip"}, verdict="one slip"
    )
    arcs = [name.split() for name in artists(figure, "arc ")]
    panels = sorted({float(arc[1]) for arc in arcs})
    shown = [sorted(tuple(arc[2:]) for arc in arcs if float(arc[1]) == panel) for panel in panels]
    assert shown == [
        [("0", "3", "both"), ("1", "4", "extra"), ("3", "4", "missed")],
        [("0", "3", "plain"), ("3", "4", "plain")],
        [("0", "3", "plain"), ("3", "4", "plain")],
    ]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("✓") == 1  # the step; the answer is marked wrong
    assert texts.count("✗") == 1
    assert "The answer is 3.  (arithmetic slip)" in texts
    assert "one slip" in texts
    assert [text for text in texts if text in ("one", "two", "gold")] == ["one", "two", "gold"]
    with pytest.raises(ValueError, match="same text"):
        plots.draw_arc_panels({"one": drawn}, gold_graph(generate_problem("program", seed=0)))
    with pytest.raises(ValueError, match="no graph"):
        plots.draw_arc_panels({}, gold)


def test_weak_edges_are_left_out():
    drawn, _ = toy()
    weights = np.array(drawn.weights)
    weights[4] = [0.9, 0.05, 0, 0.05, 0]
    graph = StepGraph(weights, drawn.kinds, drawn.texts, "toy")
    assert len(artists(plots.draw_reasoning_graph(graph), "edge ")) == 4
    assert len(artists(plots.draw_reasoning_graph(graph, least=0.1), "edge ")) == 2


def test_graphs_over_other_nodes_are_refused():
    drawn, _ = toy()
    other = gold_graph(generate_problem("program", seed=0))
    with pytest.raises(ValueError, match="same nodes"):
        plots.draw_reasoning_graph(drawn, gold=other)
    with pytest.raises(ValueError, match="do not exist"):
        plots.draw_reasoning_graph(drawn, wrong=[9])


@pytest.mark.parametrize("family", FAMILIES)
def test_no_two_nodes_overlap_and_steps_stand_below_their_parents(family):
    for seed in range(20):
        problem = generate_problem(family, seed, operations=6, distractors=3)
        kinds = [node.kind for node in problem.nodes]
        parents = [node.parents for node in problem.nodes]
        at = layered_positions(kinds, parents)
        for (x0, y0), (x1, y1) in itertools.combinations(at, 2):
            assert max(abs(x0 - x1), abs(y0 - y1)) > 0.3
        for node, sources in enumerate(parents):
            assert all(at[p][1] > at[node][1] for p in sources if kinds[p] == "step")


def test_an_edge_bends_round_a_node_in_its_way():
    assert abs(choose_bend((0, 0), (0, -4), [])) < 0.1
    bend = choose_bend((0, 0), (0, -4), [(0, -2)])
    assert abs(bend) * 4 / 2 > 0.3  # the middle of the curve lies rad * length / 2 aside


def test_heatmap_outlines_gold_cells_and_keeps_rows_with_weight():
    drawn, gold = toy()
    figure = plots.draw_step_heatmap(drawn.weights, drawn.texts, gold.weights)
    axes = figure.axes[0]
    assert sorted(artists(figure, "gold ")) == ["gold 0 3", "gold 3 4"]
    assert [t.get_text().split()[-1] for t in axes.get_yticklabels()] == ["3", "4"]
    shown = axes.images[0].get_array()
    assert shown.shape == (2, 5)
    assert shown.mask[1, 4]  # no step is its own source
    assert not shown.mask[1, 3]
    with pytest.raises(ValueError, match="square"):
        plots.draw_step_heatmap(drawn.weights, drawn.texts[:-1])


def test_head_grid_writes_each_value_and_outlines_the_best():
    values = np.array([[0.5, 0.6, 0.7], [0.9, 0.55, 0.65]])
    figure = plots.draw_head_grid(values, chance=0.5)
    written = Counter(text.get_text() for text in figure.axes[0].texts)
    assert written == Counter(f"{v:.2f}" for v in values.flat)
    assert artists(figure, "best") == ["best 1 0"]
    with pytest.raises(ValueError, match=r"layers, heads"):
        plots.draw_head_grid(values[0])


def test_intervals_are_drawn_where_they_are_and_written_beside():
    rows = [
        {"label": "best head", "value": 0.9, "low": 0.88, "high": 0.93, "group": "arithmetic"},
        {"label": "random", "value": 0.5, "low": 0.45, "high": 0.55, "group": "arithmetic"},
    ]
    figure = plots.draw_intervals(rows, reference=0.5)
    bars = [a for a in figure.findobj() if (a.get_gid() or "").startswith("interval ")]
    assert [tuple(bar.get_xdata()) for bar in bars] == [(0.88, 0.93), (0.45, 0.55)]
    assert bars[0].get_ydata()[0] > bars[1].get_ydata()[0]  # first row on top
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"0.90  [0.88, 0.93]", "arithmetic", "chance"} <= set(texts)
    with pytest.raises(ValueError, match="distances"):
        plots.draw_intervals([{"label": "x", "value": 0.9, "low": 0.02, "high": 0.03}])
    with pytest.raises(ValueError, match="no rows"):
        plots.draw_intervals([])


def test_accuracy_names_each_family_at_its_line():
    rows = [
        {
            "family": family,
            "operations": number,
            "solved": {"value": 0.9 - 0.1 * number, "low": 0.1, "high": 0.95, "n": 10},
        }
        for family in FAMILIES
        for number in (2, 3, 4)
    ]
    figure = plots.draw_accuracy_by_operations(rows, live=rows[:1])
    axes = figure.axes[0]
    assert {text.get_text() for text in axes.texts} >= set(FAMILIES)
    assert len(axes.containers) == len(FAMILIES) + 1
    with pytest.raises(ValueError, match="no accuracy rows"):
        plots.draw_accuracy_by_operations([])


def test_show_passes_the_alt_text_on(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *a, **k: shown.append((a, k)))
    drawn, _ = toy()
    alt = "A graph of five nodes in which\n  the answer follows from premise 1."
    plots.show(plots.draw_reasoning_graph(drawn), alt=alt)
    (data,), options = shown[0]
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"] == "A graph of five nodes in which the answer follows from premise 1."
    assert options["metadata"] == {"image/png": {"alt": data["text/plain"]}}
    with pytest.raises(ValueError, match="alt text"):
        plots.show(plots.draw_reasoning_graph(drawn), alt="graph")


def test_equal_figures_are_equal_bytes():
    drawn, gold = toy()
    plots.use_course_style()
    first, second = (png_bytes(plots.draw_reasoning_graph(drawn, gold=gold)) for _ in range(2))
    assert first == second
