"""Profiles: how large a run is. A profile changes sizes and limits, never code paths.

A notebook's one cell tagged `parameters` holds flat literals, with `PROFILE = "cpu"` and
`SEED = 0` among them; the next cell derives everything that depends on them:

    PROFILE = profiles.active(PROFILE)
    size = profiles.sizes(PROFILE, smoke=dict(problems=4), cpu=dict(problems=60),
                          gpu=dict(problems=2000))
    size.problems

`rgh run --profile smoke` injects PROFILE; test runners that cannot inject parameters set the
environment variable RGH_PROFILE instead, which `active` obeys.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

PROFILE_VARIABLE = "RGH_PROFILE"


@dataclass(frozen=True)
class Profile:
    """Limits for one notebook: wall time in minutes, resident memory of all processes in GiB."""

    name: str
    purpose: str
    wall_minutes: float
    memory_gib: float
    threads: int | None  # per notebook; None: what the notebooks that run at once leave over


PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("smoke", "does it run? sizes prove nothing", 5, 6, 1),
        Profile("cpu", "real conclusions on a laptop, reduced sizes", 20, 8, None),
        Profile("gpu", "full statistical strength on one card", 60, 64, None),
        Profile("hub", "a downloaded model instead of the course's own", 120, 64, None),
    )
}


def profile(name: str) -> Profile:
    """Return the profile `name`; raises `ValueError` listing the profiles there are."""
    if name not in PROFILES:
        raise ValueError(
            f"unknown profile {name!r}: choose one of {', '.join(PROFILES)} "
            f"(parameter PROFILE, `rgh run --profile`, or the variable {PROFILE_VARIABLE})"
        )
    return PROFILES[name]


def active(name: str) -> str:
    """Return the profile to use: the environment variable RGH_PROFILE if set, else `name`."""
    return profile(os.environ.get(PROFILE_VARIABLE) or name).name


def sizes(name: str, **by_profile: Mapping[str, Any]) -> SimpleNamespace:
    """Return the sizes that profile `name` chooses, as a namespace.

    `by_profile` gives one mapping a profile; smoke and cpu are required, gpu falls back to
    cpu, and hub to gpu. All must name the same sizes, so that no profile reaches a code path
    of its own. Raises `ValueError` for an unknown profile or for mappings that differ in names.
    """
    profile(name)
    for given in by_profile:
        profile(given)
    missing = {"smoke", "cpu"} - set(by_profile)
    if missing:
        raise ValueError(f"no sizes for profile {' and '.join(sorted(missing))}: give smoke=, cpu=")
    for given, values in by_profile.items():
        different = set(values) ^ set(by_profile["cpu"])
        if different:
            raise ValueError(
                f"profiles {given} and cpu differ in the sizes {sorted(different)}: every profile "
                "gives the same names, only other values"
            )
    fallback = {"hub": ("hub", "gpu", "cpu"), "gpu": ("gpu", "cpu")}.get(name, (name,))
    chosen = next(candidate for candidate in fallback if candidate in by_profile)
    return SimpleNamespace(**by_profile[chosen])


def threads(chosen: Profile, jobs: int) -> int:
    """Return the compute threads for one notebook when `jobs` of them run at once."""
    return chosen.threads or max(1, cores() // max(1, jobs))


def cores() -> int:
    """Return how many cores this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return allowed or 1
