"""How many bytes a piece of work needs at its peak, beyond what was held before it."""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import torch


def peak_extra_bytes(run: Callable[[], object], device: str) -> int:
    """Bytes that `run` needs at its peak beyond what is held before it starts.

    On a GPU from torch's allocator. On a CPU from the kernel's high-water mark of resident memory,
    reset just before: call it in a process that has done nothing else but a small warm-up.
    """
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    before = _reset_high_water_mark()
    run()
    return _high_water_mark() - before


def _reset_high_water_mark() -> int:
    """Start a new peak where Linux allows it; returns the bytes that count as 'before'."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _high_water_mark()
    return psutil.Process().memory_info().rss


def _high_water_mark() -> int:
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
