"""Files that travel with tasks as values, since nodes need not share a file system."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from rg_helpers.artefacts import atomic_path

Files = Mapping[str, bytes]


def read_files(folder: str | Path, patterns: Iterable[str] = ("**/*",)) -> dict[str, bytes]:
    """Return the files below `folder` that glob patterns choose, by their relative names.

    Hidden files, such as locks and partial writes, stay where they are.
    """
    folder = Path(folder)
    found = {}
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            name = path.relative_to(folder)
            if path.is_file() and not any(part.startswith(".") for part in name.parts):
                found[name.as_posix()] = path.read_bytes()
    return found


def write_files(folder: str | Path, files: Files) -> None:
    """Write files below `folder`, each whole or not at all.

    Raises `ValueError` for a name that leads out of the folder.
    """
    for name in files:
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or PurePosixPath(name).is_absolute():
            raise ValueError(f"{name!r} is no name of a file below {folder}")
    for name, content in files.items():
        with atomic_path(Path(folder) / name) as temporary:
            temporary.write_bytes(content)


def files_made(folder: str | Path, given: Files) -> dict[str, bytes]:
    """Return what stands below `folder` and was not given in the same form."""
    return {name: blob for name, blob in read_files(folder).items() if given.get(name) != blob}


@contextlib.contextmanager
def emptied_after(folder: str | Path) -> Iterator[None]:
    """Leave `folder` empty after the block, however it ends."""
    try:
        yield
    finally:
        for path in Path(folder).iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
