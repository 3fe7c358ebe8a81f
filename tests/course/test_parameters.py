"""Parameters are checked against the notebook's own cell before anything starts."""

from __future__ import annotations

import nbformat
import pytest

from rg_helpers.course.parameters import (
    notebook_parameters,
    parse_assignments,
    resolve_parameters,
)

DEFAULTS = {
    "PROFILE": "cpu", "SEED": 0, "rate": 0.5, "verbose": False, "name": "a", "layers": [0, 1],
    "limit": None,
}  # fmt: skip


def _resolve(**given):
    return resolve_parameters(DEFAULTS, given, "smoke", "03_graphs")


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("SEED", "7", 7),
        ("SEED", "-7", -7),
        ("rate", "1e-3", 0.001),
        ("rate", "2", 2.0),
        ("verbose", "true", True),
        ("verbose", "False", False),
        ("name", "12", "12"),
        ("name", "'quoted'", "quoted"),
        ("layers", "[2]", [2]),
        ("limit", "none", None),
        ("limit", "5", 5),
        ("limit", "free text", "free text"),
    ],
)
def test_values_are_read_as_the_type_of_their_default(key, text, value):
    resolved = _resolve(**{key: text})
    assert resolved[key] == value
    assert type(resolved[key]) is type(value)
    assert resolved["PROFILE"] == "smoke"


@pytest.mark.parametrize(
    ("key", "text"),
    [("SEED", "1.5"), ("SEED", "true"), ("SEED", "many"), ("rate", "high"), ("verbose", "1"),
     ("layers", "2"), ("layers", "[2")],
)  # fmt: skip
def test_a_value_of_the_wrong_type_is_refused(key, text):
    with pytest.raises(ValueError, match=f"03_graphs: parameter {key} is .*expected"):
        _resolve(**{key: text})


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match=r"no parameter SEDE; did you mean SEED\?"):
        _resolve(SEDE="1")


def test_the_profile_is_no_parameter():
    with pytest.raises(ValueError, match="--profile gpu"):
        _resolve(PROFILE="gpu")


def test_assignments_that_cannot_be_read():
    assert parse_assignments(["a=1", "b = x=y"]) == {"a": "1", "b": "x=y"}
    for bad in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(ValueError, match="parameter"):
            parse_assignments(bad)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("SEED = 0", "lacks"),
        ('PROFILE = "cpu"\nsteps = 2 * 3', "line 2"),
        ('PROFILE = "cpu"\nimport os', "line 2"),
        ('PROFILE = "cpu', "not Python"),
    ],
)
def test_a_parameters_cell_that_is_not_flat_literals(add_notebook, source, words):
    with pytest.raises(ValueError, match=words):
        notebook_parameters(add_notebook("00_a", parameters=source))


def test_annotations_comments_and_negative_numbers_are_literals(add_notebook):
    source = 'PROFILE = "cpu"  # or smoke\nSEED: int = 0\nshift = -1.5'
    path = add_notebook("00_a", parameters=source)
    assert notebook_parameters(path) == {"PROFILE": "cpu", "SEED": 0, "shift": -1.5}


def test_exactly_one_cell_is_tagged(add_notebook):
    path = add_notebook("00_a")
    notebook = nbformat.read(path, as_version=4)
    source = notebook.cells[1].source
    notebook.cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]}))
    nbformat.write(notebook, path)
    with pytest.raises(ValueError, match="2 cells tagged"):
        notebook_parameters(path)
