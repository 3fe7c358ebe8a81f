"""The page of runs: what was executed, in which state it is, its time and memory."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rg_helpers.artefacts import read_json
from rg_helpers.course.gallery.frame import table
from rg_helpers.course.profiles import PROFILES
from rg_helpers.course.runner import describe_error, short_error
from rg_helpers.course.sidecar import FINISHED

if TYPE_CHECKING:
    from rg_helpers.course.report import Entry

HEADER = ["notebook", "title", "status", "minutes", "GiB", "started (UTC)"]


def runs_page(entries: Sequence[Entry], written: str, results: Path) -> str:
    """Return the body of the page; `written` says when the gallery was.

    Below the runs stand the recorded ones of the folder `results`, which the claims rest on.
    """
    profiles = [profile for profile in PROFILES if any(e.profile == profile for e in entries)]
    return "\n".join(
        [
            "<h1>Runs</h1>",
            '<p class="lead">What was executed here, how long it took and how much memory it '
            f"needed at most. Written {html.escape(written)}.</p>",
            *(
                _section(profile, [e for e in entries if e.profile == profile])
                for profile in profiles
            ),
            "" if profiles else "<p>Nothing was executed; the chapters are shown as committed.</p>",
            *(_recorded(path) for path in sorted(results.glob("course_minutes_*.json"))),
        ]
    )


def _section(profile: str, entries: Sequence[Entry]) -> str:
    minutes = sum(entry.record.seconds for entry in entries if entry.record) / 60
    return (
        f'<h2 id="{profile}">Profile {profile}</h2>'
        f"<p>{html.escape(PROFILES[profile].purpose)}; {minutes:.1f} notebook minutes.</p>"
        + table(HEADER, [_row(entry) for entry in entries], {3, 4}, stacked=True)
    )


def _recorded(path: Path) -> str:
    record = read_json(path)
    origin = record["provenance"]
    rows = [
        [
            html.escape(row["notebook"]),
            f"{row['minutes']:.2f}",
            f"{row['peak_memory_gib']:.2f}",
        ]
        for row in record["notebooks"]
    ]
    return (
        f'<h2 id="recorded-{origin["profile"]}">As recorded, profile {origin["profile"]}</h2>'
        f"<p>{record['total']['value']:.1f} minutes for all, {record['jobs']} at a time, on "
        f"{html.escape(origin['device'])} ({origin['date']}).</p>"
        + table(["notebook", "minutes", "GiB"], rows, {1, 2}, stacked=True)
    )


def _row(entry: Entry) -> list[str]:
    record = entry.record
    name = html.escape(entry.name)
    if entry.page is not None:
        name = f'<a href="{html.escape(entry.page, quote=True)}">{name}</a>'
    mark = "" if entry.status.startswith(FINISHED) else ' class="failed"'
    state = f"<span{mark}>{html.escape(entry.status)}</span>"
    if record is not None and record.status != FINISHED:
        text = f"{describe_error(record)}\n\n{short_error(record)}"
        state += f"<details><summary>why</summary><pre>{html.escape(text)}</pre></details>"
    return [
        name,
        html.escape(entry.title),
        state,
        f"{record.seconds / 60:.2f}" if record else "",
        f"{record.peak_memory_gib:.2f}" if record else "",
        record.started[:16].replace("T", " ") if record else "",
    ]
