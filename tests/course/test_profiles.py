"""A profile chooses sizes and limits; a slip in its name or its sizes is an error."""

from __future__ import annotations

import pytest

from rg_helpers.course import profiles

SIZES = {
    "smoke": {"problems": 2, "steps": 1},
    "cpu": {"problems": 60, "steps": 30},
    "gpu": {"problems": 2000, "steps": 900},
}


@pytest.fixture(autouse=True)
def no_override(monkeypatch):
    monkeypatch.delenv(profiles.PROFILE_VARIABLE, raising=False)


@pytest.mark.parametrize("name", ["smoke", "cpu", "gpu"])
def test_sizes_are_those_of_the_profile(name):
    chosen = profiles.sizes(name, **SIZES)
    assert (chosen.problems, chosen.steps) == tuple(SIZES[name].values())


def test_profiles_not_given_fall_back_to_the_next_smaller():
    assert profiles.sizes("hub", **SIZES).problems == 2000
    without_gpu = {name: SIZES[name] for name in ("smoke", "cpu")}
    assert profiles.sizes("gpu", **without_gpu).problems == 60
    assert profiles.sizes("hub", **without_gpu).problems == 60


@pytest.mark.parametrize("call", [profiles.profile, profiles.active])
def test_an_unknown_profile_names_those_there_are(call):
    with pytest.raises(ValueError, match=r"'fast'.*smoke, cpu, gpu, hub"):
        call("fast")


def test_sizes_refuses_unknown_profiles_missing_ones_and_uneven_names():
    with pytest.raises(ValueError, match="unknown profile 'fast'"):
        profiles.sizes("fast", **SIZES)
    with pytest.raises(ValueError, match="unknown profile 'quick'"):
        profiles.sizes("cpu", quick={}, **SIZES)
    with pytest.raises(ValueError, match="no sizes for profile smoke"):
        profiles.sizes("cpu", cpu=SIZES["cpu"])
    with pytest.raises(ValueError, match=r"smoke and cpu differ.*steps"):
        profiles.sizes("cpu", cpu=SIZES["cpu"], smoke={"problems": 2})


def test_the_environment_overrides_the_notebooks_own_profile(monkeypatch):
    assert profiles.active("cpu") == "cpu"
    monkeypatch.setenv(profiles.PROFILE_VARIABLE, "smoke")
    assert profiles.active("cpu") == "smoke"
    monkeypatch.setenv(profiles.PROFILE_VARIABLE, "smokey")
    with pytest.raises(ValueError, match="smokey"):
        profiles.active("cpu")


def test_threads_are_shared_among_notebooks_that_run_at_once(monkeypatch):
    monkeypatch.setattr(profiles.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    cpu, smoke = profiles.PROFILES["cpu"], profiles.PROFILES["smoke"]
    assert [profiles.threads(cpu, jobs) for jobs in (1, 2, 3, 100)] == [8, 4, 2, 1]
    assert profiles.threads(smoke, 1) == 1
