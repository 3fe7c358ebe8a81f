"""Is a node's program this one? Results of one run must not come from different versions."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rg_helpers.artefacts import sha256_of, versions

SOURCES = (".py", ".js", ".css", ".json", ".bib")  # programs, and what they are shipped with


@dataclass(frozen=True)
class Program:
    """The hash of this package's sources, and the versions that results depend on."""

    package: str
    versions: tuple[tuple[str, str], ...]


@cache
def program() -> Program:
    """Return the program of this process; builds of one version (+cpu, +cu130) count as equal."""
    known = ((name, version.partition("+")[0]) for name, version in versions().items())
    return Program(package_hash(), tuple(sorted(known)))


def check_same(wanted: Program) -> None:
    """Raise `RuntimeError` unless this process runs the wanted program, naming what differs."""
    here = program()
    if here == wanted:
        return
    asked, found = dict(wanted.versions), dict(here.versions)
    differ = [
        f"{name} {found.get(name, 'missing')} instead of {asked.get(name, 'none')}"
        for name in sorted(asked.keys() | found.keys())
        if asked.get(name) != found.get(name)
    ]
    if here.package != wanted.package:
        differ.append("other sources of rg_helpers")
    raise RuntimeError(
        f"the node {platform.node()} runs another program ({', '.join(differ)}), so its results "
        "would not belong with the others: install the same versions on every node"
    )


def package_hash() -> str:
    """Hash every source of this package, by relative name and content."""
    folder = Path(__file__).resolve().parents[1]
    files = sorted(path for path in folder.rglob("*") if path.suffix in SOURCES)
    return sha256_of(*(part for f in files for part in (f.relative_to(folder).as_posix(), f)))
