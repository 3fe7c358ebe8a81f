"""Files are whole or absent, hashes tell contents apart, provenance says where from."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
import torch

from rg_helpers import artefacts
from rg_helpers.artefacts import (
    atomic_path,
    provenance,
    read_json,
    sha256_of,
    versions,
    write_json,
    write_text,
)


def test_a_file_appears_whole_with_ordinary_permissions(tmp_path):
    path = write_text(tmp_path / "new" / "folder" / "a.txt", "Grüße\n")
    assert path.read_text(encoding="utf-8") == "Grüße\n"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_an_exception_leaves_the_old_file_and_no_partial(tmp_path, error):
    path = write_text(tmp_path / "a.txt", "old")

    def write_half():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_names_the_file_and_the_cure_and_keeps_the_old_file(tmp_path, monkeypatch):
    path = write_text(tmp_path / "a.txt", "old")

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artefacts.os, "replace", full)
    with pytest.raises(OSError, match=r"a\.txt.*No space left.*free some disk space") as caught:
        write_text(path, "new")
    assert caught.value.errno == errno.ENOSPC
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_sigkill_in_the_middle_of_writing_leaves_the_old_file(tmp_path):
    path = write_text(tmp_path / "a.txt", "old")
    code = (
        "import os, signal, sys; from rg_helpers.artefacts import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    assert path.read_text() == "old"


def test_json_takes_arrays_and_paths_but_no_nan(tmp_path):
    data = {"a": np.float32(0.5), "b": torch.arange(3), "c": tmp_path, "d": "ü"}
    path = write_json(tmp_path / "a.json", data)
    assert read_json(path) == {"a": 0.5, "b": [0, 1, 2], "c": str(tmp_path), "d": "ü"}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(TypeError, match="object"):
        write_json(path, {"a": object()})
    assert read_json(path)["a"] == 0.5


def test_reading_json_names_file_and_cure(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.json does not exist: run the command"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"a": 1,\n "b": ')
    with pytest.raises(ValueError, match=r"a\.json is not valid JSON \(line 2"):
        read_json(tmp_path / "a.json")


def test_hashes_depend_on_content_order_and_borders(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert sha256_of(path) == sha256_of("abc") == sha256_of(b"abc")
    assert sha256_of("ab", "c") != sha256_of("a", "bc")
    assert sha256_of("a", "b") != sha256_of("b", "a")
    assert len(sha256_of()) == 64


def test_provenance_says_what_a_result_needs(tmp_path):
    block = provenance("rgh edges", seed=3, profile="cpu")
    assert {"command", "seed", "profile", "device", "versions", "date"} == set(block)
    assert block["seed"] == 3
    assert block["device"]
    # A build from the package index names its CUDA in `__version__` alone.
    assert versions()["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert len(block["date"]) == 10
    json.dumps(block)
