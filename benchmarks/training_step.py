"""Time and peak memory of a graph-aware training step, beside cross-entropy and the original's way.

    python benchmarks/training_step.py [--device cpu|cuda] [--dtype float32|bfloat16] [--quick]

One step is forward, backward, gradient clipping and AdamW, on 8 traces of 512 random tokens, by the
trainers that are used for training, on one model:
    ce                  transformers' own Trainer, cross-entropy alone (the floor)
    no_term             GraphAwareTrainer without a graph term
    alignment, disorder, error_feedback, koleo, entropy_only
                        each term on every head of every layer
    alignment_two_heads alignment of two heads of one layer: only that layer is tapped
    together            the four graph terms at once
    original            the original study's step (`detached_graph_step.py`), last layer alone
    original_all_heads  its way for what our terms read: every head of every layer
They run in turns, and ratios are taken within a round. Memory is measured in one fresh process
each. Writes data/results/bench_training_step_<cpu|gpu>.json and its claims; `--quick` only prints.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers
from detached_graph_step import DetachedGraphStep
from gradient_graph import GPU_SHAPE
from measure import (
    interleaved_seconds,
    json_of_child,
    median_with_interval,
    peak_extra_bytes,
    ratio_with_interval,
)

from rg_helpers.artefacts import provenance, write_json
from rg_helpers.course.claims import claim_from_result, write_claims
from rg_helpers.course.folders import repository
from rg_helpers.graph_loss import graph_term
from rg_helpers.graph_loss.disorder import MEASURES, DisorderTarget
from rg_helpers.graph_loss.error_predictor import GraphErrorPredictor, PredictorRecord
from rg_helpers.graph_loss.koleo import KoLeoBuffer
from rg_helpers.graph_loss.soft_features import SOFT_FEATURES
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.language_model import course_config
from rg_helpers.traces import Node, Trace
from rg_helpers.training import GraphAwareTrainer, GraphDataset, TrainingSettings, WeightedTerm

SEED = 0
TOKENS, BATCH = 512, 8
TOKENS_PER_NODE = 16
ROUNDS = 11
LEARNING_RATE = 1e-9  # the weights must stay what they are while they are timed
TERMS = ("alignment", "disorder", "error_feedback", "koleo", "entropy_only")
METHODS = (
    "ce",
    "no_term",
    *TERMS,
    "alignment_two_heads",
    "together",
    "original",
    "original_all_heads",
)
TARGETS = {"time_vs_ce": "<= 1.25", "speedup_vs_original": ">= 10", "memory_vs_ce": "<= 1.3"}
STATEMENTS = {
    "time_vs_ce": "a training step with {term} takes {value:.2f} x the time of a cross-entropy "
    "step",
    "speedup_vs_original": "a training step with {term} is {value:.1f} x faster than the original "
    "study's step",
    "memory_vs_ce": "the peak memory of a training step with {term} is {value:.2f} x that of a "
    "cross-entropy step",
}

Step = Callable[[], float]


def build_model(device: str) -> transformers.PreTrainedModel:
    """On the CPU the course model's shape, on a GPU that of Qwen2.5-0.5B; float32, random."""
    torch.manual_seed(SEED)
    config = course_config() if device == "cpu" else transformers.Qwen2Config(**GPU_SHAPE)
    with torch.device(device):
        return transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")


def build_data(vocabulary: int, tokens: int, count: int) -> GraphDataset:
    """Random traces of equal length, two fifths of the nodes premises, with random gold graphs."""
    generator = np.random.default_rng(SEED)
    traces, graphs = [], []
    for number in range(count):
        nodes = (tokens - 1) // TOKENS_PER_NODE
        given = max(2, round(0.4 * nodes))
        kinds = ["premise"] * (given - 1) + ["question"] + ["step"] * (nodes - given - 1)
        kinds = (*kinds, "answer")
        ends = [1 + TOKENS_PER_NODE * (place + 1) for place in range(nodes)]
        ends[-1] = tokens
        spans = tuple(
            Node(kind, f"{kind} {place}", 1 + TOKENS_PER_NODE * place, end)
            for place, (kind, end) in enumerate(zip(kinds, ends, strict=True))
        )
        ids = generator.integers(0, vocabulary, tokens).tolist()
        name = f"random {number}"
        traces.append(Trace(name, name, "random", "p", "s", ids, spans[given].start, spans))
        weights = np.tril(generator.random((nodes, nodes)) < 0.1, -1).astype(float)
        weights[given:, 0] = 1
        weights[:given] = 0
        rows = normalise_rows(weights)
        graphs.append(StepGraph(rows, kinds, [s.text for s in spans], "random", "", name))
    return GraphDataset(traces, graphs)


