"""Watch and end a process together with everything it started."""

from __future__ import annotations

import contextlib
import os
import threading
import time

import psutil

GIB = 2**30


def family(pid: int) -> list[psutil.Process]:
    """Return the process and all its living descendants; empty when it is gone."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def resident_gib(processes: list[psutil.Process]) -> float:
    """Return the resident memory of `processes` together, in GiB; dead ones count nothing."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total / GIB


def kill(processes: list[psutil.Process], wait_seconds: float = 5.0) -> None:
    """Kill `processes` and wait until they are gone.

    The list is taken before the first is killed, since a kernel lives in a session of its own
    and loses its place in the family with its parent. psutil compares start times, so a
    recycled process id is never hit.
    """
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=wait_seconds)


def die_with_parent(parent: int, poll_seconds: float = 0.5) -> None:
    """Let this process kill its descendants and itself once process `parent` is not its parent.

    A runner killed with SIGKILL cannot clean up; its workers notice through the changed
    parent id (portable, unlike Linux's parent-death signal).
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(poll_seconds)
        kill(family(os.getpid())[1:])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="die-with-parent").start()
