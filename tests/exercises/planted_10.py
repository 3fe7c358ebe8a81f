"""Wrong answers to the exercises of notebook 10."""

from __future__ import annotations

import numpy as np
from planted import rejected

from rg_helpers.experiment.crossed import crossed_mean


def _mean_squares(differences):
    seeds, problems = differences.shape
    by_seed, by_problem = differences.mean(1), differences.mean(0)
    rest = differences - by_seed[:, None] - by_problem + differences.mean()
    ms_rest = (rest**2).sum() / ((seeds - 1) * (problems - 1))
    return problems * by_seed.var(ddof=1), seeds * by_problem.var(ddof=1), ms_rest


@rejected(1, "MS of the rest is counted twice")
def nothing_subtracted(differences):
    """Adds what seeds and problems bring, the rest in both."""
    ms_seed, ms_problem, _ = _mean_squares(differences)
    return (ms_seed + ms_problem) / differences.size


@rejected(1, "no less than either part alone")
def below_zero(differences):
    """Lets the subtraction go below zero."""
    ms_seed, ms_problem, ms_rest = _mean_squares(differences)
    return (ms_seed + ms_problem - ms_rest) / differences.size


@rejected(1, "not its root")
def standard_error(differences):
    """Returns the standard error."""
    ms_seed, ms_problem, ms_rest = _mean_squares(differences)
    return np.sqrt(max(ms_seed + ms_problem - ms_rest, ms_seed, ms_problem) / differences.size)


@rejected(1, "by hand 1/2, 5/6, 1/6")
def divided_by_the_number(differences):
    """Divides sums of squares by S and P, not by one less."""
    seeds, problems = differences.shape
    by_seed, by_problem = differences.mean(1), differences.mean(0)
    rest = differences - by_seed[:, None] - by_problem + differences.mean()
    parts = problems * by_seed.var(), seeds * by_problem.var()
    return max(sum(parts) - (rest**2).mean(), *parts) / differences.size


def _cheats(arm, reference, **changed):
    def seconds(record):
        return record["steps"] * record["seconds_a_step"]

    found = {
        "saw the test": arm["trained_on"] & arm["tested_on"],
        "other test": arm["tested_on"] != reference["tested_on"],
        "more data": arm["trained_on"] - reference["trained_on"],
        "more tries": arm["tries"] > reference["tries"],
        "chosen on the test": arm["chosen_on"] == "test",
        "other seeds": arm["seeds"] != reference["seeds"],
        "more time": seconds(arm) > seconds(reference) * (1 + 1e-9),
    }
    return {name for name, holds in (found | changed).items() if holds}


@rejected(2, "equal steps are not equal time")
def steps_for_time(arm, reference):
    """Compares steps."""
    return _cheats(arm, reference, **{"more time": arm["steps"] > reference["steps"]})


@rejected(2, "the reference had more time")
def seconds_a_step_for_time(arm, reference):
    """Compares what a step costs and forgets their number."""
    slower = arm["seconds_a_step"] > reference["seconds_a_step"]
    return _cheats(arm, reference, **{"more time": slower})


@rejected(2, "compare the sets")
def number_of_problems(arm, reference):
    """Counts the training problems."""
    more = len(arm["trained_on"]) > len(reference["trained_on"])
    return _cheats(arm, reference, **{"more data": more})


@rejected(2, "more tries for the reference are caution")
def any_difference_in_tries(arm, reference):
    """Takes the reference's advantage for a cheat."""
    return _cheats(arm, reference, **{"more tries": arm["tries"] != reference["tries"]})


@rejected(2, "a seed was exchanged")
def number_of_seeds(arm, reference):
    """Counts the seeds."""
    other = len(arm["seeds"]) != len(reference["seeds"])
    return _cheats(arm, reference, **{"other seeds": other})


def _gains(solved, references):
    treated = solved["alignment"].astype(float)
    return [crossed_mean(treated - solved[reference]) for reference in references]


@rejected(3, "better than no training is not enough")
def better_than_the_base(solved):
    """Compares with the model before training."""
    return all(gain.value > 0 and gain.p < 0.05 for gain in _gains(solved, ["base"]))


@rejected(3, "ce is too easy a reference")
def better_at_equal_steps(solved):
    """Gives cross-entropy as many steps, not as much time."""
    references = ("ce", "alignment_shuffled", "entropy_only")
    return all(gain.value > 0 and gain.p < 0.05 for gain in _gains(solved, references))


@rejected(3, "shuffled graphs do as well")
def without_the_shuffled_control(solved):
    """Forgets the control that trains on other graphs."""
    references = ("ce_equal_time", "entropy_only")
    return all(gain.value > 0 and gain.p < 0.05 for gain in _gains(solved, references))


@rejected(3, "in the wrong direction")
def significant_either_way(solved):
    """Reads p and forgets the sign."""
    references = ("ce_equal_time", "alignment_shuffled", "entropy_only")
    return all(gain.p < 0.05 for gain in _gains(solved, references))
