"""The exported page in a real Chromium: pointing, sliding, switching, keys, phones, dark, speed."""

from __future__ import annotations

import re
from statistics import median

import nbformat
import numpy as np
import pytest
from nbconvert import HTMLExporter

from rg_helpers.edge_recovery import Candidates
from rg_helpers.explorer import explorer_html, weights_of
from rg_helpers.explorer.explore import Frame
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows

STEP = 12  # a written line of the flawed solution
SLOWEST = 300  # milliseconds of a median change at 250 lines; a fluid one takes a tenth of it
CONTRAST = """(selector) => {
  const light = (colour) => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const found = document.querySelector(selector);
  const ink = light(getComputedStyle(found).color);
  const paper = light(getComputedStyle(document.querySelector(".rgx")).backgroundColor);
  return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
}"""
MIDDLES = """(found) => found.map((one) => {
  const box = one.getBoundingClientRect();
  return box.top + box.height / 2;
})"""
TIMES = """(what) => {
  const times = [], rows = [...document.querySelectorAll(".rgx-row")];
  const slider = document.querySelector("input[name=threshold]");
  for (let i = 0; i < 30; i++) {
    const start = performance.now();
    if (what === "hover") {
      const row = rows[(61 + i * 17) % rows.length];
      row.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
    } else {
      slider.value = 0.02 + (i % 10) * 0.02;
      slider.dispatchEvent(new Event("input", { bubbles: true }));
    }
    document.body.getBoundingClientRect(); // the layout that the change asks for
    times.push(performance.now() - start);
  }
  return times;
}"""
CHANGES = """async (node) => {
  let records = 0;
  const seen = new MutationObserver((list) => (records += list.length));
  const everything = { subtree: true, childList: true, attributes: true, characterData: true };
  seen.observe(document.body, everything);
  const row = document.querySelector(`.rgx-row[data-node="${node}"]`);
  row.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
  await new Promise((resolve) => setTimeout(resolve, 0));
  seen.disconnect();
  return records;
}"""


@pytest.fixture
def open_page(browser, tmp_path):
    """Open data as an exported page; nothing may be fetched and nothing may go wrong in it."""
    pages, faults = [], []

    def opened(data, width=1100, height=820, **options):
        path = explorer_html(data, tmp_path / "explorer.html")
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: said.type == "error" and faults.append(said.text))
        page.on("request", lambda r: r.url.startswith("file:") or faults.append(r.url))
        page.goto(path.as_uri())
        pages.append(context)
        return page

    yield opened
    for context in pages:
        context.close()
    assert not faults


def nodes_with(page, kind: str) -> set[int]:
    rows = page.locator(f".rgx-row.{kind}")
    return {int(row.get_attribute("data-node")) for row in rows.all()}


def expected_sources(data, node: int, least: float, **part) -> set[int]:
    return set(np.flatnonzero(weights_of(data, "attention", **part)[node] >= least).tolist())


def test_pointing_lights_up_sources_in_text_and_graph(open_page, flawed_data):
    page = open_page(flawed_data)
    least = flawed_data["methods"][0]["threshold"]
    sources = expected_sources(flawed_data, STEP, least)
    gold = set(np.flatnonzero(weights_of(flawed_data, "gold")[STEP]).tolist())
    users = set(np.flatnonzero(weights_of(flawed_data, "attention")[:, STEP] >= least).tolist())
    assert sources
    assert gold - sources
    assert users
    page.hover(f'.rgx-row[data-node="{STEP}"]')
    assert nodes_with(page, "rgx-source") == sources
    assert nodes_with(page, "rgx-missing") == gold - sources
    lit = {int(g.get_attribute("data-node")) for g in page.locator(".rgx-node.rgx-lit").all()}
    assert lit == sources | gold | users | {STEP}
    says = page.inner_text("[role=status]")
    assert says.startswith(f"Step {STEP} follows from ")
    for source in sources:
        assert f"{flawed_data['kinds'][source]} {source} (" in says
    # The graph is pointed at as well as the text.
    page.hover(f'.rgx-node[data-node="{STEP + 1}"]')
    assert page.inner_text("[role=status]").startswith(f"Step {STEP + 1} ")
    page.mouse.move(2, 2)
    assert nodes_with(page, "rgx-source") == set()


