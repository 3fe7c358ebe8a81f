"""Copies among problems: within one file, and between what is trained on and what is tested on.

Three degrees, the strictest that holds is named: `exact` (the same words), `template` (the same
words once every number is masked: only the figures were changed), `near` (at least half of the
shorter question's runs of eight words stand in the other). Runs of words are how GPT-3's authors
looked for contamination (Brown et al. 2020, arXiv 2005.14165, appendix C).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rg_helpers.datasets.word_problems import WordProblem

Degree = Literal["exact", "template", "near"]
RUN = 8  # words
SHARED = 0.5
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")


@dataclass(frozen=True)
class Copy:
    """Problem `first` and problem `second` (indices) are copies, to this degree."""

    first: int
    second: int
    degree: Degree


def find_copies(problems: Sequence[WordProblem]) -> list[Copy]:
    """Return, for every problem that repeats an earlier one, the first such pair."""
    questions = [problem.question for problem in problems]
    best: dict[int, Copy] = {}
    for copy in _pairs(questions, questions):
        if copy.first < copy.second and copy.second not in best:
            best[copy.second] = copy
    return [best[number] for number in sorted(best)]


def find_overlap(train: Sequence[WordProblem], test: Sequence[WordProblem]) -> list[Copy]:
    """Return, for every test problem (`second`) that is in `train` (`first`), the closest pair."""
    pairs = _pairs([p.question for p in train], [p.question for p in test])
    best: dict[int, Copy] = {}
    for copy in pairs:
        best.setdefault(copy.second, copy)
    return [best[number] for number in sorted(best)]


def without_copies(problems: Sequence[WordProblem]) -> list[WordProblem]:
    """Return the problems without those that repeat an earlier one exactly; order is kept."""
    kept: dict[tuple[str, ...], WordProblem] = {}
    for problem in problems:
        kept.setdefault(_words(problem.question), problem)
    return list(kept.values())


def count_degrees(copies: Sequence[Copy]) -> dict[str, int]:
    """Return how many pairs there are of each degree, those without any included."""
    counts = Counter(copy.degree for copy in copies)
    return {degree: counts[degree] for degree in Degree.__args__}


def _pairs(first: Sequence[str], second: Sequence[str]) -> Iterator[Copy]:
    """Yield pairs of copies, for each of `second` the closest degree first."""
    words = [_words(text) for text in first]
    exact, template, runs = defaultdict(list), defaultdict(list), defaultdict(set)
    for number, one in enumerate(words):
        exact[one].append(number)
        template[_masked(one)].append(number)
        for run in _runs(one):
            runs[run].add(number)
    for number, text in enumerate(second):
        one = _words(text)
        yield from (Copy(other, number, "exact") for other in exact.get(one, ()))
        yield from (Copy(other, number, "template") for other in template.get(_masked(one), ()))
        own = _runs(one)
        shared = Counter(other for run in own for other in runs.get(run, ()))
        for other, count in shared.most_common():
            if count >= SHARED * max(1, min(len(own), len(_runs(words[other])))):
                yield Copy(other, number, "near")


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.lower()))


def _masked(words: Sequence[str]) -> tuple[str, ...]:
    return tuple("0" if word[0].isdigit() else word for word in words)


def _runs(words: Sequence[str]) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1)}
