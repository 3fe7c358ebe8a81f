"""Fair timing and trustworthy peak memory, shared by the benchmarks.

Contenders are timed in turns, round by round, and compared within a round, so that a machine that
slows down for a while slows all of them down. Peak memory is taken in a fresh child process that
does one thing only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import psutil
import torch

from rg_helpers.peak_memory import peak_extra_bytes

__all__ = [
    "free_bytes",
    "interleaved_seconds",
    "json_of_child",
    "median_with_interval",
    "peak_extra_bytes",
    "ratio_with_interval",
]

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
