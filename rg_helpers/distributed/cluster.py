"""The Ray cluster to work on: joined or started, left again, and how much it can do at once."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

AUTO = "auto"
ADDRESS_VARIABLE = "RAY_ADDRESS"
ANSWER_SECONDS = 5.0  # a head that runs accepts a connection at once


@dataclass(frozen=True)
class Needs:
    """What one task takes of a node while it runs: CPU cores, which are its threads, and GPUs."""

    cpus: int = 1
    gpus: int = 0


@contextlib.contextmanager
def connected(address: str = AUTO) -> Iterator[None]:
    """Be connected to a Ray cluster within the block.

    `address` is HOST:PORT of a cluster that this machine belongs to, or "auto": the one that Ray's
    variable RAY_ADDRESS names, else the one that runs on this machine, else a new one of this
    machine alone, which ends with the block. A process that is connected already stays so. Raises
    `RuntimeError` where Ray is not installed or no cluster can be joined, `ValueError` for an
    address of another form.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield
        return
    if address == AUTO:
        address = os.environ.get(ADDRESS_VARIABLE) or AUTO
    if address == AUTO:
        _join_or_start(ray)
    else:
        _join(ray, address)
    try:
        yield
    finally:
        ray.shutdown()


def import_ray() -> ModuleType:
    """Return Ray; raises `RuntimeError` that names the extra where it is missing."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    try:
        import ray
    except ImportError as error:
        raise RuntimeError(
            "--ray needs Ray, which cannot be imported here: pip install 'rg_helpers[ray]', on "
            "every node"
        ) from error
    return ray


def tasks_at_once(needs: Needs) -> int:
    """Return how many tasks of these needs the living nodes can do at once."""
    ray = import_ray()
    alive = (node["Resources"] for node in ray.nodes() if node["Alive"])
    return sum(_at_once(resources, needs) for resources in alive)


def tasks_at_once_here(needs: Needs) -> int:
    """Return how many such tasks may run at once on the node of the task that asks: at least 1."""
    ray = import_ray()
    here = ray.get_runtime_context().get_node_id()
    mine = (node["Resources"] for node in ray.nodes() if node["NodeID"] == here)
    return max(1, sum(_at_once(resources, needs) for resources in mine))


def check_needs(needs: Needs) -> None:
    """Raise `RuntimeError` if no node can ever do a task of these needs."""
    if tasks_at_once(needs):
        return
    ray = import_ray()
    has = {name: int(ray.cluster_resources().get(name, 0)) for name in ("CPU", "GPU")}
    raise RuntimeError(
        f"a task takes {needs.cpus} CPU and {needs.gpus} GPU of one node, and no node has them "
        f"(the cluster: {has['CPU']} CPU, {has['GPU']} GPU): start one with `ray start "
        "--address=HEAD:PORT` on a machine that has, or ask for less, such as --device cpu"
    )


def _at_once(resources: Mapping[str, float], needs: Needs) -> int:
    count = int(resources.get("CPU", 0) // max(1, needs.cpus))
    if needs.gpus:
        count = min(count, int(resources.get("GPU", 0) // needs.gpus))
    return count


def _join_or_start(ray: ModuleType) -> None:
    try:
        ray.init(address=AUTO, **_quiet())
    except ConnectionError:
        try:
            ray.init(address="local", num_cpus=_cores(), include_dashboard=False, **_quiet())
        except Exception as error:
            raise RuntimeError(
                f"no Ray cluster runs here and none could be started ({_first_line(error)}): try "
                "again when the machine is less busy, or start one with `ray start --head`"
            ) from error


def _join(ray: ModuleType, address: str) -> None:
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise ValueError(
            f"--ray {address}: expected auto or HOST:PORT, which `ray start --head` prints; this "
            "machine must be a node too: `ray start --address=HOST:PORT` (with --num-cpus=0 if it "
            "shall not compute)"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise RuntimeError(
            f"no Ray cluster answers at {address} ({error}): start one with `ray start --head "
            f"--port={port}` on {host}, or give --ray auto to use this machine alone"
        ) from error
    try:
        ray.init(address=address, **_quiet())
    except Exception as error:
        raise RuntimeError(
            f"the cluster at {address} cannot be joined ({_first_line(error)}): this machine must "
            f"be a node of it, with the same versions of Ray and Python: `ray start "
            f"--address={address}` here first"
        ) from error


def _quiet() -> dict[str, Any]:
    # What tasks print stays in Ray's logs on their nodes; what they raise comes back.
    return {"log_to_driver": False, "logging_level": logging.ERROR}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
