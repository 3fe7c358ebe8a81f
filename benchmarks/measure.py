"""Fair timing and trustworthy peak memory, shared by the benchmarks.

Contenders are timed in turns, round by round, and compared within a round, so that a machine that
slows down for a while slows all of them down. Peak memory is taken in a fresh child process that
does one thing only.
"""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import psutil
import torch

RESAMPLES = 2000


def interleaved_seconds(
    contenders: Mapping[str, Callable[[], object]], rounds: int, device: str, warm_ups: int = 1
) -> dict[str, list[float]]:
    """Time every contender once a round, in turns; returns seconds per round for each name."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(-warm_ups, rounds):
        for name, run in contenders.items():
            _settle(device)
            start = time.perf_counter()
            run()
            _settle(device)
            if turn >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def median_with_interval(values: Sequence[float], seed: int = 0) -> dict[str, float | int]:
    """Median with the 95 % percentile bootstrap interval over the rounds (Efron, 1979)."""
    values = np.asarray(values, dtype=float)
    draws = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(np.median(values[draws], axis=1), [2.5, 97.5])
    return {
        "value": float(np.median(values)),
        "low": float(low),
        "high": float(high),
        "n": len(values),
    }


def ratio_with_interval(above: Sequence[float], below: Sequence[float]) -> dict[str, float | int]:
    """Median of the ratios taken within each round, with its interval."""
    return median_with_interval(np.asarray(above) / np.asarray(below))


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


def json_of_child(script: Path, arguments: Sequence[str]) -> dict:
    """Run `script` in a fresh interpreter and return the JSON object on its last line of output.

    Raises RuntimeError with the child's error output when it fails or is killed.
    """
    done = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"{script.name} {' '.join(arguments)} ended with code {done.returncode} (negative: "
            f"killed, most often for want of memory):\n{done.stderr[-2000:]}"
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


def free_bytes(device: str) -> int:
    """Bytes that a new allocation could still take."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    return psutil.virtual_memory().available


def _settle(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


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
