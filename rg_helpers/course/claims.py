"""The ledger of claims: every figure quoted as a result, with the file it can be read from.

A claim is never typed in: the code that measured it writes a result file below data/results/
and then a `Claim` that points into that file. `check_claims` reads the file again, so a claim
that lost its evidence, or never had any, is found.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from rg_helpers.artefacts import read_json, write_json
from rg_helpers.course.folders import repository, results_folder
from rg_helpers.course.pointers import read_pointer

ID_FORM = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")
TARGET_FORM = re.compile(
    r"(?P<sign>>=|<=)\s*(?P<bar>\d+(\.\d+)?)|(?P<low>\d+(\.\d+)?) to (?P<high>\d+(\.\d+)?)"
)
RELATIVE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Claim:
    """One measured figure.

    `source` is a result file, named from the repository's root or from data/results/;
    `pointer` says where in it the figure stands (see `pointers.read_pointer`). If the pointer
    leads to an object with the keys value, low, high, n, all of those are checked, else the
    value alone. `low` and `high` bound the 95 % interval; `n` counts `unit`s. `target` is the
    bar to reach: ">= 0.9", "<= 1.5" or "0.3 to 0.8".
    Raises `ValueError` for a malformed id, a value that is no finite number, an interval that
    does not hold the value, or figures of the smoke profile, which measures nothing.
    """

    id: str
    statement: str
    value: float
    source: str
    pointer: str
    command: str
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = ""
    target: str | None = None
    profile: str | None = None
    device: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    date: str = ""

    def __post_init__(self) -> None:
        if not ID_FORM.fullmatch(self.id):
            raise ValueError(
                f"claim id {self.id!r} is malformed: expected lower-case words joined by dots, "
                "such as edges.attention.arithmetic.auroc"
            )
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            if number is None and name != "value":
                continue
            if isinstance(number, bool) or not math.isfinite(number):
                raise ValueError(
                    f"claim {self.id}: {name} is {number!r}, expected a finite number; do not "
                    "claim what was not measured"
                )
            object.__setattr__(self, name, float(number))
        slack = RELATIVE_TOLERANCE * max(1.0, abs(self.value))
        if (self.low is not None and self.low > self.value + slack) or (
            self.high is not None and self.high < self.value - slack
        ):
            raise ValueError(
                f"claim {self.id}: the value {self.value} lies outside its own interval "
                f"[{self.low}, {self.high}]"
            )
        if self.target is not None and not TARGET_FORM.fullmatch(self.target):
            raise ValueError(
                f"claim {self.id}: target {self.target!r} cannot be read; write '>= 0.9', "
                "'<= 1.5' or '0.3 to 0.8'"
            )
        if self.profile == "smoke":
            raise ValueError(
                f"claim {self.id} comes from the smoke profile, which only proves that code runs: "
                "measure it with the cpu or gpu profile"
            )
        object.__setattr__(self, "source", _source_name(self.source))

    def target_met(self) -> bool | None:
        """Say whether the value reaches the target; None where there is no target."""
        if self.target is None:
            return None
        parts = TARGET_FORM.fullmatch(self.target)
        if parts["sign"] == ">=":
            return self.value >= float(parts["bar"])
        if parts["sign"] == "<=":
            return self.value <= float(parts["bar"])
        return float(parts["low"]) <= self.value <= float(parts["high"])


@dataclass(frozen=True)
class ClaimProblem:
    """A claim that does not hold as it stands, and what to do about it."""

    id: str
    problem: str
    cure: str


def claim_from_result(
    id: str, statement: str, source: str | Path, pointer: str, unit: str, target: str | None = None
) -> Claim:
    """Make a claim by reading its figures and provenance out of a result file.

    The file is JSON with a `provenance` block (`artefacts.provenance`); the pointer leads to a
    number, or to an object with `value` and optionally `low`, `high` and `n`. Raises
    `FileNotFoundError` or `ValueError` when the figure or the provenance is not there.
    """
    name = _source_name(source)
    data = read_json(repository() / name)
    origin = data.get("provenance") if isinstance(data, dict) else None
    if not isinstance(origin, dict) or "command" not in origin:
        raise ValueError(
            f"{name} has no provenance block: write it with artefacts.provenance(...) under the "
            "key 'provenance'"
        )
    figures = _figures(read_pointer(repository() / name, pointer))
    return Claim(
        id=id,
        statement=statement,
        source=name,
        pointer=pointer,
        unit=unit,
        target=target,
        **figures,
        **{key: origin[key] for key in ("command", "profile", "seed")},
        **{key: origin[key] for key in ("device", "versions", "date") if key in origin},
    )


def ledger_path() -> Path:
    """Return the path of the ledger."""
    return results_folder() / "claims.json"


def read_claims(path: str | Path | None = None) -> dict[str, Claim]:
    """Return the claims of a ledger by id, sorted; an absent ledger holds none."""
    path = Path(path) if path is not None else ledger_path()
    if not path.is_file():
        return {}
    entries = read_json(path)
    if not isinstance(entries, list):
        raise ValueError(f"{path} should hold a list of claims: restore it with `git checkout`")
    known = {entry.name for entry in dataclasses.fields(Claim)}
    claims = {}
    for entry in entries:
        if not isinstance(entry, dict) or not {"id", "value", "source", "pointer"} <= set(entry):
            raise ValueError(
                f"{path} holds an entry that is no claim: {str(entry)[:80]}; run the command "
                "that measured it again, or restore the file with `git checkout`"
            )
        unknown = set(entry) - known
        if unknown:
            raise ValueError(f"{path}: claim {entry['id']} has unknown fields {sorted(unknown)}")
        claims[entry["id"]] = Claim(**entry)
    return dict(sorted(claims.items()))


def write_claims(claims: Iterable[Claim], path: str | Path | None = None) -> Path:
    """Merge claims into the ledger by id, newest last to win, and return the ledger's path.

    The ledger is locked while it is read and replaced, so that two commands that finish
    together both keep their claims; the file itself is replaced atomically.
    """
    path = Path(path) if path is not None else ledger_path()
    claims = list(claims)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock"), timeout=60):
        merged = read_claims(path)
        merged.update({claim.id: claim for claim in claims})
        return write_json(path, [dataclasses.asdict(merged[id]) for id in sorted(merged)])


def check_claims(claims: Iterable[Claim] | None = None) -> list[ClaimProblem]:
    """Read every claim again from its source file and return those that do not hold.

    A missing source, a pointer that leads nowhere and a figure that differs by more than one
    part in a million each give a `ClaimProblem`; an empty list means that all claims hold.
    """
    claims = list(read_claims().values() if claims is None else claims)
    problems = []
    for claim in claims:
        cure = f"run `{claim.command}` again and commit {claim.source} with the ledger"
        try:
            figures = _figures(read_pointer(repository() / claim.source, claim.pointer))
        except (OSError, ValueError) as error:
            problems.append(ClaimProblem(claim.id, str(error), cure))
            continue
        for name, measured in figures.items():
            claimed = getattr(claim, name)
            if not _same(claimed, measured):
                problems.append(
                    ClaimProblem(
                        claim.id,
                        f"{name} is claimed as {claimed} but {claim.source} at "
                        f"{claim.pointer} gives {measured}",
                        cure,
                    )
                )
    return problems


def _same(claimed: float | None, measured: float | None) -> bool:
    if claimed is None or measured is None:
        return claimed is measured
    return math.isclose(claimed, measured, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12)


def _figures(found: Any) -> dict[str, float | None]:
    """Return value (and low, high, n where given) from what a pointer led to."""
    if isinstance(found, Mapping) and "value" in found:
        figures = {name: found[name] for name in ("value", "low", "high", "n") if name in found}
    else:
        figures = {"value": found}
    for name, number in figures.items():
        allowed = number is None and name != "value"
        if not allowed and (isinstance(number, bool) or not isinstance(number, (int, float))):
            raise ValueError(f"{name} is {str(number)[:60]!r}, expected a number")
    return figures


def _source_name(source: str | Path) -> str:
    """Return a source's name from the repository's root, with forward slashes."""
    path, results = Path(source), results_folder()
    if not path.is_absolute():
        inside = path.parts[:2] == ("data", "results")
        path = repository() / path if inside else results / path
    path = path.resolve()
    if not path.is_relative_to(results.resolve()):
        raise ValueError(
            f"claim source {source} lies outside data/results/: results that are claimed are "
            "committed, so write the file there"
        )
    return path.relative_to(repository().resolve()).as_posix()