def build_terms(name: str, model: transformers.PreTrainedModel) -> list[WeightedTerm]:
    """The terms of a contender, as a training run would give them, on random fits."""
    layers, width = model.config.num_hidden_layers, model.config.num_attention_heads
    every = tuple((layer, head) for layer in range(layers) for head in range(width))
    if name == "alignment_two_heads":
        middle = layers // 2
        return [WeightedTerm(graph_term("alignment", heads=((middle, 0), (middle, 1))), 0.1)]
    if name == "together":
        return [term for one in TERMS[:4] for term in build_terms(one, model)]
    if name not in TERMS:
        return []
    rows = len(every)
    choices: dict[str, dict] = {
        "alignment": {"heads": every},
        "entropy_only": {"heads": every},
        "koleo": {"heads": every, "buffer": KoLeoBuffer.empty(64)},
        "disorder": {},
        "error_feedback": {},
    }
    if name == "disorder":
        tables = [((value,) * len(MEASURES),) * rows for value in (0.5, 0.0, 0.1)]
        target = DisorderTarget(every, tuple(MEASURES), *tables, log_written=3.0, traces=1)
        choices["disorder"] = {"target": target}
    if name == "error_feedback":
        record = PredictorRecord(
            every,
            tuple(SOFT_FEATURES),
            (layers, width),
            width=16,
            problem_ids=(),
            traces=0,
            base_rate=0.5,
            auroc=None,
            folds=0,
            epochs=0,
            learning_rate=0.0,
            weight_decay=0.0,
            seed=SEED,
        )
        with torch.random.fork_rng():
            torch.manual_seed(SEED)
            choices["error_feedback"] = {"predictor": GraphErrorPredictor(record).frozen()}
    return [WeightedTerm(graph_term(name, **choices[name]), 0.1)]


class Contenders:
    """One model, one optimiser, one batch; `step(name)` is one training step of a contender."""

    def __init__(self, device: str, dtype: str, tokens: int, batch: int) -> None:
        self.model = build_model(device).train()
        self.data = build_data(self.model.config.vocab_size, tokens, batch)
        self.folder = tempfile.TemporaryDirectory()
        settings = TrainingSettings(
            batch_size=batch,
            learning_rate=LEARNING_RATE,
            bf16=dtype == "bfloat16",
            cpu=device == "cpu",
        )
        self.arguments = settings.arguments(self.folder.name)
        self.trainers: dict[str, transformers.Trainer] = {}
        parameters = self.model.parameters()
        self.optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, fused=True)
        ours = self.trainer("no_term")
        ours.accelerator.prepare_model(self.model)  # autocast, where asked for
        self.batch = ours._prepare_inputs(ours.data_collator(list(self.data)))
        self.detached = {
            name: DetachedGraphStep(self.model.config.hidden_size, name != "original").to(device)
            for name in ("original", "original_all_heads")
        }

    def trainer(self, name: str) -> transformers.Trainer:
        """The trainer of a contender, made when it is first asked for."""
        if name not in self.trainers:
            if name == "ce":
                made = transformers.Trainer(self.model, self.arguments, train_dataset=self.data)
            else:
                terms = build_terms(name, self.model)
                made = GraphAwareTrainer(self.model, self.arguments, self.data, terms=terms)
            self.trainers[name] = made
        return self.trainers[name]

    def step(self, name: str) -> float:
        """Forward, backward, clipping, update: the loss."""
        if name in self.detached:
            plain, graph = self.detached[name].loss(self.model, self.batch)
            loss = plain + graph
            loss.backward()
        else:
            loss = self._trainer_step(self.trainer(name), name == "ce")
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()

    def _trainer_step(self, trainer: transformers.Trainer, plain: bool) -> torch.Tensor:
        batch = self.batch
        if plain:
            batch = {name: batch[name] for name in ("input_ids", "labels")}
        samples, items = trainer.get_batch_samples(iter([batch]), 1, trainer.args.device)
        loss = trainer.training_step(self.model, samples[0], items)
        trainer.callback_handler.on_pre_optimizer_step(trainer.args, trainer.state, trainer.control)
        return loss


def measure_memory(method: str, tokens: int, batch: int, device: str, dtype: str) -> int:
    """Peak extra bytes of one step, to be run in a process of its own.

    The first step has made gradients and moments before, so that the peak is of the step alone.
    """
    contenders = Contenders(device, dtype, 2 * TOKENS_PER_NODE + 33, 2)
    contenders.step(method)
    large = build_data(contenders.model.config.vocab_size, tokens, batch)
    ours = contenders.trainer("no_term")
    contenders.batch = ours._prepare_inputs(ours.data_collator(list(large)))
    return peak_extra_bytes(lambda: contenders.step(method), device)


