"""The course on hosted machines (Colab, Binder): links that open it, and a cell that fetches it.

Everything follows from one setting, `Repository` under [project.urls] in pyproject.toml.
"""

from __future__ import annotations

import copy
import re
import tomllib
from urllib.parse import quote

import nbformat

from rg_helpers.course.folders import repository

TAG = "set-up"
BRANCH = "main"
GITHUB = re.compile(r"https://github\.com/(?P<name>[\w.-]+/[\w.-]+?)(?:\.git)?/?")
CURE = (
    'write the course\'s public address there, such as Repository = "https://github.com/OWNER/NAME"'
)
CELL = """\
# On Colab and other hosted machines this fetches the course; elsewhere it does nothing.
import importlib.util
import subprocess
import sys
from pathlib import Path

if importlib.util.find_spec("rg_helpers") is None:
    course = Path("course").resolve()
    if not course.is_dir():
        clone = ["git", "clone", "--quiet", "--depth", "1", "{url}", str(course)]
        subprocess.run(clone, check=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "-e", f"{{course}}[course]"]
    subprocess.run(install, check=True)
    sys.path.insert(0, str(course))  # pip's own link is read when a kernel starts"""


def repository_url() -> str | None:
    """Return the address of the public repository, None where none is set.

    Raises `ValueError` for an address that no hosted machine could open.
    """
    path = repository() / "pyproject.toml"
    project = tomllib.loads(path.read_text("utf-8")).get("project", {}) if path.is_file() else {}
    url = project.get("urls", {}).get("Repository")
    if url is not None and not GITHUB.fullmatch(url):
        raise ValueError(f"Repository under [project.urls] in pyproject.toml is {url!r}: {CURE}")
    return url


def colab_link(url: str, path: str) -> str:
    """Return the address that opens a notebook, named from the repository's root, on Colab."""
    return f"https://colab.research.google.com/github/{_name(url)}/blob/{BRANCH}/{quote(path)}"


def binder_link(url: str, path: str) -> str:
    """Return the address that opens a notebook in JupyterLab on Binder."""
    return f"https://mybinder.org/v2/gh/{_name(url)}/{BRANCH}?urlpath={quote(f'lab/tree/{path}')}"


def badges(url: str, path: str) -> str:
    """Return both links as the buttons that their hosts offer, in Markdown."""
    colab = "https://colab.research.google.com/assets/colab-badge.svg"
    binder = "https://mybinder.org/badge_logo.svg"
    return (
        f"[![Open in Colab]({colab})]({colab_link(url, path)})\n"
        f"[![Open on Binder]({binder})]({binder_link(url, path)})"
    )


def with_set_up(notebook: nbformat.NotebookNode, url: str) -> nbformat.NotebookNode:
    """Return a copy whose first code cell, tagged `set-up`, fetches the course where it is absent.

    A cell that is there already is brought up to date, and keeps its place and id.
    """
    notebook = copy.deepcopy(notebook)
    source = CELL.format(url=url)
    for cell in notebook.cells:
        if TAG in cell.metadata.get("tags", []):
            cell.source = source
            return notebook
    place = next(
        (i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"),
        len(notebook.cells),
    )
    cell = nbformat.v4.new_code_cell(source, id=TAG, metadata={"tags": [TAG]})
    notebook.cells.insert(place, cell)
    return notebook


def _name(url: str) -> str:
    found = GITHUB.fullmatch(url)
    if not found:
        raise ValueError(f"{url!r} is not the address of a repository on GitHub")
    return found["name"]
