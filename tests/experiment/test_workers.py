"""Processes of a sweep: order, a failure's own words, a killed process."""

from __future__ import annotations

import pytest
from worker_toys import dies_at_two, fails, tens

from rg_helpers.experiment.workers import in_processes


def test_processes_keep_the_order_and_tell_what_happened():
    found = in_processes(tens, 3, list(range(4)), 2, "", progress=False)
    assert [value for value, _ in found] == [3, 13, 23, 33]
    assert in_processes(tens, 3, [1], 2, "", progress=False)[0][0] == 13
    with pytest.raises(RuntimeError, match="fewer --jobs"):
        in_processes(dies_at_two, 0, list(range(4)), 2, "", progress=False)
    with pytest.raises(ValueError, match="do another"):
        in_processes(fails, 0, [1, 2], 2, "", progress=False)
