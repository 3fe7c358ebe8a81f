"""Wrong answers to the exercises of notebook 06."""

from __future__ import annotations

import numpy as np
from planted import rejected
from scipy.optimize import linear_sum_assignment

from rg_helpers.graphs import text


def _lines_with(token, lines):
    return sum(token in text.read_mentions(line).tokens for line in lines)


@rejected(1, "line 4 itself must not count")
def rarity_among_all_lines(token, texts, i):
    """Counts all lines, the line itself and later ones among them."""
    lines = _lines_with(token, texts)
    return np.log((i + 1) / lines) if lines else 0.0


@rejected(1, "i + 1, not i, on top")
def nothing_for_common_tokens(token, texts, i):
    """Gives a token of all earlier lines no weight at all."""
    lines = _lines_with(token, texts[:i])
    return np.log(i / lines) if lines else 0.0


@rejected(1, "count lines, not occurrences")
def occurrences(token, texts, i):
    """Counts how often the token occurs."""
    count = sum(line.split().count(token) for line in texts[:i])
    return np.log((i + 1) / count) if count else 0.0


def _shares(fit_steps, fit_wrong, k, unseen):
    labels = np.concatenate(fit_steps)
    wrong = np.repeat(np.asarray(fit_wrong, float), [len(path) for path in fit_steps])
    seen = np.bincount(labels, minlength=k)
    bad = np.bincount(labels, weights=wrong, minlength=k)
    return np.divide(bad, seen, out=np.full(k, unseen), where=seen > 0)


@rejected(2, "count steps, not traces")
def share_of_wrong_traces(fit_steps, fit_wrong, steps, k):
    """Counts a trace once in each cluster that it visits."""
    visits = [np.unique(path) for path in fit_steps]
    share = _shares(visits, fit_wrong, k, np.mean(fit_wrong))
    return np.array([share[path].mean() for path in steps])


@rejected(2, "mean of the overall share")
def unseen_is_safe(fit_steps, fit_wrong, steps, k):
    """Gives a cluster that training never saw no risk."""
    share = _shares(fit_steps, fit_wrong, k, 0.0)
    return np.array([share[path].mean() for path in steps])


@rejected(2, "use the overall share")
def unseen_is_nan(fit_steps, fit_wrong, steps, k):
    """Divides by a count of zero."""
    share = _shares(fit_steps, fit_wrong, k, np.nan)
    return np.array([share[path].mean() for path in steps])


def _filled(similar, gap, best, border=True):
    n, m = similar.shape
    table = np.zeros((n + 1, m + 1))
    if border:
        table[:, 0], table[0] = -gap * np.arange(n + 1), -gap * np.arange(m + 1)
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            pair = table[i - 1, j - 1] + similar[i - 1, j - 1]
            table[i, j] = best(pair, table[i - 1, j] - gap, table[i, j - 1] - gap)
    return table


@rejected(3, "the border is not free")
def free_border(similar, gap):
    """Leaves the first row and column at zero: steps left out at the ends cost nothing."""
    return _filled(similar, gap, max, border=False)


@rejected(3, "two gaps (-0.8) beat a pair")
def always_a_pair(similar, gap):
    """Pairs wherever it can and forgets the gaps."""
    return _filled(similar, gap, lambda pair, above, left: pair)


@rejected(3, "not the best alignment")
def gaps_on_one_side(similar, gap):
    """Knows only one of the two kinds of gap inside the table."""
    return _filled(similar, gap, lambda pair, above, left: max(pair, above))


@rejected(3, "is the order of steps ignored")
def pairs_in_any_order(similar, gap):
    """Finds the best pairing of all, in which lines may cross."""
    n, m = similar.shape
    table = -gap * np.add.outer(np.arange(n + 1.0), np.arange(m + 1))
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            gains = np.maximum(similar[:i, :j] + 2 * gap, 0)
            table[i, j] += gains[linear_sum_assignment(gains, maximize=True)].sum()
    return table
