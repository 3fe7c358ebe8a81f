"""Peak memory of scoring a file of n solutions, beside one of 4 n: it must not grow with the file.

    python benchmarks/score_memory.py [--solutions N] [--repeats N] [--quick]

A model of the course's shape with random weights reads reference solutions of generated problems
and draws their attention and text graphs, as `rgh score` does: graphs, features, baselines and
steps are written chunk by chunk. Each file is scored in a fresh process after a small one to warm
up; what counts is the peak of resident memory beyond what was held before. Both files are several
chunks long, as `rgh score` cuts them. A peak is the largest of many noisy values, and the longer
file has more of them; therefore resident memory is also read at every chunk, and its trend over the
longer file is reported (the first two chunks warm up). A last figure, of fewer repeats, does the
same with the whole file in one chunk, which is what a program does that reads its file at once.
Writes data/results/bench_score_memory.json and its claim; `--quick` only prints.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from measure import json_of_child, median_with_interval, peak_extra_bytes, ratio_with_interval

from rg_helpers.artefacts import provenance, write_json
from rg_helpers.course.claims import claim_from_result, write_claims
from rg_helpers.course.folders import repository
from rg_helpers.language_model import new_course_model
from rg_helpers.problems import FAMILIES, generate_problem
from rg_helpers.scoring import chunks, draw
from rg_helpers.scoring.draw import draw_solutions
from rg_helpers.scoring.solution_file import read_solutions
from rg_helpers.tokenizer import build_tokenizer

SEED = 0
SOLUTIONS = 512
TIMES = 4
REPEATS = {"chunks": 5, "at_once": 1}  # peaks of equal processes differ: see the result file
WARM_UP = 16
WARM_CHUNKS = 2
OPERATIONS = 4
MEMORY = 4.0  # GiB, the bound that batches keep
WAYS = {"chunks": chunks.CHUNK_SOLUTIONS, "at_once": 10**9}
TARGET = "<= 1.2"


def write_solutions(path: Path, count: int) -> Path:
    """Write reference solutions as plain text, the three families in turns, right and labelled."""
    with open(path, "w", encoding="utf-8") as file:
        for number in range(count):
            problem = generate_problem(FAMILIES[number % 3], number, OPERATIONS, distractors=2)
            row = {"id": str(number), "prompt": problem.prompt, "solution": problem.solution}
            file.write(json.dumps(row | {"family": problem.family}) + "\n")
    return path


def memory_of_file(count: int, way: str) -> dict:
    """Scoring a file of `count` solutions in this process: peak extra `bytes`, `resident` a chunk.

    Call it once a process.
    """
    torch.set_num_threads(1)
    chunks.CHUNK_SOLUTIONS = WAYS[way]
    chunks.CHUNK_TOKENS = chunks.CHUNK_TOKENS if way == "chunks" else 10**12
    model, tokenizer = new_course_model(SEED), build_tokenizer()
    resident, put_together = [], draw.put_together

    def watched(*given: Any) -> Any:
        resident.append(psutil.Process().memory_info().rss)
        return put_together(*given)

    draw.put_together = watched
    with tempfile.TemporaryDirectory() as folder:

        def score(name: str, path: Path) -> None:
            solutions = read_solutions(path, tokenizer)
            draw_solutions(
                solutions, model, Path(folder) / name, memory=MEMORY, probes=False, progress=False
            )

        score("small", write_solutions(Path(folder) / "small.jsonl", WARM_UP))
        path = write_solutions(Path(folder) / "file.jsonl", count)
        resident.clear()
        peak = peak_extra_bytes(lambda: score("out", path), "cpu")
        return {"bytes": peak, "resident": resident}


def trend(resident: list[int]) -> float:
    """Megabytes that resident memory grows in 1,000 solutions: least squares over the chunks."""
    steady = np.array(resident[WARM_CHUNKS:]) / 1e6
    read = np.arange(len(steady)) * WAYS["chunks"] / 1000
    return float(np.polyfit(read, steady, 1)[0])


def measure_growth(solutions: int, repeats: Mapping[str, int]) -> dict:
    """Return, a way, the peaks of both files and their ratio, each repeat in fresh processes."""
    found = {}
    for way, times in repeats.items():
        peaks: dict[int, list[int]] = {solutions: [], TIMES * solutions: []}
        trends = []
        for _ in range(times):
            for count, values in peaks.items():
                child = json_of_child(Path(__file__), ["--child", str(count), way])
                values.append(child["bytes"])
            if len(child["resident"]) > WARM_CHUNKS + 1:  # of the longer file
                trends.append(trend(child["resident"]))
        small, large = (np.array(values, float) for values in peaks.values())
        found[way] = {
            "megabytes_of_n": (small / 1e6).tolist(),
            "megabytes_of_4n": (large / 1e6).tolist(),
            "ratio": ratio_with_interval(large, small),
        }
        if trends:
            found[way]["megabytes_per_1000"] = median_with_interval(trends)
    return found


def show(way: str, row: dict, solutions: int) -> str:
    """The printed result of one way."""
    ratio = row["ratio"]
    peaks = " and ".join(
        f"{np.median(row[f'megabytes_of_{name}']):.0f} MB of {count}"
        for name, count in (("n", solutions), ("4n", TIMES * solutions))
    )
    interval = f"[{ratio['low']:.2f}, {ratio['high']:.2f}]"
    text = f"{way}: {peaks} solutions, {ratio['value']:.2f} x {interval}"
    if "megabytes_per_1000" in row:
        slope = row["megabytes_per_1000"]
        text += f"; between chunks {slope['value']:+.1f} MB per 1,000 solutions "
        text += f"[{slope['low']:+.1f}, {slope['high']:+.1f}]"
    return text


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--solutions", type=int, help=f"n (default {SOLUTIONS})")
    parser.add_argument(
        "--repeats", type=int, help=f"processes a file, for chunks (default {REPEATS['chunks']})"
    )
    parser.add_argument("--quick", action="store_true", help="n = 48, once, print only")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(memory_of_file(int(options.child[0]), options.child[1])))
        return 0
    load = os.getloadavg()
    solutions = options.solutions or (48 if options.quick else SOLUTIONS)
    repeats = {"chunks": 1} if options.quick else dict(REPEATS)
    if options.repeats:
        repeats["chunks"] = options.repeats
    started = time.perf_counter()
    rows = measure_growth(solutions, repeats)
    for way, row in rows.items():
        print(show(way, row, solutions))
    if options.quick:
        return 0
    command = " ".join(["python benchmarks/score_memory.py", *(arguments or sys.argv[1:])])
    result = {
        "provenance": provenance(command, SEED, "cpu"),
        "solutions": solutions,
        "chunk_solutions": WAYS["chunks"],
        "memory_bound_gib": MEMORY,
        "load_average_before": load[0],
        "seconds": time.perf_counter() - started,
        **rows,
    }
    path = write_json(repository() / "data" / "results" / "bench_score_memory.json", result)
    claim = claim_from_result(
        id="bench.score.memory_4n_vs_n",
        statement=f"scoring a file of {TIMES * solutions} solutions takes "
        f"{rows['chunks']['ratio']['value']:.2f} x the peak memory of one of {solutions}",
        source=path.relative_to(repository()),
        pointer="/chunks/ratio",
        unit="pairs of processes",
        target=TARGET,
    )
    claims = [claim]
    if "megabytes_per_1000" in rows["chunks"]:
        claims.append(
            claim_from_result(
                id="bench.score.megabytes_per_1000_solutions",
                statement="from chunk to chunk of a file the memory of `rgh score` grows by "
                f"{rows['chunks']['megabytes_per_1000']['value']:.1f} MB per 1,000 solutions",
                source=path.relative_to(repository()),
                pointer="/chunks/megabytes_per_1000",
                unit="processes",
            )
        )
    write_claims(claims)
    print(f"written: {path.relative_to(repository())} and its claims")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
