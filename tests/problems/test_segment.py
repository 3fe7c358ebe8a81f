"""Steps as exact character spans: they tile everything that is not white space."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rg_helpers.problems import FAMILIES, generate_problem, segment_steps

TEXTS = st.text(st.sampled_from("aB1.!?\n\r\t  \u2028\u00a0é٣=,"), max_size=60) | st.text()


def pieces(text: str, family: str | None = None) -> list[str]:
    return [text[start:end] for start, end in segment_steps(text, family)]


@settings(max_examples=800, deadline=None)
@given(TEXTS, st.sampled_from([*FAMILIES, None]))
def test_spans_tile_the_text(text, family):
    position = 0
    for start, end in segment_steps(text, family):
        assert position <= start < end
        assert not text[position:start].strip(), "only white space lies between steps"
        assert text[start:end] == text[start:end].strip()
        position = end
    assert not text[position:].strip()


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FAMILIES), st.integers(0, 10**6), st.integers(1, 8))
def test_gold_solutions_and_prompts_are_cut_at_their_nodes(family, seed, operations):
    problem = generate_problem(family, seed, operations)
    texts = [node.text for node in problem.nodes]
    assert pieces(problem.solution, family) == texts[problem.prompt_nodes :]
    assert pieces(problem.prompt, family) == texts[: problem.prompt_nodes]


@pytest.mark.parametrize(
    ("text", "family", "expected"),
    [
        ("He pays 3.50 now. She waits!", None, ["He pays 3.50 now.", "She waits!"]),
        ("Really?! Yes.", "arithmetic", ["Really?!", "Yes."]),
        ("one\ntwo. three\n\n\nfour", None, ["one", "two.", "three", "four"]),
        ("L1: a = 2. L2: b = 3\r\n  L3: c = 4  ", "program", ["L1: a = 2. L2: b = 3", "L3: c = 4"]),
        ("1. Ana has 3.", "arithmetic", ["1.", "Ana has 3."]),
        ("#### 16", None, ["#### 16"]),
        ("", None, []),
        (" \n\t ", "program", []),
    ],
)
def test_by_hand(text, family, expected):
    assert pieces(text, family) == expected


@pytest.mark.parametrize("piece", ["a", " ", ".", "a.", ". ", "\n", "3.5", "a \n"])
def test_long_texts_take_linear_time(piece):
    started = time.process_time()
    segment_steps(piece * (200_000 // len(piece)), "arithmetic")
    segment_steps(piece * (200_000 // len(piece)), "program")
    assert time.process_time() - started < 3
