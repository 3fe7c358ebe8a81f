"""Committed figures are those of the committed results, and every one can be read aloud."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from rg_helpers.artefacts import read_json
from rg_helpers.course import cli
from rg_helpers.course.commands.figures import FIGURES
from rg_helpers.course.folders import repository

SHORTEST_SENTENCE = 40  # characters; "AUROC of each head, one grid a family" tells no finding
COUNTED = (
    "step line node edge problem solution panel head layer token cluster row column loop revisit "
    "graph premise bar point mark model seed arm pair trace method character digit sentence writer"
).split()
NUMBERED = ("layer", "head", "step", "node", "state", "place", "number", "cluster", "seed", "line")
PLURAL_OF_ONE = re.compile(
    r"(?:\b(?P<before>[a-z]+) )?(?<![\w.,=-])1 (?P<things>(?:[a-z]+ )?(?:"
    + "|".join(f"{thing}s" for thing in COUNTED)
    + r"|crosses|families|gold edges))\b"
)
NOTEBOOKS = sorted((repository() / "notebooks").glob("*.ipynb"))
PICTURES = sorted((repository() / "data" / "figures").glob("*.png"))


def faults_of(alt: str) -> list[str]:
    """What is wrong with an alt text: too short to tell a finding, or "1 steps"."""
    found = []
    if len(alt.strip()) < SHORTEST_SENTENCE:
        found.append("says too little: what kind of figure, which axes, which numbers?")
    for match in PLURAL_OF_ONE.finditer(alt):
        if match["before"] not in NUMBERED:  # "layer 1 heads" counts nothing
            found.append(f"speaks of '1 {match['things']}'")
    return found


def alts_of(path: Path) -> Iterator[tuple[str, str]]:
    """(cell id, alt text) of every image among a notebook's outputs."""
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            for kind in output.get("data", {}):
                if kind.startswith("image/"):
                    yield cell.id, output.get("metadata", {}).get(kind, {}).get("alt", "")


@pytest.mark.parametrize(
    ("alt", "fault"),
    [
        ("Graph of a solution; 1 steps carry a cross.", "1 steps"),
        ("Walk over three clusters of a solution: 6 loops, 1 revisits.", "1 revisits"),
        ("Reasoning graph over gold: 1 gold edges are missed, 13 are in both.", "1 gold edges"),
        ("AUROC of every head, a grid a family.", "too little"),
        ("", "too little"),
    ],
)
def test_a_planted_fault_is_heard(alt, fault):
    assert any(fault in said for said in faults_of(alt))


@pytest.mark.parametrize(
    "alt",
    [
        "Graph of a solution; marked by a cross: 1 of 13 steps, and 11 edges are gold.",
        "Heat map of attention: the darkest cell lies on a true edge in 1 row of 21 rows.",
        "AUROC of layer 1 heads against gold edges: 0.1 steps are lost, 2,1 lines won.",
        "Graph of layer 1 head 0: 14 of its 19 edges are in gold too, 1 is not, 5 are missed.",
    ],
)
def test_what_is_well_said_passes(alt):
    assert not faults_of(alt)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_alt_texts_of_a_notebook_tell_something(path):
    assert not [(cell, fault) for cell, alt in alts_of(path) for fault in faults_of(alt)]


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_the_alt_text_of_a_picture_file_tells_something(path):
    assert not faults_of(read_json(path.with_suffix(".json"))["alt"])


def test_every_figure_is_drawn_again_from_its_record(tmp_path):
    assert cli.main(["figures", "--out", str(tmp_path)]) == 0
    for name in FIGURES:
        ours, committed = (
            read_json((folder / name).with_suffix(".json"))
            for folder in (tmp_path, repository() / "data" / "figures")
        )
        assert ours["alt"] == committed["alt"], f"{name} shows other figures: run rgh figures"
        assert ours["provenance"] == committed["provenance"]
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_only_named_figures_are_drawn(tmp_path):
    name = next(iter(FIGURES))
    assert cli.main(["figures", "--names", name, "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {name, name.replace(".png", ".json")}
