"""Killing a node of a test's cluster while a task runs on it, for certain.

A task calls `wait_to_be_killed`: it says where it is and waits, on the head too, so that there is
work left for the other node however late it comes up. `Killer` waits for a task there, kills the
node with SIGKILL and, once the task's process is gone, lets everybody go on.
"""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import psutil

SECONDS = 240.0  # for a busy machine: the wait ends when all is well
RELEASED = "released"


def wait_to_be_killed(folder: str, name: str) -> None:
    """Write down that `name` has begun on this node; wait until the other node was killed."""
    import os
    import uuid

    import ray

    here = ray.get_runtime_context().get_node_id()
    begun = Path(folder) / f"{uuid.uuid4().hex}.begun"
    begun.with_suffix(".partial").write_text(f"{name} {here} {os.getpid()}")
    begun.with_suffix(".partial").rename(begun)
    deadline = time.monotonic() + SECONDS
    while not (Path(folder) / RELEASED).exists():
        if time.monotonic() > deadline:
            raise TimeoutError("no node was killed")
        time.sleep(0.05)


class Killer(threading.Thread):
    """Kills `node` as soon as a task waits there; `begun` then tells who began where."""

    def __init__(self, cluster, node, folder: Path, head: str) -> None:
        super().__init__(daemon=True)
        self.cluster, self.node, self.folder, self.head = cluster, node, folder, head
        self.killed: str | None = None  # the task that was killed

    def run(self) -> None:
        deadline = time.monotonic() + SECONDS
        while not self.killed and time.monotonic() < deadline:
            for name, node, pid in self.begun():
                if node != self.head:
                    self.cluster.remove_node(self.node, allow_graceful=False)
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process = psutil.Process(int(pid))
                        process.kill()  # its raylet is dead; a process that lags must not answer
                        while process.status() != psutil.STATUS_ZOMBIE:  # until it is gone
                            time.sleep(0.05)
                    self.killed = name
                    break
            time.sleep(0.05)
        (self.folder / RELEASED).touch()

    def begun(self) -> list[list[str]]:
        """Return (name, node, process) of every begin, in no order."""
        return [path.read_text().split() for path in self.folder.glob("*.begun")]
