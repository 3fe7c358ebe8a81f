"""Is what the course needs installed, and is it what this process has loaded?"""

from __future__ import annotations

import functools
import re
import sys
import tomllib
from importlib import metadata
from types import ModuleType

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from rg_helpers.course.folders import repository

IMPORT_NAMES = {"scikit-learn": "sklearn", "pillow": "PIL", "rouge-score": "rouge_score"}


@functools.cache
def check_installed() -> None:
    """Raise `RuntimeError` with the cure if Python or a package does not meet pyproject.toml.

    A package that was replaced after this process had loaded it is named too: what is in use is
    then the old one until the kernel is started again.
    """
    project = tomllib.loads((repository() / "pyproject.toml").read_text("utf-8"))["project"]
    faults = unmet(project["dependencies"], project.get("requires-python", ""))
    if faults:
        raise RuntimeError(
            f"this environment does not fit the course: {'; '.join(faults)}. Build it with `make "
            "environment` and choose the kernel of .venv, or run `pip install -e .` in the clone; "
            "then restart the kernel"
        )
    stale = replaced(project["dependencies"])
    if stale:
        raise RuntimeError(
            f"restart the kernel (Runtime > Restart on Colab): {'; '.join(stale)} since this "
            "notebook was opened"
        )


def unmet(requirements: list[str], python: str = "") -> list[str]:
    """Return what is missing or too old, each in a few words; an empty list if nothing is."""
    faults = []
    running = ".".join(map(str, sys.version_info[:3]))
    if not SpecifierSet(python).contains(running):
        faults.append(f"Python is {running}, needed is {python}")
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        installed = _installed(requirement.name)
        if installed is None:
            faults.append(f"{requirement.name} is missing, needed is {requirement.specifier}")
        elif not requirement.specifier.contains(installed, prereleases=True):
            faults.append(f"{requirement.name} is {installed}, needed is {requirement.specifier}")
    return faults


def replaced(requirements: list[str]) -> list[str]:
    """Return the packages whose loaded version is not the installed one, each in a few words."""
    stale = []
    for text in requirements:
        name = Requirement(text).name
        loaded = _loaded(sys.modules.get(IMPORT_NAMES.get(name, name.replace("-", "_"))))
        installed = _installed(name)
        if loaded and installed and Version(loaded).base_version != Version(installed).base_version:
            stale.append(f"{name} {loaded} is loaded and {installed} was installed")
    return stale


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _loaded(module: ModuleType | None) -> str | None:
    version = getattr(module, "__version__", None)
    is_version = isinstance(version, str) and re.match(r"\d+(\.\d+)*", version)
    return version if is_version else None
