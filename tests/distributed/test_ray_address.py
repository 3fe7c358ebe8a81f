"""What stands in the way of a cluster is told with its cure, before anything waits."""

from __future__ import annotations

import socket
import sys
import time

import pytest

from rg_helpers.course import cli
from rg_helpers.distributed import connected, on_ray


@pytest.fixture
def unconnected(monkeypatch):
    """Ray in a process that is connected to no cluster, whatever tests before have done."""
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)


def test_work_without_a_cluster_starts_none(unconnected):
    with pytest.raises(RuntimeError, match="within `with connected"):
        next(on_ray(lambda given, task: task, [1], progress=False))


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # makes `import ray` fail
    with pytest.raises(RuntimeError, match=r"rg_helpers\[ray\]"), connected("auto"):
        pass


def test_an_address_that_leads_nowhere(unconnected, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]  # nobody listens there
        started = time.monotonic()
        with pytest.raises(RuntimeError, match=f"ray start --head --port={port}"):
            connected(f"127.0.0.1:{port}").__enter__()
        assert time.monotonic() - started < 30
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")  # then auto starts no other
        with pytest.raises(RuntimeError, match=f"ray start --head --port={port}"):
            connected("auto").__enter__()
    for address in ("here", "ray://127.0.0.1:10001", ":6379", "host:port"):
        with pytest.raises(ValueError, match="expected auto or HOST:PORT"):
            connected(address).__enter__()


def test_options_that_do_not_go_together(capsys):
    assert cli.main(["run", "--ray", "auto", "--jobs", "2"]) == 2
    assert "leave them out" in capsys.readouterr().err
    assert cli.main(["experiment", "graph-loss", "--ray", "auto", "--jobs", "2"]) == 2
    assert "the cluster says" in capsys.readouterr().err
    words = ["score", "rows.jsonl", "--out", "out", "--ray", "auto", "--trust-remote-code"]
    assert cli.main(words) == 2
    assert "does not travel" in capsys.readouterr().err