def measure(
    tokens: int, batch: int, rounds: int, device: str, dtype: str, memory: bool = True
) -> dict:
    """One row of the result: seconds, ratios and peak memory of every contender."""
    contenders = Contenders(device, dtype, tokens, batch)
    losses = {name: contenders.step(name) for name in METHODS}
    steps: dict[str, Step] = {name: lambda name=name: contenders.step(name) for name in METHODS}
    seconds = interleaved_seconds(steps, rounds, device)
    row: dict = {
        "tokens": tokens,
        "batch": batch,
        "nodes": len(contenders.data[0].kinds),
        "first_losses": losses,
        "original_graph_has_gradient": contenders.detached["original"]
        .loss(contenders.model, contenders.batch)[1]
        .requires_grad,
        "seconds": {name: median_with_interval(values) for name, values in seconds.items()},
        "time_vs_ce": _ratios(seconds, lambda name: (seconds[name], seconds["ce"])),
    }
    ours = [name for name in METHODS if name != "ce" and not name.startswith("original")]
    for original, figure in (
        ("original", "speedup_vs_original"),
        ("original_all_heads", "speedup_vs_original_all_heads"),
    ):
        row[figure] = {name: ratio_with_interval(seconds[original], seconds[name]) for name in ours}
    # What the graph adds to a step, as a share of what it adds in the original's way.
    row["added_time_vs_original"] = {
        name: median_with_interval(_added(seconds, name) / _added(seconds, "original"))
        for name in ours
    }
    if memory:
        arguments = ["--tokens", str(tokens), "--batch", str(batch)]
        arguments += ["--device", device, "--dtype", dtype]
        peaks = {
            name: json_of_child(Path(__file__), ["--memory-of", name, *arguments])["bytes"]
            for name in METHODS
        }
        row["peak_extra_bytes"] = peaks
        row["memory_vs_ce"] = {
            name: {"value": peaks[name] / peaks["ce"], "n": 1} for name in METHODS if name != "ce"
        }
    costliest = max(TERMS, key=lambda name: row["time_vs_ce"][name]["value"])
    row["costliest_term"] = costliest
    return row


def _added(seconds: dict, name: str) -> np.ndarray:
    return np.array(seconds[name]) - np.array(seconds["ce"])


def _ratios(seconds: dict, pair: Callable) -> dict:
    return {name: ratio_with_interval(*pair(name)) for name in seconds if name != "ce"}


def show(row: dict) -> str:
    """The printed lines of one row."""
    lines = [f"{row['batch']} traces of {row['tokens']} tokens, {row['nodes']} nodes"]
    for name, seconds in row["seconds"].items():
        line = f"  {name:20} {1e3 * seconds['value']:8.1f} ms"
        if name in row["time_vs_ce"]:
            ratio = row["time_vs_ce"][name]
            line += f"  {ratio['value']:5.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}] x ce"
        if name in row["speedup_vs_original"]:
            line += f"  {row['speedup_vs_original'][name]['value']:5.1f} x faster than original"
            wide = row["speedup_vs_original_all_heads"][name]["value"]
            line += f" ({wide:.1f} x, all heads)"
        peak = row.get("peak_extra_bytes", {}).get(name)
        lines.append(line + (f"  {peak / 2**20:7.1f} MiB" if peak is not None else ""))
    return "\n".join(lines)


def register_claims(path: Path, where: str, row: dict) -> None:
    """Write the ledger entries: of every term, and under the plain id of the costliest one."""
    claims = []
    named = {f".{name}": name for name in TERMS} | {"": row["costliest_term"]}
    for part, name in named.items():
        for figure, statement in STATEMENTS.items():
            which = f"the costliest term ({name})" if not part else f"the term {name}"
            claims.append(
                claim_from_result(
                    id=f"bench.training_step.{where}{part}.{figure}",
                    statement=statement.format(term=which, value=row[figure][name]["value"]),
                    source=path.relative_to(repository()),
                    pointer=f"/rows/tokens={row['tokens']}/{figure}/{name}",
                    unit="process" if figure == "memory_vs_ce" else "rounds",
                    target=TARGETS[figure],
                )
            )
    write_claims(claims)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU if there is one")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), help="cpu float32, gpu bfloat16 autocast"
    )
    parser.add_argument("--quick", action="store_true", help="one round, print only")
    parser.add_argument("--rounds", type=int, help=f"timed rounds (default {ROUNDS})")
    parser.add_argument("--tokens", type=int, default=TOKENS, help=f"a trace (default {TOKENS})")
    parser.add_argument("--batch", type=int, default=BATCH, help=f"traces (default {BATCH})")
    parser.add_argument("--memory-of", choices=METHODS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = options.dtype or ("bfloat16" if device == "cuda" else "float32")
    if options.memory_of:
        peak = measure_memory(options.memory_of, options.tokens, options.batch, device, dtype)
        print(json.dumps({"bytes": peak}))
        return 0
    load = os.getloadavg()
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    row = measure(options.tokens, options.batch, rounds, device, dtype, not options.quick)
    print(show(row), flush=True)
    if options.quick:
        return 0
    where = "gpu" if device == "cuda" else "cpu"
    model = build_model(device)
    result = {
        "provenance": provenance(
            " ".join(["python benchmarks/training_step.py", *(arguments or sys.argv[1:])]),
            SEED,
            where,
        ),
        "model": {
            "architecture": type(model).__name__,
            "layers": model.config.num_hidden_layers,
            "heads": model.config.num_attention_heads,
            "width": model.config.hidden_size,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "dtype": dtype,
        },
        "threads": torch.get_num_threads(),
        "load_average_before": load[0],
        "rows": [row],
    }
    name = f"bench_training_step_{where}.json"
    path = write_json(repository() / "data" / "results" / name, result)
    register_claims(path, where, row)
    print(f"written: {path.relative_to(repository())} and its claims")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
