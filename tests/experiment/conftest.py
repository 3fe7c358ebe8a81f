"""The toy model of the experiment's tests; what is heavy is imported only where it is used."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    from experiment_toys import toy_model

    return toy_model(tmp_path_factory.mktemp("toy") / "model")
