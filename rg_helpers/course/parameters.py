"""Read and check the parameters of a notebook before anything is started."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rg_helpers.course.notebook_files import read_notebook

PARAMETERS_TAG = "parameters"
RESERVED = "PROFILE"  # set by the runner from --profile


def notebook_parameters(path: str | Path) -> dict[str, Any]:
    """Return the names and default values in a notebook's cell tagged `parameters`.

    There is exactly one such cell and it holds flat assignments of literals, PROFILE among
    them; anything else raises `ValueError`, since papermill would inject into it silently.
    """
    path = Path(path)
    cells = [
        cell
        for cell in read_notebook(path).cells
        if cell.cell_type == "code" and PARAMETERS_TAG in cell.metadata.get("tags", [])
    ]
    if len(cells) != 1:
        raise ValueError(
            f"{path.name} has {len(cells)} cells tagged `{PARAMETERS_TAG}`, expected one with flat "
            'assignments such as `PROFILE = "cpu"`'
        )
    try:
        statements = ast.parse(cells[0].source).body
    except SyntaxError as error:
        raise ValueError(f"{path.name}: the parameters cell is not Python ({error})") from error
    parameters = dict(_assignment(statement, path.name) for statement in statements)
    if RESERVED not in parameters:
        raise ValueError(f'{path.name}: the parameters cell lacks `{RESERVED} = "cpu"`')
    return parameters


def parse_assignments(texts: Iterable[str]) -> dict[str, str]:
    """Split "key=value" texts; raises `ValueError` for a text without "=" or a key twice."""
    given: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"parameter {text!r} cannot be read: write -p name=value")
        if key.strip() in given:
            raise ValueError(f"parameter {key.strip()} is given twice: keep one of the two values")
        given[key.strip()] = value.strip()
    return given


def resolve_parameters(
    defaults: Mapping[str, Any], given: Mapping[str, str], profile: str, notebook: str
) -> dict[str, Any]:
    """Return the notebook's full parameters: its defaults, the profile, and the given values.

    A given value is read as the type of its default. Raises `ValueError` for a name that the
    notebook does not have and for a value of the wrong type.
    """
    resolved = {**defaults, RESERVED: profile}
    for key, text in given.items():
        if key == RESERVED:
            raise ValueError(f"{RESERVED} is set by --profile: use `--profile {text}`")
        if key not in defaults:
            near = difflib.get_close_matches(key, defaults, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            known = ", ".join(sorted(set(defaults) - {RESERVED})) or "none"
            raise ValueError(f"{notebook} has no parameter {key}{hint} (it has: {known})")
        resolved[key] = _read_as(defaults[key], text, f"{notebook}: parameter {key}")
    return resolved


def _read_as(default: Any, text: str, what: str) -> Any:
    """Read `text` as a value of the type of `default`; a default of None takes any literal."""
    if isinstance(default, str):
        return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
    words = {"true": True, "false": False, "none": None}
    try:
        value = words[text.lower()] if text.lower() in words else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        if default is None:
            return text
        raise ValueError(_wrong_type(default, text, what)) from None
    if default is None:
        return value
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise ValueError(_wrong_type(default, text, what))
    return value


def _wrong_type(default: Any, text: str, what: str) -> str:
    kind = type(default).__name__
    return f"{what} is {text!r}, expected {kind} (such as its default {default!r})"


def _assignment(statement: ast.stmt, notebook: str) -> tuple[str, Any]:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target, value = statement.targets[0], statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        target, value = statement.target, statement.value
    else:
        target, value = None, None
    try:
        if isinstance(target, ast.Name):
            return target.id, ast.literal_eval(value)
    except ValueError:
        pass
    raise ValueError(
        f"{notebook}: line {statement.lineno} of the parameters cell is not `name = literal`; "
        "derive values in the next cell"
    )
