"""Which step is the first wrong one, if any: every step gets a risk, a rule turns risks to a step.

A classifier learns, on steps up to and including the first wrong one, whether a step is that one;
what follows an error is left out of training, since it is written in its wake. The rule and its
threshold are chosen on inner folds of the training problems. At test time nothing of the checker is
read. The score is ProcessBench's (Zheng et al. 2024, arXiv 2412.06559): the harmonic mean of the
share of wrong traces whose first wrong step is named exactly and of the share of right traces in
which none is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone

from rg_helpers.error_prediction.protocol import FOLDS, check_no_leak, grouped_folds
from rg_helpers.statistics import Bootstrap, bootstrap_ratio, cluster_numbers, cluster_weights

NONE = -1
INNER = 2
THRESHOLDS = 40
RULES = ("first above", "highest above")


@dataclass(frozen=True)
class Rule:
    """How risks become a step: the first, or the highest, that reaches `threshold`; else none."""

    kind: str
    threshold: float

    def __call__(self, risks: np.ndarray) -> int:
        above = np.flatnonzero(risks >= self.threshold)
        if not len(above):
            return NONE
        return int(above[0] if self.kind == RULES[0] else risks.argmax())


@dataclass(frozen=True, eq=False)
class Located:
    """The step named in every trace (`NONE`: no error), from fits that never saw its problem.

    `risks` holds each trace's risks (steps,), `rules` the rule chosen in every fold.
    """

    steps: np.ndarray
    risks: tuple[np.ndarray, ...]
    rules: tuple[Rule, ...]


@dataclass(frozen=True, eq=False)
class LocationQuality:
    """ProcessBench's F1 and the two shares that it is made of."""

    f1: Bootstrap
    wrong_located: Bootstrap
    right_passed: Bootstrap

    def as_dict(self) -> dict[str, Any]:
        """Return intervals as plain values for JSON."""
        return {name: value.interval().as_dict() for name, value in vars(self).items()}


def locate(
    tables: Sequence[np.ndarray],
    first: np.ndarray,
    problem_ids: Sequence[str],
    predictor: BaseEstimator,
    folds: int = FOLDS,
    seed: int = 0,
) -> Located:
    """Name the first wrong step of every trace by grouped cross-validation.

    `tables` holds one array (steps, columns) a trace, `first` int (traces,) the true first wrong
    step or `NONE`; it is read for training problems alone. Raises `ValueError` for tables and
    labels that do not fit.
    """
    first = np.asarray(first)
    check_steps(tables, first)
    problems = cluster_numbers(problem_ids)
    fold = grouped_folds(first != NONE, problems, folds, seed)
    check_no_leak(problems, fold)
    steps, rules = np.full(len(first), NONE), []
    risks: list[np.ndarray] = [np.empty(0)] * len(first)
    for number in range(folds):
        inside, outside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        inner = grouped_folds(first[inside] != NONE, problems[inside], INNER, seed)
        held: list[np.ndarray] = [np.empty(0)] * len(inside)
        for part in range(INNER):
            test = np.flatnonzero(inner == part)
            found = step_risks(predictor, tables, first, inside[inner != part], inside[test])
            for place, risk in zip(test, found, strict=True):
                held[place] = risk
        rule = best_rule(held, first[inside])
        rules.append(rule)
        for index, risk in zip(
            outside, step_risks(predictor, tables, first, inside, outside), strict=True
        ):
            risks[index], steps[index] = risk, rule(risk)
    return Located(steps, tuple(risks), tuple(rules))


def step_risks(
    predictor: BaseEstimator,
    tables: Sequence[np.ndarray],
    first: np.ndarray,
    fit: Sequence[int],
    test: Sequence[int],
) -> list[np.ndarray]:
    """Fit on traces `fit` and return the risk of every step of traces `test`: (steps,) each.

    Of a wrong trace the steps behind its first wrong one are not fitted on.
    """
    rows, labels = [], []
    for index in fit:
        end = len(tables[index]) if first[index] == NONE else first[index] + 1
        rows.append(tables[index][:end])
        labels.append(np.arange(end) == first[index])
    model = clone(predictor).fit(np.concatenate(rows), np.concatenate(labels))
    sizes = [len(tables[index]) for index in test]
    risk = model.predict_proba(np.concatenate([tables[index] for index in test]))
    return np.split(risk[:, list(model.classes_).index(True)], np.cumsum(sizes)[:-1])


def best_rule(risks: Sequence[np.ndarray], first: np.ndarray) -> Rule:
    """Return the rule and threshold with the highest F1 on traces that were not fitted on."""
    highest = np.array([risk.max() for risk in risks])
    thresholds = np.unique(np.quantile(highest, np.linspace(0, 1, THRESHOLDS)))
    best, reached = Rule(RULES[0], float(thresholds[-1])), -1.0
    for kind in RULES:
        for threshold in thresholds:
            rule = Rule(kind, float(threshold))
            named = np.array([rule(risk) for risk in risks])
            score = plain_f1(named, first)
            if score > reached:
                best, reached = rule, score
    return best


def plain_f1(named: np.ndarray, first: np.ndarray) -> float:
    """Return ProcessBench's F1 of named steps against true ones; 0 where a class is empty."""
    wrong, hit = first != NONE, named == first
    if wrong.all() or not wrong.any():
        return 0.0
    a, b = hit[wrong].mean(), hit[~wrong].mean()
    return float(2 * a * b / (a + b)) if a + b else 0.0


def location_quality(
    named: np.ndarray, first: np.ndarray, problem_ids: Sequence[str], draws: int, seed: int = 0
) -> LocationQuality:
    """Bootstrap F1 and its parts over problems; raises `ValueError` if a class is empty."""
    named, first = np.asarray(named), np.asarray(first)
    problems = cluster_numbers(problem_ids)
    weights = cluster_weights(int(problems.max()) + 1, draws, seed)
    hit, wrong = named == first, first != NONE
    if wrong.all() or not wrong.any():
        raise ValueError(f"{wrong.sum()} of {len(wrong)} traces are wrong: both classes are needed")
    located = bootstrap_ratio(hit & wrong, wrong, problems, weights)
    passed = bootstrap_ratio(hit & ~wrong, ~wrong, problems, weights)

    def harmonic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = np.asarray(a, float), np.asarray(b, float)
        return 2 * a * b / np.where(a + b > 0, a + b, 1)

    value = float(harmonic(located.value, passed.value))
    f1 = Bootstrap(value, harmonic(located.draws, passed.draws), located.n)
    return LocationQuality(f1, located, passed)


def describe_rules(rules: Sequence[Rule]) -> dict[str, int]:
    """Count how often each kind of rule was chosen."""
    return dict(Counter(rule.kind for rule in rules))


def check_steps(tables: Sequence[np.ndarray], first: np.ndarray) -> None:
    """Raise `ValueError` unless every first wrong step is a step of its trace, or `NONE`."""
    if len(tables) != len(first):
        raise ValueError(f"{len(tables)} step tables and {len(first)} labels: expected one each")
    for index, (table, step) in enumerate(zip(tables, first, strict=True)):
        if not NONE <= step < len(table) or not len(table):
            raise ValueError(
                f"trace {index} has {len(table)} steps and first wrong step {step}: expected 0 to "
                f"{len(table) - 1}, or {NONE} for none"
            )
