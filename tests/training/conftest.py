"""What every test of training needs: a Trainer that is not misled by the names of our folders."""

from __future__ import annotations

import pytest
import transformers.trainer


@pytest.fixture(autouse=True)
def no_folder_taken_for_a_package(monkeypatch):
    """The Trainer looks for a package `datasets`, and would find a folder of tests of that name."""
    found = getattr(transformers.trainer, "datasets", None)
    if found is None or not hasattr(found, "Dataset"):
        monkeypatch.setattr(transformers.trainer, "is_datasets_available", lambda: False)
