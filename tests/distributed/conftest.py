"""A Ray cluster on this machine: a head of one CPU, and nodes that tests add and kill."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from pathlib import Path

import pytest

ASKED = "RGH_CLUSTER_TESTS"
STARTS = 3  # of a node: Ray gives it 30 s to answer, which a busy machine can miss
# How Ray finds "the cluster of this machine".
CURRENT = Path(tempfile.gettempdir()) / "ray" / "ray_current_cluster"
PORTS = ("metrics_agent_port", "metrics_export_port", "runtime_env_agent_port")
# Deaths are noticed within seconds, and a slow start is no death.
SYSTEM = {
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 20_000,
    "health_check_failure_threshold": 5,
    "worker_register_timeout_seconds": 240,
    "agent_register_timeout_ms": 240_000,
    "worker_niceness": 0,  # else tasks wait for whatever else a busy machine does
}


@pytest.fixture(scope="session")
def head():
    """A connected cluster of one node, `ray.cluster_utils.Cluster`.

    Nodes start and die in their own time, and a busy machine makes them miss Ray's own limits, so
    `make test` runs the tests that need a cluster after all others: `make cluster-tests`.
    """
    pytest.importorskip("ray")
    if not os.environ.get(ASKED):
        pytest.skip(f"needs a cluster of its own: make cluster-tests, or {ASKED}=1")
    from ray.cluster_utils import Cluster

    from rg_helpers.distributed import connected

    with contextlib.ExitStack() as stack:
        stack.callback(_put_back, CURRENT.read_bytes() if CURRENT.is_file() else None)
        cluster = Cluster()
        stack.callback(cluster.shutdown)
        add_node(cluster, _system_config=SYSTEM)
        stack.enter_context(connected(cluster.address))
        yield cluster


@pytest.fixture
def second_node(head):
    """A second node of one CPU, which a test may kill; gone after the test."""
    node = add_node(head)
    yield node
    if node in head.worker_nodes:
        head.remove_node(node, allow_graceful=False)


def add_node(cluster, **options):
    """Add a node of one CPU; tried again where the machine was too busy to start it in time."""
    for left in reversed(range(STARTS)):
        ports = _free_ports(len(PORTS) + 1)
        try:
            with _listen_port_known(ports.pop()):
                return cluster.add_node(
                    num_cpus=1,
                    object_store_memory=80 * 2**20,
                    include_dashboard=False,
                    include_log_monitor=False,
                    no_monitor=True,
                    **dict(zip(PORTS, ports, strict=True)),
                    **options,
                )
        except Exception:
            if not left:
                raise


@contextlib.contextmanager
def _listen_port_known(port: int):
    """Tell the raylet a port of its dashboard agent, for which it would wait 15 s and then die.

    Nobody asks at that port in tests, and on a busy machine the agent starts more slowly.
    """
    from ray._private.node import Node

    start = Node.start_raylet

    def start_knowing(self, *args, **kwargs):
        name = f"dashboard_agent_listen_port_{self._node_id}"
        (Path(self.get_session_dir_path()) / name).write_text(str(port))
        return start(self, *args, **kwargs)

    Node.start_raylet = start_knowing
    try:
        yield
    finally:
        Node.start_raylet = start


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


def _put_back(content: bytes | None) -> None:
    if content is None:
        CURRENT.unlink(missing_ok=True)
    else:
        CURRENT.write_bytes(content)
