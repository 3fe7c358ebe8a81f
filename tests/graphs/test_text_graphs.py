"""Text graphs: lines taken apart, weights worked out by hand, and nothing read that lies ahead."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest

from rg_helpers.edge_recovery import Candidates, auroc
from rg_helpers.graphs.annotated import ANNOTATION, annotated_graph, without_annotations
from rg_helpers.graphs.controls import previous_step_graph
from rg_helpers.graphs.gold import gold_graph
from rg_helpers.graphs.text import read_mentions, text_evidence, text_graphs, text_scores
from rg_helpers.problems import FAMILIES, generate_problems
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import gold_trace, trace_from_text

TOKENIZER = build_tokenizer()
PROBLEMS = [p for family in FAMILIES for p in generate_problems(family, 12, seed=6)]
TRACES = [gold_trace(problem, TOKENIZER) for problem in PROBLEMS]


@pytest.mark.parametrize(
    ("text", "used", "values"),
    [
        ("Ned has 17.", "ned has 17", "17"),
        ("Ray has 1 fewer than Ned, so 17 - 1 = 16.", "ray has 1 fewer than ned so 17", "16"),
        ("L3: b = b + 8 = 9 + 8 = 17", "l3 b 8 9", "17"),
        ("L1: y = 8", "l1 y 8", "8"),
        ("L6: h = o + 2: o = 20, 20 + 2 = 22", "l6 h o 2 20", "22"),
        ("L3: m = e > 13: e = 13, 13 > 13 = False", "l3 m e 13 false", "13"),
        ("Of 30 birds, x = 4 flew", "of 30 birds x 4 flew", "4"),
        ("It is sworn: yes.", "it is sworn yes", ""),
        ("He sold 48+24 = <<48+24=72>>72 clips.", "he sold 48 24 clips", "72"),
        ("She earns 12/60 = $<<12/60=0.2>>0.2 now.", "she earns 12 60 now", "0.2"),
        ("That makes $1,500.50 x 2 = $3001.00", "that makes 1500.5 2", "3001"),
        ("Two of 007 agents, 0.50 each", "2 of 7 agents 0.5 each", ""),
        ("so 7 + 0 = 7 in all", "so 7 0 in all", "7"),
        ("4 - 9 = -5", "4 9", "5"),
    ],
)
def test_lines_are_taken_apart(text, used, values):
    found = read_mentions(text)
    assert found.used == set(used.split())
    assert found.values == set(values.split())
    assert found.tokens == found.used | found.values


def test_long_numbers_stay_apart():
    assert read_mentions("9" * 5000).tokens != read_mentions("9" * 4999 + "8").tokens


LINES = ("Ann has 3 pens.", "Bo has 4 pens.", "Ann has 3, so 3 + 4 = 7.", "Bo needs 7.")


def test_weights_worked_out_by_hand():
    # Line 2 uses ann, has, 3, so, 4. "ann" and "3" stand in one of the two lines before, "has" in
    # both, the nearer one counting double; 3 and 4 are handed over, which counts fourfold.
    once, both = log(3 / 1), log(3 / 2)
    # Line 3: bo in one of three lines, 7 too (line 2 works it out).
    rare = log(4 / 1)
    expected = np.zeros((4, 4))
    expected[1, 0] = 2 * log(2 / 1)  # has, pens
    expected[2, 0] = once + both / 2 + 4 * once
    expected[2, 1] = both + 4 * once
    expected[3, 1], expected[3, 2] = rare, 4 * rare
    found = np.zeros((4, 4))
    for item in text_evidence(LINES):
        found[item.target, item.source] += item.weight
    assert np.abs(found - expected).max() < 1e-12


def test_no_fading_counts_every_mention_and_full_fading_the_last_alone():
    lines = ("x", "x", "x y")
    assert [e.weight for e in text_evidence(lines, fading=1) if e.target == 2] == [log(3 / 2)] * 2
    last = [e for e in text_evidence(lines, fading=0) if e.target == 2 and e.weight > 0]
    assert [e.source for e in last] == [1]


def naive_scores(texts: tuple[str, ...]) -> np.ndarray:
    """The formula once more, pair by pair and token by token."""
    lines = [read_mentions(text) for text in texts]
    scores = np.zeros((len(texts), len(texts)))
    for i, line in enumerate(lines):
        for j in range(i):
            for token in line.used & lines[j].tokens:
                holders = [k for k in range(i) if token in lines[k].tokens]
                givers = [k for k in range(i) if token in lines[k].values]
                counted = givers or holders
                if j in counted:
                    later = sum(k > j for k in counted)
                    weight = log((i + 1) / len(holders)) * (4 if givers else 1)
                    scores[i, j] += weight * 0.5**later
    return scores


def test_scores_equal_the_naive_version():
    for trace, score in zip(TRACES, text_scores(TRACES, progress=False), strict=True):
        assert score.dtype == np.float32
        assert np.abs(score - naive_scores(trace.texts)).max() < 1e-5
        assert not np.triu(score).any()
        assert score.any()


def test_rows_do_not_see_what_comes_later():
    trace = TRACES[0]
    last = replace(trace.nodes[-1], text="The answer is 99 for Ann and 4 - 1 = 3.")
    changed = replace(trace, nodes=(*trace.nodes[:-1], last))
    before, after = text_scores([trace, changed], progress=False)
    assert np.array_equal(before[:-1], after[:-1])
    assert not np.array_equal(before[-1], after[-1])


def test_neither_answer_nor_gold_is_read():
    stripped = replace(TRACES[0], extra={"answer": "1", "gold": [[0, 1]]}, problem_id="other")
    one, other = text_scores([TRACES[0], stripped], progress=False)
    assert np.array_equal(one, other)


@pytest.mark.parametrize("family", FAMILIES)
def test_true_edges_outweigh_others_and_beat_the_chain(family):
    chosen = [i for i, problem in enumerate(PROBLEMS) if problem.family == family]
    gold = [gold_graph(PROBLEMS[i]) for i in chosen]
    pairs = Candidates.of(gold, [PROBLEMS[i].problem_id for i in chosen])
    drawn = text_graphs([TRACES[i] for i in chosen], progress=False)
    text = auroc(pairs.scores([graph.weights for graph in drawn]), pairs.labels)
    chain = auroc(pairs.scores([previous_step_graph(g).weights for g in gold]), pairs.labels)
    assert text > 0.85
    assert text > chain + 0.05
    assert drawn[0].method == "text"


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="fading=2"):
        text_scores(TRACES[:1], fading=2, progress=False)
    with pytest.raises(ValueError, match="handed_over"):
        text_scores(TRACES[:1], handed_over=-1, progress=False)


QUESTION = "Mia bakes 6 trays of 4 rolls. She sells 9 rolls and gives away 5. How many are left?"
ANNOTATED = (
    "Mia bakes 6*4 = <<6*4=24>>24 rolls.\n"
    "She parts with 9+5 = <<9+5=14>>14 rolls.\n"
    "There are 24-14 = <<24-14=10>>10 rolls left.\n"
    "#### 10"
)


def trace_of(question: str, solution: str):
    lines = [line for line in solution.splitlines() if line.strip()]
    kinds = ["answer" if line.startswith("####") else "step" for line in lines]
    return trace_from_text(
        TOKENIZER, question, solution, solution_nodes=list(zip(kinds, lines, strict=True))
    )


def test_annotations_give_the_edges_they_name():
    graph = annotated_graph(trace_of(QUESTION, ANNOTATED))
    assert graph.edges == [(3, 5), (4, 5)]  # both results are used in the third line
    with pytest.raises(ValueError, match="no <<operands=result>>"):
        annotated_graph(trace_of(QUESTION, without_annotations(ANNOTATED)))


def test_the_latest_line_with_that_result_is_the_producer():
    solution = "1+4 = <<1+4=5>>5\n2+3 = <<2+3=5>>5\n5*5 = <<5*5=25>>25\n25-5 = <<25-5=20>>20"
    graph = annotated_graph(trace_of("What is left?", solution))
    assert graph.edges == [(2, 3), (2, 4), (3, 4)]


@pytest.mark.parametrize("strip", [False, True])
def test_text_finds_producing_lines_with_and_without_annotations(strip):
    solution = without_annotations(ANNOTATED) if strip else ANNOTATED
    (score,) = text_scores([trace_of(QUESTION, solution)], progress=False)
    assert set(np.argsort(-score[5])[:2]) == {3, 4}
    assert score[6].argmax() == 5  # the answer comes from the line that worked it out


def test_producing_lines_of_gsm8k():
    """Share of true producers among as many strongest sources; the previous line as control."""
    folder = os.environ.get("RGH_GSM8K")
    if not folder or not (Path(folder) / "train.jsonl").is_file():
        pytest.skip("set RGH_GSM8K to a folder with GSM8K's train.jsonl to run this test")
    with open(Path(folder) / "train.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line, _ in zip(file, range(200), strict=False)]
    found = chain = edges = 0
    for row in (row for row in rows if ANNOTATION.search(row["answer"])):
        trace = trace_of(row["question"], row["answer"])
        truth = annotated_graph(trace).weights > 0
        plain = [replace(node, text=without_annotations(node.text)) for node in trace.nodes]
        (score,) = text_scores([replace(trace, nodes=tuple(plain))], progress=False)
        for target in np.flatnonzero(truth.any(axis=1)):
            sources = set(np.flatnonzero(truth[target]))
            found += len(sources & set(np.argsort(-score[target])[: len(sources)]))
            chain += target - 1 in sources
            edges += len(sources)
    assert edges > 200
    assert found / edges > 0.75
    assert found > chain
