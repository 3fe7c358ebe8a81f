"""Folders that are either whole or absent, as `artefacts.atomic_path` does for single files."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers.utils import logging as transformers_logging


def partial_folder(target: Path) -> Path:
    """Return the name under which `target` is written until it is whole."""
    return target.with_name(f".{target.name}.partial")


@contextlib.contextmanager
def whole_folder(target: str | Path, replace: bool = False) -> Iterator[Path]:
    """Yield an empty sibling folder that takes the name `target` only if the block succeeds.

    A killed process, a full disk or an exception leaves what was there before. Raises
    `FileExistsError` where `target` exists, unless `replace`: then the former folder goes when the
    new one is whole, not before.
    """
    target = Path(target)
    if target.exists() and not replace:
        raise FileExistsError(
            f"{target} exists and would be overwritten: choose another folder, delete that one, or "
            "pass replace=True"
        )
    partial = partial_folder(target)
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    try:
        partial.mkdir(parents=True)
        yield partial
        publish(partial, target)
    except (OSError, SafetensorError) as error:
        raise OSError(
            getattr(error, "errno", None),
            f"could not write {target} ({error}): free some disk space or choose "
            "another folder, then run again; what was there before is untouched",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def quiet_bars() -> Iterator[None]:
    """Keep transformers from drawing a bar for every file it writes or reads."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def publish(partial: Path, target: Path) -> None:
    """Give a folder that is whole its name; a former folder of that name goes afterwards."""
    for file in partial.rglob("*"):
        if file.is_file():
            with open(file, "rb") as written:
                os.fsync(written.fileno())
    former = target.with_name(f".{target.name}.former")
    shutil.rmtree(former, ignore_errors=True)
    if target.exists():
        os.replace(target, former)
    os.replace(partial, target)
    shutil.rmtree(former, ignore_errors=True)


def check_tensors(folder: Path) -> None:
    """Raise `ValueError` for a safetensors file in the folder that is cut short or no such file."""
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                pass  # opening compares the header with the file's length
        except (OSError, SafetensorError) as error:
            raise ValueError(
                f"{file} cannot be read ({error}): delete {folder} and continue from an earlier "
                "checkpoint, or start again in another folder"
            ) from error
