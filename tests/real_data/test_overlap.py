"""Copies: found to their degree, as a comparison of all pairs finds them."""

from __future__ import annotations

import itertools
import random
import re

from gsm8k_lines import train_row

from rg_helpers.datasets.overlap import (
    RUN,
    Copy,
    count_degrees,
    find_copies,
    find_overlap,
    without_copies,
)
from rg_helpers.datasets.word_problems import problem_of


def problem(question):
    return problem_of({"question": question, "answer": "#### 1"})


PLAIN = "A train leaves town at 9 and goes 60 miles an hour for 3 hours, so how far does it go?"


def test_the_degree_is_the_strictest_that_holds():
    train = [problem(PLAIN), problem("Something else, of which there are 4?")]
    test = [
        problem(PLAIN.upper().replace(",", "")),
        problem(PLAIN.replace("60", "75")),
        problem(PLAIN.replace("so how far does it go", "and then stops; how far is it by now")),
        problem("What has nothing to do with any of them, at all, in the least?"),
    ]
    assert find_overlap(train, test) == [
        Copy(0, 0, "exact"),
        Copy(0, 1, "template"),
        Copy(0, 2, "near"),
    ]
    assert count_degrees(find_overlap(train, test)) == {"exact": 1, "template": 1, "near": 1}


def test_copies_within_a_file_are_held_against_the_earlier_one():
    rows = [problem(PLAIN), problem("Other?"), problem(PLAIN + " "), problem("Other?")]
    assert find_copies(rows) == [Copy(0, 2, "exact"), Copy(1, 3, "exact")]
    assert without_copies(rows) == rows[:2]


def test_near_copies_are_those_of_a_naive_comparison():
    rng = random.Random(0)
    words = "a b c d e".split()
    texts = [" ".join(rng.choice(words) for _ in range(14)) for _ in range(6)]
    texts += [" ".join([*text.split()[3:], *rng.choices(words, k=3)]) for text in texts[:4]]
    problems = [problem(text) for text in texts]

    def runs(text):
        found = re.findall(r"\w+", text)
        return {tuple(found[i : i + RUN]) for i in range(len(found) - RUN + 1)}

    naive = set()
    for one, two in itertools.combinations(range(len(texts)), 2):
        shared = len(runs(texts[one]) & runs(texts[two]))
        if shared >= 0.5 * min(len(runs(texts[one])), len(runs(texts[two]))):
            naive.add(two)
    assert {copy.second for copy in find_copies(problems)} == naive
    assert len(naive) >= 4


def test_generated_problems_differ_only_in_figures_or_not_at_all():
    rows = [problem_of(train_row(seed)) for seed in range(40)]
    assert count_degrees(find_copies(rows))["exact"] == 0
    assert count_degrees(find_overlap(rows, rows)) == {"exact": 40, "template": 0, "near": 0}
