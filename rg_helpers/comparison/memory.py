"""Peak memory of drawing one trace's graph, taken in a fresh process that does nothing else.

`python -m rg_helpers.comparison.memory JSON` is that process; `peak_megabytes` starts it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

from rg_helpers.comparison.solutions import DISTRACTORS, OPERATIONS, fit_data, fit_problems
from rg_helpers.graphs.methods import Given, find_method
from rg_helpers.language_model import load_model
from rg_helpers.peak_memory import peak_extra_bytes
from rg_helpers.problems import FAMILIES, generate_problem
from rg_helpers.traces import gold_trace

FIT_TRACES = 6


def peak_megabytes(method: str, model: str, device: str = "cpu", seed: int = 0) -> dict[str, Any]:
    """Measure the peak of `method` on one long trace in a fresh child process.

    Returns `megabytes` above what was held before, and the trace's `tokens` and `nodes`. Raises
    `RuntimeError` with the child's words when it fails.
    """
    request = json.dumps({"method": method, "model": model, "device": device, "seed": seed})
    done = subprocess.run(
        [sys.executable, "-m", "rg_helpers.comparison.memory", request],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"measuring the memory of {method} ended with code {done.returncode} (negative: "
            f"killed, most often for want of memory):\n{done.stderr[-2000:]}"
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure_here(method: str, model: str, device: str, seed: int) -> dict[str, Any]:
    """Measure in this process: a small trace to warm up, then the longest gold solution."""
    way = find_method(method)
    loaded, tokenizer = load_model(model, device=device)
    sizes = {"operations": OPERATIONS[1], "distractors": DISTRACTORS[1], "split": "test"}
    long = [generate_problem(family, seed, **sizes) for family in FAMILIES]
    traces = sorted((gold_trace(problem, tokenizer) for problem in long), key=len)
    small = fit_problems(traces[-1].family, FIT_TRACES, seed)
    problems = {problem.problem_id: problem for problem in (*long, *small)}
    fit = fit_data(tokenizer, small)
    given = Given(traces[-1:], loaded, tokenizer, fit, problems, batch_size=1, progress=False)
    fitted = way.prepare(given)
    way.scores(replace(given, traces=fit.traces[:1]), fitted)
    peak = peak_extra_bytes(lambda: way.scores(given, fitted), device)
    return {
        "megabytes": peak / 1e6,
        "tokens": len(traces[-1]),
        "nodes": len(traces[-1].nodes),
        "family": traces[-1].family,
    }


if __name__ == "__main__":
    print(json.dumps(measure_here(**json.loads(sys.argv[1]))))
