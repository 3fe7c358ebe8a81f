"""Wrong answers to the exercises of notebook 08."""

from __future__ import annotations

import numpy as np
from planted import rejected
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rg_helpers.edge_recovery import auroc
from rg_helpers.error_prediction import protocol


def _share_of_wins(scores, pairs, ties=0.5):
    gap = (scores[:, None] - scores)[pairs]
    return float(((gap > 0) + (gap == 0) * ties).mean())


@rejected(1, "pairs of two problems were compared")
def plain_auroc(scores, wrong, problems):
    """Compares errors with right solutions of other problems too."""
    return _share_of_wins(scores, wrong[:, None] & ~wrong)


@rejected(1, "they count one half")
def ties_lose(scores, wrong, problems):
    """Counts a tie as a loss."""
    same = problems[:, None] == problems
    return _share_of_wins(scores, same & wrong[:, None] & ~wrong, ties=0.0)


@rejected(1, "a mean of problems")
def mean_over_problems(scores, wrong, problems):
    """Gives every problem the same weight, however many pairs it has."""
    values = []
    for name in np.unique(problems):
        mine = problems == name
        if 0 < wrong[mine].sum() < mine.sum():
            pairs = wrong[mine][:, None] & ~wrong[mine]
            values.append(_share_of_wins(scores[mine], pairs))
    return float(np.mean(values))


@rejected(2, "no longer share their fate")
def all_labels_shuffled(wrong, problems, generator):
    """Shuffles solutions, so that what the leak lives on is gone."""
    return generator.permutation(wrong)


def _dealt(wrong, problems, generator, source):
    dealt = wrong.copy()
    places = [np.flatnonzero(problems == p) for p in np.unique(problems)]
    for count in {len(place) for place in places}:
        equal = [place for place in places if len(place) == count]
        for mine, other in zip(equal, generator.permutation(len(equal)), strict=True):
            dealt[mine] = source[equal[other]]
    return dealt


@rejected(2, "changed in place")
def dealt_in_place(wrong, problems, generator):
    """Overwrites the labels that others still use."""
    wrong[:] = _dealt(wrong, problems, generator, wrong.copy())
    return wrong


@rejected(2, "use the generator")
def always_the_same_deal(wrong, problems, generator):
    """Makes a generator of its own, so that every deal is the same."""
    return _dealt(wrong, problems, np.random.default_rng(0), wrong)


@rejected(2, "deal among problems of equal size")
def one_label_from_any_problem(wrong, problems, generator):
    """Takes the first label of a problem of any size."""
    names, first, place = np.unique(problems, return_index=True, return_inverse=True)
    return wrong[first][generator.permutation(len(names))][place]


def _strongest(columns, wrong):
    varying = np.flatnonzero(np.ptp(columns, axis=0) > 0)
    strength = np.abs(np.corrcoef(columns[:, varying].T, wrong)[-1, :-1])
    return varying[strength.argsort()[-10:]]


def _out_of_fold(columns, wrong, folds, best=None):
    risks = np.empty(len(wrong))
    for number in np.unique(folds):
        fit, test = folds != number, folds == number
        chosen = _strongest(columns[fit], wrong[fit]) if best is None else best
        classifier = make_pipeline(StandardScaler(), LogisticRegression())
        classifier.fit(columns[fit][:, chosen], wrong[fit])
        risks[test] = classifier.predict_proba(columns[test][:, chosen])[:, 1]
    return auroc(risks, wrong)


@rejected(3, "are columns chosen on the test problems")
def columns_chosen_on_all(columns, wrong, problems):
    """Splits by problem, but chooses the columns before the split."""
    folds = protocol.grouped_folds(wrong, problems, 5, 0)
    return _out_of_fold(columns, wrong, folds, best=_strongest(columns, wrong))


@rejected(3, "is a problem on both sides")
def solutions_split(columns, wrong, problems):
    """Chooses and fits inside the folds, but splits solutions of one problem."""
    folds = np.empty(len(wrong), dtype=int)
    for number, (_, test) in enumerate(KFold(5, shuffle=True, random_state=0).split(columns)):
        folds[test] = number
    return _out_of_fold(columns, wrong, folds)


@rejected(3, "the sign is turned on the test set")
def turned_to_please(columns, wrong, problems):
    """Repairs all but the last line."""
    value = _out_of_fold(columns, wrong, protocol.grouped_folds(wrong, problems, 5, 0))
    return max(value, 1 - value)


@rejected(4, "not significant is not equivalent")
def not_significant_is_nothing(draws, margin):
    """Takes a missing proof of a difference for a proof of no difference."""
    low, high = np.nanquantile(draws, [0.025, 0.975])
    if low > 0 or high < 0:
        return "adds" if low > 0 else "costs"
    return "adds nothing that matters"


def _verdict(draws, margin, outer, quantile=np.nanquantile):
    low, high = quantile(draws, [0.025, 0.975])
    if low > 0 or high < 0:
        return "adds" if low > 0 else "costs"
    low, high = quantile(draws, outer)
    return "adds nothing that matters" if -margin < low and high < margin else "cannot tell"


@rejected(4, "two one-sided tests at 5 %: 90 %")
def equivalence_at_95_percent(draws, margin):
    """Uses the 95 % interval for equivalence too."""
    return _verdict(draws, margin, [0.025, 0.975])


@rejected(4, "leave them out")
def nan_draws_count(draws, margin):
    """Lets one draw without a value undo all others."""
    return _verdict(draws, margin, [0.05, 0.95], np.quantile)


@rejected(4, "a loss is a result too")
def only_gains(draws, margin):
    """Looks for gains only."""
    low, _ = np.nanquantile(draws, [0.025, 0.975])
    if low > 0:
        return "adds"
    low, high = np.nanquantile(draws, [0.05, 0.95])
    return "adds nothing that matters" if -margin < low and high < margin else "cannot tell"
