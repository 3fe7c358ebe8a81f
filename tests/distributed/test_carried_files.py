"""Files travel whole, by relative names; a node with another program is refused."""

from __future__ import annotations

import dataclasses

import pytest

from rg_helpers.distributed import emptied_after, files_made, read_files, write_files
from rg_helpers.distributed.program import check_same, program


def test_files_come_out_as_they_went_in(tmp_path):
    there, back = tmp_path / "there", tmp_path / "back"
    given = {"a.json": b"{}", "family/models/ce/weights": bytes(range(256)), "family/b": b""}
    write_files(there, given)
    (there / ".lock").write_bytes(b"not ours")
    (there / ".partial").mkdir()
    (there / ".partial" / "c").write_bytes(b"half")
    assert read_files(there) == given
    assert read_files(there, ["family/*"]) == {"family/b": b""}
    assert read_files(there, ["*/models/ce*/**/*"]) == {"family/models/ce/weights": given[
        "family/models/ce/weights"]}  # fmt: skip
    assert read_files(tmp_path / "absent") == {}
    write_files(there, {"a.json": b"[]", "new": b"1"})
    made = files_made(there, given)
    assert made == {"a.json": b"[]", "new": b"1"}
    write_files(back, made)
    assert read_files(back) == made


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/etc/out", ""])
def test_no_file_leads_out_of_its_folder(tmp_path, name):
    folder = tmp_path / "in"
    with pytest.raises(ValueError, match="no name of a file below"):
        write_files(folder, {"fine": b"", name: b"evil"})
    assert not list(tmp_path.rglob("*")), "nothing is written where one name is bad"


def test_a_folder_is_empty_afterwards_even_if_work_fails(tmp_path):
    def work():
        with emptied_after(tmp_path):
            write_files(tmp_path, {"a": b"", "b/c": b""})
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert tmp_path.is_dir()
    assert not list(tmp_path.iterdir())


def test_another_program_is_refused_and_named():
    here = program()
    check_same(here)
    known = dict(here.versions) | {"torch": "0.1", "ghost": "3.0"}
    other = dataclasses.replace(here, package="0" * 64, versions=tuple(sorted(known.items())))
    with pytest.raises(RuntimeError, match=r"torch .* instead of 0\.1") as told:
        check_same(other)
    assert "ghost missing instead of 3.0" in str(told.value)
    assert "other sources of rg_helpers" in str(told.value)
    assert "numpy" not in str(told.value)
