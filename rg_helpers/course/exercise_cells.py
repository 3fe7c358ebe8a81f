"""Find the exercises of a notebook and refuse those that a learner or a test could not use.

An exercise is a heading `### Exercise 2 · Title (●●○, importance ★★☆, 15 minutes)`, then cells
tagged `exercise` (a stub that raises NotImplementedError), `check` (one or more, the last one
calls `attempt(check_x, stub)`), `hint` (folded) and `solution` (calls `check_x(reference)`), in
this order. Cells that the exercise works on may stand between heading and stub.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

HEADING = re.compile(
    r"^### Exercise (?P<number>\d+) · (?P<title>\S.*?) "
    r"\((?P<difficulty>●{1,3}○{0,2}), importance (?P<importance>★{1,3}☆{0,2}), "
    r"(?P<minutes>\d+) minutes\)$",
    re.MULTILINE,
)
HEADING_FORM = "### Exercise 2 · Title (●●○, importance ★★☆, 15 minutes)"
LIKE_A_HEADING = re.compile(r"^#+ *Exercise\b.*$", re.MULTILINE)
TAGS = ("exercise", "check", "hint", "solution")


@dataclass(frozen=True)
class Exercise:
    """One exercise: what its heading says, its functions, and the indices of its cells."""

    notebook: str  # name of the file without .ipynb
    number: int
    title: str
    difficulty: int  # 1: a first look, 2: takes thought, 3: research practice
    importance: int  # 1 to 3
    minutes: int
    functions: tuple[str, ...]  # the stubs' names
    check: str  # the name of the check
    references: tuple[str, ...]  # the functions that the solution hands to the check
    statement: int
    stub: int
    checks: tuple[int, ...]
    hint: int
    solution: int

    @property
    def difficulty_dots(self) -> str:
        """The difficulty as the heading shows it."""
        return "●" * self.difficulty + "○" * (3 - self.difficulty)

    @property
    def importance_stars(self) -> str:
        """The importance as the heading shows it."""
        return "★" * self.importance + "☆" * (3 - self.importance)


def read_exercises(cells: Sequence[Any], notebook: str) -> tuple[Exercise, ...]:
    """Return the exercises of a notebook's `cells`, in order.

    Raises `ValueError` that names notebook, exercise and cure for a heading that cannot be read,
    a missing or misplaced cell, a stub that does not raise NotImplementedError, and a check that
    is not put to the learner's function or to the reference.
    """
    headings = _headings(cells, notebook)
    groups = list(_groups(cells, notebook))
    if len(headings) != len(groups):
        raise ValueError(
            f"{notebook} has {len(headings)} headings of exercises and {len(groups)} cells tagged "
            f"`exercise`: give every stub a heading such as {HEADING_FORM!r}"
        )
    after, exercises = -1, []
    for number, ((place, heading), group) in enumerate(zip(headings, groups, strict=True), 1):
        where = f"{notebook}, exercise {number}"
        if int(heading["number"]) != number:
            raise ValueError(f"{where} is numbered {heading['number']}: number them from 1")
        if not after < place < group["exercise"][0]:
            raise ValueError(f"{where}: its heading must stand before its stub, after the last one")
        after = group["solution"][0]
        exercises.append(_exercise(cells, notebook, where, place, heading, group))
    return tuple(exercises)


def _headings(cells: Sequence[Any], notebook: str) -> list[tuple[int, re.Match]]:
    """Return the cell and the parts of every heading of an exercise."""
    found = []
    for place, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            read = list(HEADING.finditer(cell.source))
            for like in LIKE_A_HEADING.findall(cell.source):
                if not HEADING.fullmatch(like):
                    raise ValueError(f"{notebook}: {like!r} cannot be read; write {HEADING_FORM!r}")
            for match in read:
                marks = match["difficulty"], match["importance"]
                if any(len(mark) != 3 for mark in marks):
                    raise ValueError(f"{notebook}: {match[0]!r} needs three dots and three stars")
            found += [(place, match) for match in read]
    return found


def _groups(cells: Sequence[Any], notebook: str) -> Iterator[dict[str, list[int]]]:
    """Yield the indices of each exercise's cells by tag; raises for a cell too few or too many."""
    groups: list[dict[str, list[int]]] = []
    for place, cell in enumerate(cells):
        for tag in set(TAGS) & set(cell.metadata.get("tags", [])):
            if tag == "exercise":
                groups.append({name: [] for name in TAGS})
            if not groups:
                raise ValueError(f"{notebook}, cell {place}: `{tag}` stands before any exercise")
            groups[-1][tag].append(place)
    for number, group in enumerate(groups, 1):
        counts = ", ".join(f"{len(group[tag])} {tag}" for tag in TAGS)
        single = all(len(group[tag]) == 1 for tag in TAGS if tag != "check")
        order = [place for tag in TAGS for place in group[tag]]
        if not single or not group["check"] or order != sorted(order):
            raise ValueError(
                f"{notebook}, exercise {number} has cells {counts}: tag one cell `exercise`, then "
                "one or more `check`, one `hint` and one `solution`, in this order"
            )
        yield group


