"""Wrong answers to the exercises of notebook 11."""

from __future__ import annotations

import numpy as np
from planted import rejected
from scipy import stats


def _lines(solutions, cut=True):
    for lines in solutions:
        for names, wrong in lines:
            yield names, wrong
            if wrong and cut:
                break


def _rate(wrong):
    return float(np.mean(wrong)) if len(wrong) else 0.0


@rejected(1, "after the first wrong one was counted")
def with_what_follows_an_error(solutions, skill):
    """Counts lines that may be wrong because of an earlier one."""
    counted = [(skill in names, wrong) for names, wrong in _lines(solutions, cut=False)]
    return _rate([w for asks, w in counted if asks]) - _rate([w for asks, w in counted if not asks])


@rejected(1, "held against all lines")
def over_the_base_rate(solutions, skill):
    """Compares with all lines, those with the skill among them."""
    counted = [(skill in names, wrong) for names, wrong in _lines(solutions)]
    return _rate([w for asks, w in counted if asks]) - _rate([w for _, w in counted])


@rejected(1, "a mean of solutions")
def mean_of_solutions(solutions, skill):
    """Gives a solution of two lines as much say as one of ten."""
    gaps = [[], []]
    for lines in solutions:
        counted = list(_lines([lines]))
        for side in (0, 1):
            mine = [wrong for names, wrong in counted if (skill in names) == bool(side)]
            if mine:
                gaps[side].append(np.mean(mine))
    return float(np.mean(gaps[1]) - np.mean(gaps[0]))


@rejected(1, "the gap is negative")
def never_below_zero(solutions, skill):
    """Takes a skill that goes better than the others for no gap."""
    counted = [(skill in names, wrong) for names, wrong in _lines(solutions)]
    found = [_rate([wrong for asks, wrong in counted if asks == side]) for side in (True, False)]
    return max(0.0, found[0] - found[1])


@rejected(2, "the wrong line itself is read, too")
def lines_before(risks, wrong):
    """Counts the lines before the wrong one."""
    return float((risks > risks[wrong]).sum() + ((risks == risks[wrong]).sum() - 1) / 2)


@rejected(2, "higher is riskier")
def safest_first(risks, wrong):
    """Reads from the lowest risk up."""
    return float(1 + (risks < risks[wrong]).sum() + ((risks == risks[wrong]).sum() - 1) / 2)


@rejected(2, "either may come first")
def place_in_a_sorted_list(risks, wrong):
    """Lets the sort decide among equals."""
    return float(np.argsort(-risks, kind="stable").tolist().index(wrong) + 1)


@rejected(2, "by all orders")
def half_of_all_equals(risks, wrong):
    """Counts the wrong line among the equals of which half come first, and rounds it off."""
    return float(1 + (risks > risks[wrong]).sum() + (risks == risks[wrong]).sum() // 2 / 2)


def _behind(parents):
    found = {len(parents) - 1}
    for node in reversed(range(len(parents))):
        if node in found:
            found.update(int(parent) for parent in parents[node])
    return found


def _touched(parents):
    return {int(parent) for row in parents for parent in row}


@rejected(3, "the answer no longer does")
def whatever_a_step_mentions(gold, written, premises):
    """Takes a premise that any step rests on for one that the answer rests on."""
    given = set(range(premises))
    needed = _behind(gold) & given
    return needed - _touched(written), (_touched(written) & given) - needed


@rejected(3, "even if the answer does not need it")
def only_behind_the_answer(gold, written, premises):
    """Overlooks irrelevant premises in lines that the answer does not use."""
    given = set(range(premises))
    needed, reached = _behind(gold) & given, _behind(written) & given
    return needed - reached, reached - needed


@rejected(3, "3 is no premise")
def question_and_all(gold, written, premises):
    """Forgets that only premises are asked for."""
    needed = _behind(gold)
    ignored = needed - _behind(written)
    return ignored & _touched(gold), _touched(written) - needed


@rejected(3, "the right solution, as it should be")
def parents_of_the_answer(gold, written, premises):
    """Looks at the answer's own parents, one step back."""
    given = set(range(premises))
    needed = {int(p) for p in gold[-1]} & given
    return needed - _behind(written), (_touched(written) & given) - needed


def _bound(wrong, answered, alpha):
    k, n = wrong[answered].sum(), answered.sum()
    return 1.0 if n == k else float(stats.beta.ppf(1 - alpha, k + 1, n - k))


@rejected(4, "a bound is needed, not the rate")
def observed_rate(risks, wrong, grid, most, miss):
    """Reads the threshold off the curve."""
    fine = [one for one in grid if (risks <= one).any() and wrong[risks <= one].mean() <= most]
    return max(fine, default=-np.inf)


@rejected(4, "every threshold tried spends some")
def one_bound_for_all(risks, wrong, grid, most, miss):
    """Lets every threshold spend the whole chance of a miss."""
    for one in sorted(grid, reverse=True):
        if _bound(wrong, risks <= one, miss) <= most:
            return one
    return -np.inf


@rejected(4, "it should be 0.7")
def first_that_passes(risks, wrong, grid, most, miss):
    """Stops at the smallest threshold that keeps the promise."""
    for one in sorted(grid):
        if _bound(wrong, risks <= one, miss / len(grid)) <= most:
            return one
    return -np.inf


@rejected(4, "nothing may go out")
def something_always_goes_out(risks, wrong, grid, most, miss):
    """Falls back on the smallest threshold when none keeps the promise."""
    for one in sorted(grid, reverse=True):
        if _bound(wrong, risks <= one, miss / len(grid)) <= most:
            return one
    return min(grid)
