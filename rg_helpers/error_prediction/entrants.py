"""Who takes part by default: baselines alone and joined, every graph family, increments, controls.

Names are lower-case words, as in the ledger. Increments are stacked (`stacked.Stacked`), with and
without the graph alike, so that they differ by two columns of log-odds:

- `core`: length, steps, log-probability, entropy and the hidden-state probe;
- `core_<method>`: the same and the method's graphs;
- `every_baseline`: `core`, the pre-generation probe, the lexical model and self-consistency;
- `every_baseline_model_graphs`: the same and all graphs that a model draws;
- `every_baseline_graphs`: the same and all graphs, those of the words among them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rg_helpers.error_prediction.evaluation import Entrant, joined
from rg_helpers.error_prediction.graph_columns import agreement_tables
from rg_helpers.error_prediction.hidden_states import Place
from rg_helpers.error_prediction.inputs import TEXT, Inputs
from rg_helpers.error_prediction.lexical import lexical_predictor
from rg_helpers.error_prediction.predictors import boosting, logistic, probe
from rg_helpers.error_prediction.stacked import Stacked, stack_rows
from rg_helpers.error_prediction.step_numbers import over_steps
from rg_helpers.statistics import cluster_numbers

LAYER = re.compile(r"\blayer \d")
WIDE = 0.05  # C of logistic regressions on hundreds of columns
MOST_LAYERS = 4  # of a probe within a stack: more are thinned out evenly
CORE, EVERY = "core", "every_baseline"
TITLES = {
    "all_baselines": "all numbers joined",
    "self_consistency": "self-consistency of the samples",
    "lexical": "words of the solution (TF-IDF)",
    "question_probe": "probe before the solution",
    "probe": "probe on hidden states",
    CORE: "length + log-probability + probe",
    EVERY: "every baseline",
    f"{EVERY}_model_graphs": "every baseline + the model's graphs",
    f"{EVERY}_graphs": "every baseline + all graphs",
    "graphs_logistic": "all graphs (logistic)",
    "graphs_boosting": "all graphs (boosting)",
    "agreement_logistic": "model's and words' graphs agree (logistic)",
    "agreement_boosting": "model's and words' graphs agree (boosting)",
}


def default_entrants(
    inputs: Inputs,
    *,
    graph_networks: Sequence[str] = ("gcn", "gin", "gatv2"),
    epochs: int = 30,
    seed: int = 0,
) -> list[Entrant]:
    """Return every entrant that the inputs allow, in the order of the report.

    `graph_networks` read the graphs of the first method (see `GraphNetworkClassifier`); they need
    torch-geometric.
    """
    return [
        *baseline_entrants(inputs, seed),
        *graph_entrants(inputs, seed),
        *network_entrants(inputs, graph_networks, epochs, seed),
        *increment_entrants(inputs, seed),
        *control_entrants(inputs),
    ]


def baseline_entrants(inputs: Inputs, seed: int = 0) -> list[Entrant]:
    """Return every baseline alone and all numbers joined."""
    numbers = inputs.numbers
    found = [Entrant(name, "baseline", numbers.named([name]), logistic()) for name in numbers.names]
    found.append(Entrant("all_baselines", "baseline", numbers.values, logistic()))
    if inputs.disagreement is not None:
        column = inputs.disagreement[:, None]
        found.append(Entrant("self_consistency", "baseline", column, logistic()))
    found.append(Entrant("lexical", "baseline", list(inputs.texts), lexical_predictor(seed)))
    if inputs.states is not None:
        for name, place in (("question_probe", "question"), ("probe", "solution_mean")):
            layers = inputs.states.by_layer(place)
            found.append(Entrant(name, "baseline", layers, probe()))
    return found


def graph_entrants(inputs: Inputs, seed: int = 0) -> list[Entrant]:
    """Return every graph family alone, by logistic regression and by boosting."""
    found = []
    sources = {name: family_columns(inputs, name) for name in inputs.blocks}
    if len(sources) > 1:
        sources["agreement"] = agreement_columns(inputs)
        sources["graphs"] = joined(*sources.values())
    for name, values in sources.items():
        found += [
            Entrant(f"{name}_logistic", "graph", values, logistic(WIDE)),
            Entrant(f"{name}_boosting", "graph", values, boosting(seed)),
        ]
    return found


def network_entrants(
    inputs: Inputs, architectures: Sequence[str], epochs: int = 30, seed: int = 0
) -> list[Entrant]:
    """Return graph networks on the first method's graphs, their node features included."""
    if not architectures:
        return []
    try:
        from rg_helpers.error_prediction.graph_network import GraphNetworkClassifier, graph_input
    except ImportError as error:
        raise ValueError(
            "graph networks need torch-geometric: pip install rg_helpers[prediction], or ask for "
            "none (graph_networks=(), `rgh predict ... --networks`)"
        ) from error

    block = next(iter(inputs.blocks.values()))
    graphs = [graph_input(graph) for graph in block.graphs]
    return [
        Entrant(name, "graph", graphs, GraphNetworkClassifier(name, epochs=epochs, seed=seed))
        for name in architectures
    ]


