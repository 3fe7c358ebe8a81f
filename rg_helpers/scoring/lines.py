"""The lines of a JSONL file one at a time: parsed, or with the reason why they cannot be."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OTHER_ENCODINGS = {
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
PEEK = 4096


def check_file(path: str | Path) -> Path:
    """Return the path of a file that can be read as JSON lines.

    Raises `FileNotFoundError` for none, `ValueError` for a folder, an empty file, another encoding
    or a file that is one JSON list.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give one JSONL file")
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: give a JSONL file of prompts and solutions"
        )
    with open(path, "rb") as file:
        head = file.read(PEEK)
    if not head.strip():
        raise ValueError(f"{path} is empty: expected a JSON object a line")
    for mark, name in OTHER_ENCODINGS.items():
        if head.startswith(mark):
            raise ValueError(
                f"{path} is {name}: save it as UTF-8, for example `iconv -f {name} -t UTF-8`"
            )
    if head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
        raise ValueError(
            f"{path} is one JSON list: write an object a line, for example `jq -c '.[]'`"
        )
    return path


def json_lines(path: str | Path, limit: int | None = None) -> Iterator[tuple[int, Any]]:
    """Yield (line number from 1, row) of the first `limit` lines that are not blank.

    A row that cannot be read is a `ValueError` that says why; it is yielded, not raised. Only one
    line is held at a time.
    """
    given = 0
    with open(path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            if limit is not None and given >= limit:
                return
            given += 1
            yield number, parsed(raw)


def parsed(raw: bytes) -> dict[str, Any] | ValueError:
    """Return the object of a line, or the error that says what is wrong with it and the cure."""
    try:
        row = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return ValueError(f"not UTF-8 (byte {error.start}): save the line as UTF-8")
    except json.JSONDecodeError as error:
        return ValueError(
            f"not valid JSON ({error.msg} at column {error.colno}): one whole JSON object a line; "
            "an interrupted copy cuts the last line"
        )
    except RecursionError:
        return ValueError("nested too deeply to be read: expected an object with named columns")
    if not isinstance(row, dict):
        return ValueError(f"a JSON {type(row).__name__}, expected an object with named columns")
    return row
