"""Lines that a command could not read: all in a file, the first on the screen, an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from rg_helpers.artefacts import atomic_path
from rg_helpers.scoring.formats import readable
from rg_helpers.scoring.tables import LEFT_OUT
from rg_helpers.traces import BadLine

EXIT_LEFT_OUT = 1  # the rest was done
SHOWN = 5


def tell_left_out(bad: Iterable[BadLine], folder: str | Path) -> int:
    """Name bad lines, each once, in `left_out.jsonl` below `folder`; return the exit code.

    Without any the code is 0, and the file of a run before the lines were repaired is removed.
    """
    path = Path(folder) / LEFT_OUT
    found = {(Path(line.path).name, line.line): line for line in reversed([*bad])}
    if not found:
        path.unlink(missing_ok=True)
        return 0
    named = [
        {"file": name, "line": number, "reason": found[name, number].reason}
        for name, number in sorted(found)
    ]
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in named), encoding="utf-8")
    print(f"{len(named)} lines left out, each with its reason in {path}:", file=sys.stderr)
    for row in named[:SHOWN]:
        words = readable(f"  {row['file']}, line {row['line']}: {row['reason']}")
        print(words, file=sys.stderr)
    return EXIT_LEFT_OUT
