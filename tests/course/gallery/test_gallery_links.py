"""The link checker finds what is planted, and the linker touches prose alone."""

from __future__ import annotations

import re

import pytest

from rg_helpers.course.gallery.glossary import Term
from rg_helpers.course.gallery.linking import link_prose
from rg_helpers.course.gallery.links import broken_links
from rg_helpers.course.gallery.references import Reference

TERMS = [
    Term("gold graph", "01", 'The "true" graph.', also=("gold graphs",)),
    Term("graph", "00", "Nodes and edges."),
]
WORKS = {"1902.10186": Reference("jain2019", ("Jain, S", "Wallace, B"), "2019", "T")}


@pytest.fixture
def site(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "index.html").write_text('<h2 id="a-b">x</h2><a href="cpu/one.html#top">x</a>')
    (tmp_path / "cpu" / "one.html").write_text(
        '<h1 id="top">x</h1><a href="../index.html#a-b">x</a><a href="#top">x</a>'
        '<a href="https://arxiv.org">x</a><img alt="a dot" src="data:image/png;base64,AA">'
    )
    return tmp_path


def test_a_whole_site_has_no_faults(site):
    assert broken_links(site) == []


@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        ('<a href="two.html">x</a>', "two.html leads nowhere"),
        ('<a href="../index.html#c">x</a>', "anchor that is not there"),
        ('<a href="#c">x</a>', "anchor that is not there"),
        ('<a href="/index.html">x</a>', "relative to the page"),
        ('<a href="file:///c/x.html">x</a>', "relative to the page"),
        ('<a href="../../x.html">x</a>', "out of the site"),
        ('<script src="https://cdn.example/x.js"></script>', "<script> fetches"),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', "<link> fetches"),
        ('<img alt="a dot" src="x.png">', "<img> fetches x.png"),
        ('<img src="data:image/png;base64,AA">', "without a text alternative"),
        ('<p id="top">x</p>', "'top' is there twice"),
    ],
)
def test_each_fault_is_named_with_its_page(site, planted, fault):
    page = site / "cpu" / "one.html"
    page.write_text(page.read_text() + planted)
    (found,) = broken_links(site)
    assert found.startswith("cpu/one.html: ")
    assert fault in found


def prose(text: str) -> str:
    return f'<div class="text_cell_render"><div>{text}</div></div>'


def test_the_first_mention_of_a_term_is_linked_and_the_longest_form_wins():
    body, _ = link_prose(prose("<p>Gold\ngraphs, gold graph &amp; a Graph.</p>"), terms=TERMS)
    assert body.count("<a ") == 2
    assert 'glossary.html#gold-graph" title="The &quot;true&quot; graph.">Gold\ngraphs</a>' in body
    assert 'glossary.html#graph" title="Nodes and edges.">Graph</a>' in body
    assert "gold graph &amp; a" in body


@pytest.mark.parametrize(
    "text",
    [
        "<code>graph</code>",
        "<pre>graph</pre>",
        "<h2>graph</h2>",
        '<a href="x">graph</a>',
        "<details><summary>graph</summary></details>",
        "StepGraph, graph_loss, graph-aware",
        '<img alt="a graph" src="data:,">',
    ],
)
def test_what_is_no_prose_stays_as_it_is(text):
    for body in (prose(text), f"<div><p>{text}</p></div>"):
        assert link_prose(body, terms=TERMS)[0] == body


def test_outside_markdown_cells_nothing_is_linked():
    after = '<div class="output"><p>a graph of 1902.10186 in notebook 05</p></div>'
    body, cited = link_prose(
        prose("x") + after, terms=TERMS, works=WORKS, notebooks={"05": "5.html"}
    )
    assert body == prose("x") + after
    assert cited == set()


def test_a_term_that_no_prose_uses_is_linked_where_it_is_printed():
    printed = '<div class="output_markdown"><table><td>a graph, gold graphs</td></table></div>'
    body, _ = link_prose(printed + prose("<p>A graph.</p>"), terms=TERMS)
    assert re.findall(r'glossary\.html#([\w-]+)"[^>]*>([^<]+)</a>', body) == [
        ("gold-graph", "gold graphs"),
        ("graph", "graph"),
    ]
    assert "<td>a graph, <a " in body


def test_works_and_notebooks_are_linked_wherever_they_are_named():
    text = (
        '<p>See 1902.10186, <a href="y">arXiv 1902.10186</a>, '
        "2001.00001; notebook 05, notebook 77.</p>"
    )
    body, cited = link_prose(prose(text), works=WORKS, notebooks={"05": "05_x.html"})
    assert cited == {"jain2019"}
    assert body.count('<a href="../references.html#jain2019">1902.10186</a>') == 1
    assert '<a href="05_x.html">notebook 05</a>, notebook 77' in body
    assert "2001.00001;" in body
