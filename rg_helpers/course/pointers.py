"""Find one figure inside a result file again, by a pointer that survives re-measuring."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from rg_helpers.artefacts import read_json


def read_pointer(path: str | Path, pointer: str) -> Any:
    """Return what `pointer` leads to in the result file `path` (.json, .csv or .parquet).

    The pointer is a JSON pointer (RFC 6901, 2013): "/table/0/auroc", where "~1" stands for a
    slash and "~0" for a tilde. In a list of rows a step may also name the row by its columns,
    which stays right when rows are added: "/rows/family=arithmetic&layer=2/auroc". A .csv or
    .parquet file is read as such a list of rows. Raises `FileNotFoundError` for a missing
    file and `ValueError` for a pointer that leads nowhere or to several rows.
    """
    path = Path(path)
    found: Any = _load(path)
    if pointer in ("", "/"):
        return found
    if not pointer.startswith("/"):
        raise ValueError(f"pointer {pointer!r} should start with a slash, such as /table/0/auroc")
    walked = ""
    for raw in pointer.split("/")[1:]:
        step = raw.replace("~1", "/").replace("~0", "~")
        try:
            found = _follow(found, step)
        except LookupError as error:
            raise ValueError(
                f"pointer {pointer} leads nowhere in {path.name}: after {walked or '/'} {error}"
            ) from None
        walked += "/" + raw
    return found


def _follow(found: Any, step: str) -> Any:
    """Take one step; raises `LookupError` with the words that explain the failure."""
    if isinstance(found, dict):
        if step not in found:
            raise LookupError(f"there is no {step!r}, only {', '.join(map(str, found))[:200]}")
        return found[step]
    if isinstance(found, list):
        if "=" in step:
            return _one_row(found, step)
        if step.isdecimal() and int(step) < len(found):
            return found[int(step)]
        raise LookupError(f"there are {len(found)} entries and {step!r} is none of them")
    raise LookupError(f"stands {str(found)[:60]!r}, which has no parts")


def _one_row(rows: list[Any], step: str) -> Any:
    wanted = dict(pair.partition("=")[::2] for pair in step.split("&"))
    matching = [
        row
        for row in rows
        if isinstance(row, dict)
        and all(key in row and str(row[key]) == value for key, value in wanted.items())
    ]
    if len(matching) != 1:
        raise LookupError(f"{len(matching)} of {len(rows)} rows have {step}, expected one")
    return matching[0]


def _load(path: Path) -> Any:
    if path.suffix == ".json":
        return read_json(path)
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"{path.name}: claims are read from .json, .csv or .parquet files")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: run the command that writes it first")
    state = path.stat()
    return _rows(path.resolve(), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _rows(path: Path, changed: int, size: int) -> list[Any]:
    """Return a table's rows; many claims point into one file, which is read once per state."""
    import pandas

    table = pandas.read_csv(path) if path.suffix == ".csv" else pandas.read_parquet(path)
    return table.to_dict(orient="records")