def increment_entrants(inputs: Inputs, seed: int = 0) -> list[Entrant]:
    """Return what is known without graphs, and the same with every family of graphs."""
    problems = cluster_numbers(inputs.traces.problem_ids)
    core = [(inputs.numbers.values, logistic())]
    every = []
    if inputs.states is not None:
        core += [(states, probe()) for states in _layers(inputs, "solution_mean")]
        every += [(states, probe()) for states in _layers(inputs, "question")[-1:]]
    every += [*core, (list(inputs.texts), lexical_predictor(seed))]
    if inputs.disagreement is not None:
        every.append((inputs.disagreement[:, None], logistic()))
    graphs = {name: graph_sources(inputs, name, seed) for name in inputs.blocks}

    def stack(name: str, sources: Sequence[tuple], over: str | None = None) -> Entrant:
        rows = stack_rows(problems, *(values for values, _ in sources))
        predictor = Stacked([predictor for _, predictor in sources], seed=seed)
        kind = "baseline" if over is None else "increment"
        return Entrant(name, kind, rows, predictor, over)

    found = [stack(CORE, core)]
    for name, sources in graphs.items():
        found.append(stack(f"{CORE}_{name}", [*core, *sources], CORE))
    drawn = [source for name in graphs if name != TEXT for source in graphs[name]]
    found.append(stack(EVERY, every))
    if drawn:
        found.append(stack(f"{EVERY}_model_graphs", [*every, *drawn], EVERY))
    everything = [*every, *drawn, *graphs.get(TEXT, ())]
    return [*found, stack(f"{EVERY}_graphs", everything, EVERY)]


def graph_sources(inputs: Inputs, method: str, seed: int = 0) -> list[tuple[np.ndarray, Any]]:
    """Return what a graph family brings into a stack: columns with their classifiers.

    All columns go to a logistic regression, those of the graph itself, without the single layers
    and heads, to boosting, which would take long on all of them.
    """
    columns = inputs.columns[method]
    own = [name for name in columns["steps"].names if not LAYER.search(name)]
    blocks = [columns["wiring"].values, columns["steps"].named(own)]
    narrow = joined(*blocks, *([inputs.text.values] if method == TEXT else []))
    return [(family_columns(inputs, method), logistic(WIDE)), (narrow, boosting(seed))]


def control_entrants(inputs: Inputs) -> list[Entrant]:
    """Return, a method, the features of rewired graphs, and those of the real ones over them."""
    found = []
    for name, columns in inputs.columns.items():
        null = f"{name}_rewired"
        found += [
            Entrant(null, "control", columns["rewired"].values, logistic(WIDE)),
            Entrant(f"{name}_wiring", "control", columns["wiring"].values, logistic(WIDE), null),
        ]
    return found


def family_columns(inputs: Inputs, method: str) -> np.ndarray:
    """Return all columns of one graph family: its graphs' features and its steps' numbers.

    The text graph's family holds the text's own numbers as well.
    """
    columns = inputs.columns[method]
    blocks = [columns["wiring"].values, columns["steps"].values]
    return joined(*blocks, *([inputs.text.values] if method == TEXT else []))


def agreement_columns(inputs: Inputs) -> np.ndarray:
    """Return how far the model's graphs and the text graph agree, summed up over steps."""
    tables = agreement_tables(inputs.blocks, TEXT)
    return over_steps(tables, [name for name in inputs.blocks if name != TEXT])[0]


def title(name: str) -> str:
    """Return what a reader calls an entrant."""
    if name in TITLES:
        return TITLES[name]
    if name.startswith(f"{CORE}_"):
        return f"{TITLES[CORE]} + {name.removeprefix(CORE + '_').replace('_', ' ')} graphs"
    for ending, words in _ENDINGS.items():
        if name.endswith(ending):
            return f"{name.removesuffix(ending).replace('_', ' ')} graphs{words}"
    return {"gcn": "GCN", "gin": "GIN", "gatv2": "GATv2"}.get(name, name.replace("_", " "))


_ENDINGS: Mapping[str, str] = {
    "_logistic": " (logistic)",
    "_boosting": " (boosting)",
    "_rewired": ", rewired",
    "_wiring": ", wiring alone",
}


def _layers(inputs: Inputs, place: Place) -> list[np.ndarray]:
    """Return the states of at most `MOST_LAYERS` layers, evenly spaced, the last among them."""
    layers = list(inputs.states.by_layer(place).values())
    wanted = np.linspace(len(layers) - 1, 0, min(MOST_LAYERS, len(layers))).round()
    return [layers[int(number)] for number in sorted(wanted)]
