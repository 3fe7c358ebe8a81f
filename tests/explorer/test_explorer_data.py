"""Explorer data: what was given comes back, what does not fit is refused, words are right."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from rg_helpers import plots
from rg_helpers.explorer import (
    draw_static_twin,
    explore,
    explorer_data,
    explorer_frame,
    explorer_html,
    explorer_page,
    weights_of,
)
from rg_helpers.explorer.data import first_threshold
from rg_helpers.explorer.packing import LEVELS, pack_weights, unpack_weights
from rg_helpers.explorer.page import FOLDER, MODULE_PARTS, STYLE, module_source
from rg_helpers.explorer.words import graph_in_words, line_in_words
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.plots.style import KIND_STYLES, PALETTE, png_bytes
from rg_helpers.problems import generate_problem

HALF_LEVEL = 0.5 / LEVELS + 1e-7


def test_packing_keeps_every_edge_in_its_place():
    rng = np.random.default_rng(0)
    weights = np.tril(rng.random((2, 3, 7, 7)), -1)
    text = pack_weights(weights)
    assert len(text) < 4 * 2 * (2 * 3 * 21) / 3 + 4  # base64 of 16 bits an edge
    assert np.abs(unpack_weights(text, 7, 2, 3) - weights).max() <= HALF_LEVEL
    with pytest.raises(ValueError, match="hold 126 entries"):
        unpack_weights(text, 7, 2, 2)
    with pytest.raises(ValueError, match="shares from 0 to 1"):
        pack_weights(weights * 3)


def test_data_is_plain_json_and_gives_the_weights_back(flawed, flawed_data):
    assert json.loads(json.dumps(flawed_data)) == flawed_data
    given = sum(kind in ("premise", "question") for kind in flawed.trace.kinds)
    expected = flawed.graphs["attention"].weights.copy()
    expected[:given] = 0  # nothing in the prompt follows from anything
    assert np.abs(weights_of(flawed_data, "attention") - expected).max() <= HALF_LEVEL

    for layer, head, raw in ((1, 2, flawed.scores[1, 2]), (0, None, flawed.scores[0].mean(0))):
        rows = np.tril(raw, -1)[given:]
        shown = weights_of(flawed_data, "attention", layer, head)[given:]
        assert np.abs(shown - rows / rows.sum(1, keepdims=True)).max() <= HALF_LEVEL
    with pytest.raises(ValueError, match="no layer 2"):
        weights_of(flawed_data, "attention", layer=2)
    with pytest.raises(ValueError, match="'attention', 'previous step'"):
        weights_of(flawed_data, "rollout")


def test_verdicts_and_gold_come_from_the_checker(flawed, flawed_data):
    given = len(flawed.trace.nodes) - len(flawed.checked.steps)
    for step, shown in zip(flawed.checked.steps, flawed_data["steps"][given:], strict=True):
        assert shown["verdict"] == step.verdict
    assert flawed_data["steps"][:given] == [None] * given
    assert "wrong operand" in {step["verdict"] for step in flawed_data["steps"] if step}
    gold = weights_of(flawed_data, "gold")
    for node, step in enumerate(flawed.checked.steps, given):
        assert set(np.flatnonzero(gold[node])) == set(step.needed)


def test_a_problem_brings_its_own_gold():
    problem = generate_problem("deduction", seed=2, operations=3, distractors=1)
    size = len(problem.nodes)
    flat = np.tril(np.ones((size, size)), -1)
    graph = StepGraph(
        flat / np.maximum(flat.sum(1, keepdims=True), 1),
        [node.kind for node in problem.nodes],
        [node.text for node in problem.nodes],
        "flat",
    )
    data = explorer_data(problem, {"flat": graph})
    gold = weights_of(data, "gold")
    for target, node in enumerate(problem.nodes):
        assert set(np.flatnonzero(gold[target])) == set(node.parents)
    assert len(data["positions"]) == size


def test_what_belongs_to_another_text_is_refused(flawed):
    other = generate_problem("program", seed=1, operations=2, distractors=0)
    with pytest.raises(ValueError, match="the graph 'attention' has"):
        explorer_data(other, flawed.graphs)
    short = SimpleNamespace(steps=flawed.checked.steps[:-1])
    with pytest.raises(ValueError, match="checked steps for"):
        explorer_data(flawed.trace, flawed.graphs, checked=short)
    with pytest.raises(ValueError, match="gold has"):
        explorer_data(flawed.trace, flawed.graphs, gold=other)
    with pytest.raises(ValueError, match="given as gold="):
        explorer_data(flawed.trace, {"gold": flawed.graphs["attention"]})
    with pytest.raises(ValueError, match="expected \\(layers"):
        explorer_data(flawed.trace, flawed.graphs, heads={"attention": flawed.scores[..., :-1]})
    with pytest.raises(ValueError, match="at least one graph"):
        explorer_data(flawed.trace, {})


def test_first_threshold_keeps_two_edges_a_line():
    weights = np.zeros((5, 5))
    weights[3, :3] = 0.5, 0.3, 0.2
    weights[4, :4] = 0.4, 0.35, 0.15, 0.1
    assert first_threshold(weights) == pytest.approx(0.3)
    assert (weights >= first_threshold(weights)).sum() == 4
    assert first_threshold(np.zeros((3, 3))) > 0


def test_words_name_sources_verdicts_and_counts(flawed_data):
    wrong = next(i for i, s in enumerate(flawed_data["steps"]) if s and s["verdict"] != "right")
    row, least = weights_of(flawed_data, "attention")[wrong], flawed_data["methods"][0]["threshold"]
    words = line_in_words(flawed_data, wrong)
    assert "(wrong: wrong operand)" in words
    for source in range(wrong):
        named = f"{flawed_data['kinds'][source]} {source} (" in words
        assert named == bool(row[source] >= least)
    drawn = weights_of(flawed_data, "attention") >= least
    gold = weights_of(flawed_data, "gold") > 0
    words = graph_in_words(flawed_data, "attention")
    assert f"attention has {drawn.sum()} edges" in words
    assert f", {(drawn & gold).sum()} of them among the {gold.sum()} gold edges" in words
    assert f"step {wrong} (wrong operand)" in words


def test_static_twin_draws_the_edges_of_the_state(flawed_data, large_data):
    figure = draw_static_twin(flawed_data, threshold=0.3, layer=1, head=0)
    drawn = weights_of(flawed_data, "attention", 1, 0) >= 0.3
    gold = weights_of(flawed_data, "gold") > 0
    edges = [a.get_gid().split() for a in figure.findobj() if (a.get_gid() or "")[:5] == "edge "]
    found = {name: sum(edge[3] == name for edge in edges) for name in ("both", "extra", "missed")}
    both = int((drawn & gold).sum())
    assert found == {"both": both, "extra": drawn.sum() - both, "missed": gold.sum() - both}
    figure = draw_static_twin(large_data)
    arcs = {a.get_gid(): len(a.get_segments()) for a in figure.findobj(LineCollection)}
    weights, gold = weights_of(large_data, "attention"), weights_of(large_data, "gold") > 0
    drawn = weights >= large_data["methods"][0]["threshold"]
    assert arcs["arcs both"] == (drawn & gold).sum()
    assert arcs["arcs missed"] == (gold & ~drawn).sum()
    assert len(png_bytes(figure)) < 600_000


def test_explore_shows_the_figure_first_and_returns_a_widget(flawed, monkeypatch):
    anywidget = pytest.importorskip("anywidget")
    shown = []
    monkeypatch.setattr(plots, "show", lambda figure, alt: shown.append(alt))
    widget = explore(flawed.trace, flawed.graphs, checked=flawed.checked)
    assert len(shown) == 1
    assert "gold edges" in shown[0]
    assert isinstance(widget, anywidget.AnyWidget)
    assert widget.threshold == widget.data["methods"][0]["threshold"]
    assert widget.compare == "gold"
    bundle = widget._repr_mimebundle_()[0]
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/html"] == explorer_frame(widget.data)
    widget.method, widget.selected = "previous step", 3
    for name, value in {"method": "rollout", "selected": 99, "head": 0, "view": "tree"}.items():
        with pytest.raises(Exception, match=r"no graph|no line|no head|any of|value"):
            setattr(widget, name, value)


def test_page_holds_everything_and_escapes_text(flawed_data, tmp_path):
    data = {**flawed_data, "title": "a </script><b> & b"}
    path = explorer_html(data, tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    assert text == explorer_page(data)
    assert text.count("</script>") == 2  # the data's and the module's own ends
    plain = re.search(r'id="explorer-data">(.*?)</script>', text, re.DOTALL)[1]
    assert json.loads(plain) == data
    assert not re.search(r"(?:src|href)=|@import|https?://(?!www\.w3\.org/2000/svg)", text)
    assert "</iframe>" not in explorer_frame(data)[: -len("</iframe>")]
    with pytest.raises(ValueError, match="explorer_data"):
        explorer_page({"nodes": []})


def test_the_module_is_all_its_parts_and_imports_nothing():
    assert sorted(MODULE_PARTS) == sorted(path.name for path in FOLDER.glob("*.js"))
    module = module_source()
    statements = re.findall(r"^\s*(import|export)\b.*", module, re.MULTILINE)
    assert statements == ["export", "export"]  # mount, for a page; render, for anywidget
    declared = re.findall(r"^(?:export )?(?:function|const|let) (\w+)", module, re.MULTILINE)
    assert len(declared) == len(set(declared)) > 40, "two parts declare one name"


def test_style_follows_the_palette():
    style = STYLE.read_text(encoding="utf-8")
    first = style[: style.index("}")]
    named = dict(re.findall(r"--rgx-(\w+): (#\w{6});", first))
    for name in ("blue", "grey", "vermilion"):
        assert named[name] == PALETTE[name]
    for kind, look in KIND_STYLES.items():
        assert named[kind] == look.fill