def test_slider_counts_edges_and_scores_as_edge_recovery_does(open_page, flawed_data):
    page = open_page(flawed_data)
    weights, gold = weights_of(flawed_data, "attention"), weights_of(flawed_data, "gold")
    kinds, texts = flawed_data["kinds"], flawed_data["texts"]
    truth = StepGraph(normalise_rows(gold), kinds, texts, "gold")
    candidates = Candidates.of([truth], ["one"])
    scores = candidates.scores([weights])
    for least in (0.05, 0.4):
        page.fill("input[name=threshold]", str(least))
        chosen = scores >= least
        hits = (chosen & candidates.labels).sum()
        f1 = 2 * hits / (chosen.sum() + candidates.labels.sum())
        status = page.inner_text(".rgx-status")
        assert f": {int((weights >= least).sum())} edges of at least {least:.3f}" in status
        assert f"F1 {f1:.2f}." in status
        drawn = page.locator(".rgx-base .rgx-head").evaluate_all(
            "paths => paths.map(p => p.getAttribute('d').split('M').length - 1)"
        )
        union = (weights >= least) | (gold > 0)
        assert sum(drawn) == int(union.sum())


def test_method_layer_head_and_comparison_can_be_chosen(open_page, flawed_data):
    page = open_page(flawed_data)
    page.select_option("select[name=layer]", "1")
    page.select_option("select[name=head]", "2")
    page.fill("input[name=threshold]", "0.2")
    page.hover(f'.rgx-row[data-node="{STEP}"]')
    assert nodes_with(page, "rgx-source") == expected_sources(
        flawed_data, STEP, 0.2, layer=1, head=2
    )
    assert "attention, layer 1, head 2" in page.inner_text(".rgx-status")
    page.select_option("select[name=method]", "previous step")
    assert page.locator("select[name=layer]").is_disabled()
    page.hover(f'.rgx-row[data-node="{STEP}"]')
    assert nodes_with(page, "rgx-source") == {STEP - 1}
    page.select_option("select[name=compare]", "attention")
    # The other graph is cut at its own threshold, the one chosen last.
    other = expected_sources(flawed_data, STEP, 0.2)
    page.hover(f'.rgx-row[data-node="{STEP - 1}"]')
    page.hover(f'.rgx-row[data-node="{STEP}"]')
    assert nodes_with(page, "rgx-missing") == other - {STEP - 1}
    page.select_option("select[name=compare]", "")
    assert "Against" not in page.inner_text(".rgx-status")
    # A method comes back with the threshold that it was left with.
    page.select_option("select[name=method]", "attention")
    assert page.input_value("input[name=threshold]") == "0.2"


def test_keys_walk_lines_and_edges(open_page, flawed_data):
    page = open_page(flawed_data)
    page.focus("select[name=view]")
    page.keyboard.press("Tab")
    focused = "document.activeElement.dataset.node"
    assert page.evaluate(focused) == "0"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == "1"
    assert page.inner_text("[role=status]").startswith("Premise 1 is used by")
    page.keyboard.press("End")
    last = len(flawed_data["kinds"]) - 1
    assert page.evaluate(focused) == str(last)
    assert page.get_attribute(f'.rgx-row[data-node="{last}"]', "aria-selected") == "true"
    page.keyboard.press("ArrowUp")
    strongest = int(weights_of(flawed_data, "attention")[last - 1].argmax())
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(focused) == str(strongest)
    page.keyboard.press("ArrowRight")
    least = flawed_data["methods"][0]["threshold"]
    users = np.flatnonzero(weights_of(flawed_data, "attention")[:, strongest] >= least)
    assert page.evaluate(focused) == str(users[0])
    page.keyboard.press("Escape")
    assert nodes_with(page, "rgx-source") == set()
    assert page.locator('[aria-selected="true"]').count() == 0
    page.keyboard.press("Home")
    # One line of the list is in the Tab order; one more Tab leaves the explorer.
    assert page.locator('.rgx-row[tabindex="0"]').count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.rgx') === null")


def test_wrong_steps_are_told_in_words_and_shapes(open_page, flawed_data):
    page = open_page(flawed_data)
    wrong = next(i for i, s in enumerate(flawed_data["steps"]) if s and s["verdict"] != "right")
    row = page.locator(f'.rgx-row[data-node="{wrong}"]')
    assert "✗ wrong operand" in row.inner_text()
    assert row.get_attribute("aria-label").endswith("wrong: wrong operand")
    assert page.text_content(f'.rgx-node[data-node="{wrong}"] .rgx-cross') == "✗"
    row.focus()
    says = page.inner_text("[role=status]")
    assert "Wrong: wrong operand" in says
    judged = flawed_data["steps"][wrong]
    for words, node in (("ignores", judged["ignored"]), ("uses", judged["used"])):
        if node is not None:
            assert re.search(rf"{words} \w+ {node}\b", says)


