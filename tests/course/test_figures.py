"""Committed figures are those of the committed results."""

from __future__ import annotations

from rg_helpers.artefacts import read_json
from rg_helpers.course import cli
from rg_helpers.course.commands.figures import FIGURES
from rg_helpers.course.folders import repository


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
