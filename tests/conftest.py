"""Fixtures that tests of several folders use."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def one_thread():
    """Sums in one order, so that runs can be compared bit by bit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