def _exercise(
    cells: Sequence[Any],
    notebook: str,
    where: str,
    place: int,
    heading: re.Match,
    group: dict[str, list[int]],
) -> Exercise:
    (stub,), (hint,), (solution,) = group["exercise"], group["hint"], group["solution"]
    functions = _stubs(cells[stub].source, where)
    check, tried = _attempt(cells[group["check"][-1]].source, where)
    if not set(tried) <= set(functions):
        raise ValueError(f"{where}: `attempt` is given {', '.join(tried)}, not the stubs")
    defined = [name for place in group["check"] for name in _functions(cells[place].source)]
    if check not in defined:
        raise ValueError(f"{where}: {check} is not defined in a cell tagged `check`")
    folded = cells[hint].source
    if cells[hint].cell_type != "markdown" or not ("<details>" in folded and "</det" in folded):
        raise ValueError(f"{where}: fold the hint into <details><summary>Hint</summary>")
    references = _called_with(cells[solution].source, check)
    if not references or set(references) & set(functions):
        raise ValueError(f"{where}: the solution must call {check} with a reference of its own")
    return Exercise(
        notebook=notebook,
        number=int(heading["number"]),
        title=heading["title"],
        difficulty=heading["difficulty"].count("●"),
        importance=heading["importance"].count("★"),
        minutes=int(heading["minutes"]),
        functions=functions,
        check=check,
        references=references,
        statement=place,
        stub=stub,
        checks=tuple(group["check"]),
        hint=hint,
        solution=solution,
    )


def _functions(source: str) -> list[str]:
    return [node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]


def _stubs(source: str, where: str) -> tuple[str, ...]:
    """Return the functions of a stub cell, each of which ends by raising NotImplementedError."""
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    for node in nodes:
        last = node.body[-1]
        raised = last.exc if isinstance(last, ast.Raise) else None
        raised = raised.func if isinstance(raised, ast.Call) else raised
        if not isinstance(raised, ast.Name) or raised.id != "NotImplementedError":
            raise ValueError(f"{where}: {node.name} must end with `raise NotImplementedError`")
    if not nodes:
        raise ValueError(f"{where}: the cell tagged `exercise` defines no function")
    return tuple(node.name for node in nodes)


def _attempt(source: str, where: str) -> tuple[str, tuple[str, ...]]:
    """Return the names in `attempt(check_x, function, ...)`."""
    arguments = _called_with(source, "attempt")
    if len(arguments) < 2:
        raise ValueError(f"{where}: end the last check cell with `attempt(check_x, the_stub);`")
    return arguments[0], arguments[1:]


def _called_with(source: str, function: str) -> tuple[str, ...]:
    """Return the names that the last call of `function` outside any function is given."""
    found: tuple[str, ...] = ()
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.FunctionDef):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == function:
                found = tuple(a.id for a in node.args if isinstance(a, ast.Name))
    return found
