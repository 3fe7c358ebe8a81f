"""A notebook refuses an environment that does not fit, and says what to do."""

from __future__ import annotations

import sys
import types
from importlib import metadata

import pytest

from rg_helpers.course import installed
from rg_helpers.course.notebook import start


@pytest.fixture(autouse=True)
def fresh():
    installed.check_installed.cache_clear()
    yield
    installed.check_installed.cache_clear()


def test_this_environment_fits():
    installed.check_installed()


def test_what_is_missing_or_too_old_is_named_with_what_is_needed():
    numpy = metadata.version("numpy")
    faults = installed.unmet(["numpy>=99", "no-such-package>=2", "tqdm>=1"], ">=3.99")
    assert faults[0].endswith("needed is >=3.99")
    assert faults[1:] == [
        f"numpy is {numpy}, needed is >=99",
        "no-such-package is missing, needed is >=2",
    ]
    assert installed.unmet(['no-such-package>=2; python_version < "3"']) == []


def test_start_refuses_and_names_the_cure(tmp_path, monkeypatch):
    monkeypatch.setenv("RGH_REPOSITORY", str(tmp_path))
    text = '[project]\nrequires-python = ">=3.11"\ndependencies = ["no-such-package>=2"]\n'
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(RuntimeError, match=r"no-such-package is missing.*make environment"):
        start("smoke", 0)


def test_a_package_replaced_under_a_running_kernel_asks_for_a_restart(tmp_path, monkeypatch):
    old = types.ModuleType("tqdm")
    old.__version__ = "1.0"
    monkeypatch.setitem(sys.modules, "tqdm", old)
    monkeypatch.setenv("RGH_REPOSITORY", str(tmp_path))
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["tqdm>=4"]\n')
    with pytest.raises(RuntimeError, match=r"restart the kernel.*tqdm 1\.0 is loaded"):
        installed.check_installed()
