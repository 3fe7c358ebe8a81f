"""Time of the batched graph features, beside plain NetworkX one graph at a time.

    python benchmarks/features.py [--rounds N] [--quick]

The same dense step graphs of 20 to 40 nodes, cut to the three strongest sources, go two ways:
    networkx   `networkx_reference`: NetworkX's own functions in a loop (the original's way)
    ours       `graph_features(graphs, "networkx")`: all graphs in padded stacks
They run in turns on one thread. Plain NetworkX is too slow for all graphs every round, so it gets a
fresh random sample of them each time, and seconds a graph are compared within a round. The largest
difference of any value is measured on such a sample too, and the seconds of our other sets of
features, which have no plain version, stand beside. Writes data/results/bench_features.json and its
claim; `--quick` only prints.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import torch
from measure import interleaved_seconds, median_with_interval, ratio_with_interval
from tqdm.auto import tqdm

from rg_helpers.artefacts import provenance, write_json
from rg_helpers.course.claims import claim_from_result, write_claims
from rg_helpers.course.folders import repository
from rg_helpers.features import FEATURES, graph_features
from rg_helpers.features.networkx_reference import networkx_reference
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows

SEED = 0
GRAPHS = 1000
SAMPLE = 60
ROUNDS = 9
FEWEST_NODES, MOST_NODES = 20, 40
TOP_K = 3
OTHER_SETS = ("dag", "spectra", "weisfeiler_lehman")
TARGET = ">= 50"


def build_graphs(count: int, seed: int = SEED) -> list[StepGraph]:
    """Random dense step graphs: a third premises, weights of a row from a Dirichlet(0.3).

    That is as uneven as attention is: a few sources carry most of a row, none is exactly zero.
    """
    generator = np.random.default_rng(seed)
    graphs = []
    for number in range(count):
        nodes = int(generator.integers(FEWEST_NODES, MOST_NODES + 1))
        weights = np.tril(generator.gamma(0.3, size=(nodes, nodes)), -1)
        premises = nodes // 3
        kinds = ["premise"] * premises + ["question"] + ["step"] * (nodes - premises - 2)
        graphs.append(
            StepGraph(
                normalise_rows(weights),
                (*kinds, "answer"),
                ("",) * nodes,
                "random",
                "",
                f"{number}",
            )
        )
    return graphs


def largest_difference(graphs: list[StepGraph]) -> tuple[float, str]:
    """Return the largest absolute difference of any metric from NetworkX, and which it is."""
    table = graph_features(graphs, "networkx", top_k=TOP_K, progress=False)
    worst = (0.0, "")
    for row, graph in enumerate(tqdm(graphs, desc="equality", disable=None)):
        for name, value in networkx_reference(graph, top_k=TOP_K).items():
            worst = max(worst, (abs(float(table[name].iloc[row]) - float(value)), name))
    return worst


def measure_speed(graphs: list[StepGraph], sample: int, rounds: int) -> dict:
    """Return seconds a graph of every contender and the speed-up of ours over NetworkX."""
    generator = np.random.default_rng(SEED + 1)

    def plain() -> None:
        for position in generator.choice(len(graphs), sample, replace=False):
            networkx_reference(graphs[position], top_k=TOP_K)

    def batched(name: str):
        return lambda: graph_features(graphs, name, top_k=TOP_K, progress=False)

    contenders = {"networkx": plain, "ours": batched("networkx")}
    contenders |= {name: batched(name) for name in OTHER_SETS}
    seconds = interleaved_seconds(contenders, rounds, "cpu")
    handled = {name: sample if name == "networkx" else len(graphs) for name in contenders}
    a_graph = {name: np.array(values) / handled[name] for name, values in seconds.items()}
    return {
        "seconds_a_graph": {name: median_with_interval(v) for name, v in a_graph.items()},
        "speedup_vs_networkx": ratio_with_interval(a_graph["networkx"], a_graph["ours"]),
    }


def show(row: dict) -> str:
    """The printed result."""
    ratio = row["speedup_vs_networkx"]
    times = ", ".join(
        f"{name} {1e3 * seconds['value']:.3f}" for name, seconds in row["seconds_a_graph"].items()
    )
    return (
        f"{ratio['value']:.1f} x faster than NetworkX [{ratio['low']:.1f}, {ratio['high']:.1f}], "
        f"largest difference {row['largest_difference']:.1e} ({row['of']}); ms a graph: {times}"
    )


def register_claim(path: Path, row: dict) -> None:
    """Write the ledger entry, read back from the result file."""
    statement = (
        f"{row['metrics']} NetworkX metrics of graphs of {FEWEST_NODES} to {MOST_NODES} nodes are "
        f"computed {row['speedup_vs_networkx']['value']:.0f} x faster than by plain NetworkX, "
        "values equal to 1e-6"
    )
    if row["largest_difference"] > 1e-6:
        raise RuntimeError(f"values differ by {row['largest_difference']} ({row['of']}): no claim")
    claim = claim_from_result(
        id="bench.features.speedup_vs_networkx",
        statement=statement,
        source=path.relative_to(repository()),
        pointer="/speedup_vs_networkx",
        unit="rounds",
        target=TARGET,
    )
    write_claims([claim])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, help=f"timed rounds (default {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="100 graphs, 1 round, print only")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    load = os.getloadavg()
    graphs = build_graphs(100 if options.quick else GRAPHS)
    sample = 5 if options.quick else SAMPLE
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    chosen = np.random.default_rng(SEED).choice(len(graphs), sample, replace=False)
    difference, name = largest_difference([graphs[position] for position in chosen])
    row = {
        "graphs": len(graphs),
        "nodes": [FEWEST_NODES, MOST_NODES],
        "top_k": TOP_K,
        "networkx_sample": sample,
        "metrics": sum(feature.set == "networkx" for feature in FEATURES.values()),
        "largest_difference": difference,
        "of": name,
        **measure_speed(graphs, sample, rounds),
    }
    print(show(row))
    if options.quick:
        return 0
    command = " ".join(["python benchmarks/features.py", *(arguments or sys.argv[1:])])
    result = {
        "provenance": provenance(command, SEED, "cpu"),
        "threads": 1,
        "load_average_before": load[0],
        **row,
    }
    path = write_json(repository() / "data" / "results" / "bench_features.json", result)
    register_claim(path, row)
    print(f"written: {path.relative_to(repository())} and its claim")
    return 0


if __name__ == "__main__":
    # Threads of the linear algebra are set when it is loaded: start again with one, if need be.
    if os.environ.get("OMP_NUM_THREADS") != "1":
        os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        os.execv(sys.executable, [sys.executable, *sys.argv])
    raise SystemExit(main())
