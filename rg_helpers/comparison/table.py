"""The comparison's one table: a row a figure, as parquet with its provenance inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas

from rg_helpers.artefacts import atomic_path
from rg_helpers.comparison.measured import CHOSEN, COLUMNS, Row

NUMBERS = ("value", "low", "high", "p", "p_holm")
COUNTS = ("n", "traces")
KEYS = ("family", "method", "layer", "reading", "difficulty", "metric", "other")


def write_table(path: str | Path, rows: Iterable[Row], provenance: Mapping[str, Any]) -> Path:
    """Write rows (keys `measured.COLUMNS`) and provenance atomically; raises on doubled rows."""
    table = pandas.DataFrame(list(rows), columns=list(COLUMNS))
    table = table.astype(dict.fromkeys(NUMBERS, "float64") | dict.fromkeys(COUNTS, "Int64"))
    doubled = table.duplicated(list(KEYS))
    if doubled.any():
        raise ValueError(
            f"two rows for {table.loc[doubled, list(KEYS)].iloc[0].to_dict()}: a figure has one "
            "row, named by " + ", ".join(KEYS)
        )
    table.attrs = {"provenance": dict(provenance)}
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False)
    return Path(path)


def read_table(path: str | Path) -> pandas.DataFrame:
    """Read a table written by `write_table`; `.attrs["provenance"]` says how it was made."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: run `rgh compare`, which writes it")
    table = pandas.read_parquet(path)
    missing = set(COLUMNS) - set(table.columns)
    if missing or "provenance" not in table.attrs:
        raise ValueError(
            f"{path} is no table of `rgh compare` (missing: {sorted(missing) or 'provenance'}): "
            "delete it and run `rgh compare` again"
        )
    return table


def pointer(**chosen: str) -> str:
    """Return the pointer of one row for the ledger (see `course.pointers`).

    Columns of `KEYS` that are not named take their usual value.
    """
    usual = {"layer": CHOSEN, "difficulty": "all", "other": ""}
    values = usual | chosen
    missing = [name for name in KEYS if name not in values]
    if missing:
        raise ValueError(f"a row is named by {', '.join(KEYS)}; {', '.join(missing)} not given")
    return "/" + "&".join(f"{name}={values[name]}" for name in KEYS)


def select(table: pandas.DataFrame, **chosen: str) -> pandas.DataFrame:
    """Return the rows whose columns have the values given."""
    keep = pandas.Series(True, index=table.index)
    for name, value in chosen.items():
        keep &= table[name] == value
    return table[keep]
