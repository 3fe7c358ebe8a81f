"""Fixtures that tests of several folders use."""

from __future__ import annotations

import os
import shutil

import pytest

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def one_thread():
    """Sums in one order, so that runs can be compared bit by bit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def chromium():
    """The path of a Chromium: RGH_CHROMIUM, else one of the usual names.

    Without one the tests are skipped; with RGH_REQUIRE_BROWSER=1 they fail.
    """
    named = os.environ.get("RGH_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if not found or not shutil.which(found):
        told = "no Chromium found: install one, or name it in RGH_CHROMIUM"
        if os.environ.get("RGH_REQUIRE_BROWSER") == "1":
            pytest.fail(told)
        pytest.skip(told)
    return found


@pytest.fixture(scope="session")
def browser(chromium):
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()
