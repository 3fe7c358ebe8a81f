"""Text graphs: which earlier lines already mentioned the numbers, names and symbols of this one.

No model is asked and nothing is fitted: row i depends on the texts of nodes 0 to i alone, so the
graph sees neither the true answer, nor the gold graph, nor what is written later. It is the
baseline that a graph read out of a model has to beat wherever steps say what they use.

A token that line i uses passes its rarity on to the earlier lines that mention it,

    score[i, j] = sum over tokens t of line i:  log((i + 1) / n_t) * v_t * fading ** r_t(j),

where n_t of the i lines before i mention t (inverse document frequency, Sparck Jones 1972, counted
within the trace), and r_t(j) of them lie between j and i: the latest mention counts most. Where
earlier lines give a number as their value ("17 - 1 = 16" gives 16, it uses 17 and 1), only those
lines are its sources, and it counts v_t = `handed_over` times as much as a shared word. The number
that a line works out itself is not used by it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from tqdm.auto import tqdm

from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.traces import Trace

FADING = 0.5
HANDED_OVER = 4.0
NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()
_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+"
_NUMBER = re.compile(_DIGITS)
_TOKEN = re.compile(rf"(?:{_DIGITS})(?![^\W\d_])|[^\W_]+|[=,;:]")
_SEPARATORS = frozenset("=,;:")
_ANNOTATION = re.compile(rf"(?:=\s*[$€£]?\s*)?<<([^<>]*)>>\s*[$€£]?(?:{_DIGITS})?")  # GSM8K's
_TIMES = re.compile(r"(?<=[0-9])\s?[x×]\s?(?=[0-9])")
_EQUALS = re.compile(r"=\s*[$€£]?\s*-?$")
_GOES_ON = re.compile(r"%?\s*[-+*/×·÷−]\s*[$€£(]?\s*[0-9]")
_VALUES = {word: str(value) for value, word in enumerate(NUMBER_WORDS)}


@dataclass(frozen=True)
class Mentions:
    """What one line mentions.

    `tokens`: its numbers in one spelling ("1,000.0" is "1000", "three" is "3"), words in lower
    case, and symbols such as variables. `used`: those it must have from elsewhere, which are
    all but the results it works out ("17 - 1 = 16" brings the 16 in). `values`: the numbers it
    leaves for later lines, which are its results, or else what it says to be equal to something
    ("y = 8"), or else its only number.
    """

    tokens: frozenset[str]
    used: frozenset[str]
    values: frozenset[str]


def read_mentions(text: str) -> Mentions:
    """Take one line apart: plain text, code, or GSM8K's `<<17-1=16>>16`."""
    text = _TIMES.sub(" * ", _ANNOTATION.sub(r" ; \1 ; ", text))
    tokens, used, numbers = set(), set(), set()
    results, stated = set(), set()  # worked out ("9 - 1 = 8") or merely said ("y = 8")
    counting = False  # whether a number stands between the last separator and this token
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token in _SEPARATORS:
            counting = counting and token == "="
            continue
        token = _spelling(token)
        tokens.add(token)
        if not _NUMBER.fullmatch(token):
            used.add(token)
            continue
        numbers.add(token)
        equals = _EQUALS.search(text, max(0, match.start() - 6), match.start())
        last = equals and not _GOES_ON.match(text, match.end())
        if last and counting:
            results.add(token)
        else:
            used.add(token)
            if last:
                stated.add(token)
        counting = True
    values = results or stated or (numbers if len(numbers) == 1 else set())
    return Mentions(frozenset(tokens), frozenset(used), frozenset(values))


@dataclass(frozen=True)
class Evidence:
    """One token that joins two lines: `weight` is what it adds to the edge source -> target."""

    target: int
    source: int
    token: str
    weight: float


def text_evidence(
    texts: Sequence[str], *, fading: float = FADING, handed_over: float = HANDED_OVER
) -> Iterator[Evidence]:
    """Yield, target by target, every token that a line shares with an earlier one, and its weight.

    `fading` 1 counts all mentions alike, 0 the latest alone. Raises `ValueError` for a `fading`
    outside [0, 1] or a negative `handed_over`.
    """
    if not 0 <= fading <= 1:
        raise ValueError(f"fading={fading}: expected a share from 0 (latest mention only) to 1")
    if handed_over < 0:
        raise ValueError(f"handed_over={handed_over}: weights are not negative; 1 is no extra")
    mentioned: dict[str, list[int]] = defaultdict(list)
    given: dict[str, list[int]] = defaultdict(list)
    for target, text in enumerate(texts):
        line = read_mentions(text)
        for token in sorted(line.used & mentioned.keys()):
            weight = log((target + 1) / len(mentioned[token]))
            sources = mentioned[token]
            if token in given:
                weight, sources = weight * handed_over, given[token]
            for rank, source in enumerate(reversed(sources)):
                yield Evidence(target, source, token, weight * fading**rank)
        for token in line.tokens:
            mentioned[token].append(target)
        for token in line.values:
            given[token].append(target)


def text_scores(
    traces: Sequence[Trace],
    *,
    fading: float = FADING,
    handed_over: float = HANDED_OVER,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return each trace's summed evidence: float32 (nodes, nodes), row = target, column = source.

    Entries on and above the diagonal, and between lines that share nothing, are zero.
    """
    scores = []
    for trace in tqdm(traces, desc="text graphs", disable=None if progress else True):
        summed = np.zeros((len(trace.nodes), len(trace.nodes)), dtype=np.float64)
        for found in text_evidence(trace.texts, fading=fading, handed_over=handed_over):
            summed[found.target, found.source] += found.weight
        scores.append(summed.astype(np.float32))
    return scores


def text_graphs(
    traces: Sequence[Trace],
    *,
    fading: float = FADING,
    handed_over: float = HANDED_OVER,
    progress: bool = True,
) -> list[StepGraph]:
    """Draw the text graph of every trace; the arguments are those of `text_scores`."""
    scores = text_scores(traces, fading=fading, handed_over=handed_over, progress=progress)
    choice = f"shared tokens by rarity, fading {fading:g}, values x {handed_over:g}"
    return [
        StepGraph(normalise_rows(score), trace.kinds, trace.texts, "text", choice, trace.trace_id)
        for trace, score in zip(traces, scores, strict=True)
    ]


def _spelling(piece: str) -> str:
    """Return one spelling of a token: numbers without commas and trailing zeros."""
    lowered = piece.lower()
    if lowered in _VALUES:
        return _VALUES[lowered]
    if not _NUMBER.fullmatch(lowered):
        return lowered
    whole, _, fraction = lowered.replace(",", "").partition(".")
    return f"{whole.lstrip('0') or '0'}.{fraction.rstrip('0')}".rstrip(".")