def test_every_control_and_line_has_a_name(open_page, flawed_data):
    page = open_page(flawed_data)
    for name in ("graph", "layer", "head", "compare with", "view"):
        assert page.get_by_role("combobox", name=name, exact=True).count() == 1
    assert page.get_by_role("slider", name=re.compile("least weight")).count() == 1
    assert page.get_by_role("listbox", name="problem and solution").count() == 1
    assert page.get_by_role("option").count() == page.locator("option, .rgx-row").count()
    assert page.get_by_role("group", name="solution", exact=True).count() == 1
    assert "edges of at least" in page.get_attribute("svg.rgx-picture", "aria-label")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_have_contrast_in_both_schemes(open_page, flawed_data, scheme):
    page = open_page(flawed_data, color_scheme=scheme)
    for selector in (".rgx-words", ".rgx-good", ".rgx-bad", ".rgx-status", ".rgx-number"):
        assert page.evaluate(CONTRAST, selector) >= 4.5
    page.evaluate("document.body.style.setProperty('--jp-layout-color0', 'rgb(1, 2, 3)')")
    paper = page.evaluate("getComputedStyle(document.querySelector('.rgx')).backgroundColor")
    assert (paper == "rgb(1, 2, 3)") == (scheme == "light")  # Jupyter's theme wins in a notebook


def test_a_phone_gets_arcs_and_no_sideways_scrolling(open_page, flawed_data):
    page = open_page(flawed_data, width=390, height=800)
    assert page.get_attribute(".rgx", "data-view") == "arcs"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    rows = page.locator(".rgx-row").evaluate_all(MIDDLES)
    marks = page.locator(".rgx-node").evaluate_all(MIDDLES)
    assert np.abs(np.subtract(rows, marks)).max() < 2  # each mark beside its own line
    page.set_viewport_size({"width": 1000, "height": 800})
    page.wait_for_selector('.rgx[data-view="graph"]')


def test_250_lines_stay_fluid(open_page, large_data):
    page = open_page(large_data)
    assert page.get_attribute(".rgx", "data-view") == "arcs"
    nodes = len(large_data["kinds"])
    assert nodes >= 250
    assert median(page.evaluate(TIMES, "hover")) < SLOWEST
    assert median(page.evaluate(TIMES, "slide")) < SLOWEST
    assert page.locator(".rgx-base path").count() <= 24  # long paths, not one element an edge
    # What a hover changes grows with the line's own edges, not with the text.
    page.reload()
    node = 120
    least = large_data["methods"][0]["threshold"]
    drawn = weights_of(large_data, "attention") >= least
    edges = (drawn | (weights_of(large_data, "gold") > 0))[node].sum() + drawn[:, node].sum()
    assert page.evaluate(CHANGES, node) <= 5 * (edges + 1) + 20 < 2 * nodes
    page.fill("input[name=threshold]", "0.005")
    assert "Only the 1500 heaviest of " in page.inner_text(".rgx-status")


def test_page_without_script_lists_the_lines(open_page, flawed_data):
    page = open_page(flawed_data, java_script_enabled=False)
    assert page.locator("li").count() == len(flawed_data["kinds"])
    assert "follows from" in page.inner_text("li:last-child")


def test_notebook_exported_as_html_holds_a_live_explorer(browser, flawed_data, tmp_path):
    bundle = Frame(flawed_data)._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", bundle)
    cell = nbformat.v4.new_code_cell("explore(...)", outputs=[output], execution_count=1)
    exporter = HTMLExporter(template_name="basic")
    body, _ = exporter.from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    report = tmp_path / "report.html"
    report.write_text(f"<!DOCTYPE html><meta charset='utf-8'>{body}", encoding="utf-8")
    page = browser.new_page()
    page.goto(report.as_uri())
    inside = page.frame_locator("iframe")
    inside.locator(f'.rgx-row[data-node="{STEP}"]').focus()
    least = flawed_data["methods"][0]["threshold"]
    sources = expected_sources(flawed_data, STEP, least)
    assert inside.locator(".rgx-row.rgx-source").count() == len(sources)
    page.close()
