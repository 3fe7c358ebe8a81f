"""Turn a full run into the measured minutes and memory of the course, as a claim."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rg_helpers.artefacts import provenance, write_json
from rg_helpers.course.claims import claim_from_result, write_claims
from rg_helpers.course.folders import results_folder
from rg_helpers.course.sidecar import FINISHED, Sidecar

TARGETS = {"cpu": "<= 20", "gpu": "<= 60"}


def record_minutes(
    profile: str, records: Sequence[Sidecar], wall_seconds: float, command: str
) -> Path:
    """Write course_minutes_<profile>.json and the claim course.minutes.<profile>.

    `records` are those of one run that executed every notebook; `wall_seconds` is how long it
    took as a whole, which with several jobs at once is less than the notebooks' sum. Raises
    `ValueError` when a notebook did not finish: half a course has no duration.
    """
    unfinished = [record.notebook for record in records if record.status != FINISHED]
    if unfinished or not records:
        raise ValueError(
            f"minutes are recorded only for a whole run; not finished: {', '.join(unfinished)}"
        )
    path = results_folder() / f"course_minutes_{profile}.json"
    write_json(
        path,
        {
            "provenance": provenance(command, seed=records[0].seed, profile=profile),
            "jobs": records[0].jobs,
            "threads_per_job": records[0].threads,
            "total": {"value": round(wall_seconds / 60, 2), "n": len(records)},
            "notebooks": [
                {
                    "notebook": record.notebook,
                    "minutes": round(record.seconds / 60, 2),
                    "peak_memory_gib": round(record.peak_memory_gib, 2),
                }
                for record in records
            ],
        },
    )
    claim = claim_from_result(
        f"course.minutes.{profile}",
        f"Minutes to execute the whole course in the {profile} profile",
        path,
        "/total",
        "notebooks",
        TARGETS.get(profile),
    )
    write_claims([claim])
    return path
