"""Steps by every rule: they tile the text, and are those that a reader would mark."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rg_helpers.problems import generate_problem, segment_steps
from rg_helpers.scoring.segmentation import (
    AUTO,
    RULES,
    cut_steps,
    fitting_rule,
    prompt_pieces,
    step_pieces,
)

PARTS = ["\\[", "\\]", "$$", "\\begin{align}", "\\end{align}", "Step 1", "\n1. ", "\n\n", "\n"]
PARTS += [" ", "a", "B.", "3.5", "e.g. ", "x = 2.", "!", "é", "A:"]
TEXTS = st.lists(st.sampled_from(PARTS), max_size=30).map("".join) | st.text(max_size=60)


def pieces(text: str, rule: str) -> list[str]:
    return [text[start:end] for start, end in cut_steps(text, rule)]


@settings(max_examples=500, deadline=None)
@given(TEXTS, st.sampled_from([AUTO, *RULES]))
def test_spans_tile_the_text(text, rule):
    position = 0
    for start, end in cut_steps(text, rule):
        assert position <= start < end
        assert not text[position:start].strip(), "only white space lies between steps"
        assert text[start:end] == text[start:end].strip()
        position = end
    assert not text[position:].strip()


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        ("sentence", "He pays 3.50. 1. Ana waits! So", ["He pays 3.50.", "1. Ana waits!", "So"]),
        ("sentence", "See e.g. Eq. 3. Done.", ["See e.g. Eq. 3.", "Done."]),
        ("sentence", "We get \\[x = 1.\ny\\] so x. Yes.", ["We get \\[x = 1.\ny\\] so x.", "Yes."]),
        ("sentence", "First. $$a$$", ["First.", "$$a$$"]),
        ("line", "a. b\n\n $$x\n= 2$$ c\nd", ["a. b", "$$x\n= 2$$ c", "d"]),
        ("numbered", "Plan\n1. a\nb\n2) c", ["Plan", "1. a\nb", "2) c"]),
        ("numbered", "Step 1: a\n**Step 2** b\n\nThe answer is 3.",
         ["Step 1: a", "**Step 2** b", "The answer is 3."]),
        ("numbered", "1. a\n\n3.5 is b", ["1. a\n\n3.5 is b"]),
        ("paragraph", "a\nb\n \n\nc", ["a\nb", "c"]),
        ("paragraph", "$$a\n\nb$$\n\nc", ["$$a\n\nb$$", "c"]),
        ("latex", "$$ a. \\begin{b}c. d\\end{b} Oh. Far \\[g. h\\]",
         ["$$ a.", "\\begin{b}c. d\\end{b}", "Oh.", "Far", "\\[g. h\\]"]),
        ("latex", "So \\[a\\] and. b\n\\begin{align}c\\\\d\\end{align}",
         ["So", "\\[a\\]", "and.", "b", "\\begin{align}c\\\\d\\end{align}"]),
    ],
)  # fmt: skip
def test_by_hand(rule, text, expected):
    assert pieces(text, rule) == expected


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a. b", "sentence"),
        ("a\nb. c", "line"),
        ("a\nb\n\nc", "paragraph"),
        ("1. a\n\n2. b", "numbered"),
        ("Only 1. step", "sentence"),
    ],
)
def test_auto_takes_the_writers_own_mark(text, rule):
    assert fitting_rule(text) == rule
    assert cut_steps(text) == RULES[rule](text)


@pytest.mark.parametrize("family", ["arithmetic", "program"])
def test_generated_solutions_are_cut_as_the_course_cuts_them(family):
    problem = generate_problem(family, 3)
    assert cut_steps(problem.solution, AUTO, family) == segment_steps(problem.solution, family)
    prompt = prompt_pieces(problem.prompt, family)
    assert prompt == [(n.kind, n.text) for n in problem.nodes[: problem.prompt_nodes]]


def test_the_last_step_that_announces_an_answer_is_the_answer():
    assert [kind for kind, _ in step_pieces("2 + 2 = 4\n#### 4")] == ["step", "answer"]
    assert [kind for kind, _ in step_pieces("a\nA: 4")] == ["step", "answer"]
    assert [kind for kind, _ in step_pieces("The answer is near.\nNo.")] == ["step", "step"]
    with pytest.raises(ValueError, match="sentence, line, numbered"):
        cut_steps("a", "words")


@pytest.mark.parametrize("piece", ["a", "a.", "\\[", "\\begin{a}", "$$", "\n\n", "1. a\n"])
def test_long_texts_take_linear_time(piece):
    text = piece * (100_000 // len(piece))
    for rule in RULES:
        started = time.process_time()
        cut_steps(text, rule)
        assert time.process_time() - started < 3, rule
