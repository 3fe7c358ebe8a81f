"""Time and peak memory of gradient graphs, beside one forward and backward pass of the trace.

    python benchmarks/gradient_graph.py [--device cpu|cuda] [--dtype float32|bfloat16] [--quick]

A trace with a prompt and S written steps of random tokens, batch 1, random weights:
    forward_backward    the floor: loss of the trace and the gradient of all weights
    to_embeddings       the same without the gradients of the weights
    attention_gradient  A * dA of every step's own log-probability, all rows
    relevance           the same, carried through all layers
    input_direct        input x gradient of every step along direct paths, all rows
    input_exact         input x gradient of every step along all paths, all rows
    naive_attention, naive_input   one backward pass for every step
They run in turns, and ratios are taken within a round. Memory is measured in one fresh process
each. How much the cheap versions agree with the expensive ones is measured on gold traces of the
course model (Spearman's rank correlation over the candidate edges of a trace). Writes
data/results/bench_gradient_graph_<cpu|gpu>.json and its claims; `--quick` only prints.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers
from measure import (
    interleaved_seconds,
    json_of_child,
    median_with_interval,
    peak_extra_bytes,
    ratio_with_interval,
)
from scipy.stats import spearmanr

from rg_helpers.artefacts import provenance, write_json
from rg_helpers.course.claims import claim_from_result, write_claims
from rg_helpers.course.folders import repository
from rg_helpers.graphs.gradient import (
    attention_gradient_scores,
    naive_attention_gradient,
    relevance_scores,
)
from rg_helpers.graphs.input_gradient import input_gradient_scores, naive_input_gradient
from rg_helpers.language_model import course_config, load_model
from rg_helpers.problems import FAMILIES, generate_problems
from rg_helpers.traces import Node, Trace, gold_trace

SEED = 0
STEPS = (8, 16, 32)
TOKENS_PER_STEP = 16
PROMPT_SHARE = 0.4  # of all tokens, as in the course's traces
AGREEMENT_TRACES = 25  # of each family

# On the CPU the course model; on a GPU the shape of Qwen2.5-0.5B.
GPU_SHAPE = {
    "vocab_size": 151936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
}
TARGET = "<= 3"
CLAIMED = ("attention_gradient", "relevance", "input_direct", "input_exact")
STATEMENTS = {
    "attention_gradient": "attention x gradient of all {steps} steps of a trace takes {value:.2f} "
    "x the time of one forward and backward pass",
    "relevance": "attention x gradient carried through all layers, for all {steps} steps of a "
    "trace, takes {value:.2f} x the time of one forward and backward pass",
    "input_direct": "input x gradient along direct paths, for all {steps} steps of a trace, takes "
    "{value:.2f} x the time of one forward and backward pass",
    "input_exact": "input x gradient along all paths, for all {steps} steps of a trace, takes "
    "{value:.2f} x the time of one forward and backward pass",
}


def build_model(device: str, dtype: str) -> transformers.PreTrainedModel:
    """A model of the documented shape with random weights, in eval mode."""
    torch.manual_seed(SEED)
    config = course_config() if device == "cpu" else transformers.Qwen2Config(**GPU_SHAPE)
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(
            config, attn_implementation="sdpa", dtype=getattr(torch, dtype)
        )
    return model.eval()


def build_trace(model: transformers.PreTrainedModel, steps: int) -> Trace:
    """Random tokens: BOS, premises and a question, then `steps` written nodes of equal length."""
    generator = torch.Generator().manual_seed(SEED)
    prompt = round(steps * PROMPT_SHARE / (1 - PROMPT_SHARE))
    kinds = ["premise"] * max(1, prompt - 1) + ["question"] + ["step"] * (steps - 1) + ["answer"]
    spans = [1 + TOKENS_PER_STEP * number for number in range(len(kinds) + 1)]
    nodes = tuple(
        Node(kind, f"{kind} {number}", spans[number], spans[number + 1])
        for number, kind in enumerate(kinds)
    )
    ids = torch.randint(model.config.vocab_size, (spans[-1],), generator=generator).tolist()
    given = spans[len(kinds) - steps]
    return Trace(f"random {steps}", f"random {steps}", "random", "p", "s", ids, given, nodes)


def run_forward_backward(model, trace):
    ids = torch.tensor([trace.token_ids], device=model.device)
    loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    return torch.autograd.grad(loss, list(model.parameters()))


def run_to_embeddings(model, trace):
    ids = torch.tensor([trace.token_ids], device=model.device)
    embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
    loss = model(inputs_embeds=embedded, labels=ids, use_cache=False).loss
    return torch.autograd.grad(loss, embedded)


def one(scores: Callable, **options) -> Callable:
    """Turn a function of many traces into one of a single trace."""
    return lambda model, trace: scores(model, [trace], progress=False, **options)[0]


METHODS: dict[str, Callable] = {
    "forward_backward": run_forward_backward,
    "to_embeddings": run_to_embeddings,
    "attention_gradient": one(attention_gradient_scores),
    "relevance": one(relevance_scores),
    "input_direct": one(input_gradient_scores, rule="direct"),
    "input_exact": one(input_gradient_scores),
    "naive_attention": naive_attention_gradient,
    "naive_input": naive_input_gradient,
}


def measure_memory(method: str, steps: int, device: str, dtype: str) -> int:
    """Peak extra bytes of one method, to be run in a process of its own."""
    model = build_model(device, dtype)
    METHODS[method](model, build_trace(model, 2))
    trace = build_trace(model, steps)
    return peak_extra_bytes(lambda: METHODS[method](model, trace), device)


def measure_steps(
    model: transformers.PreTrainedModel,
    steps: int,
    rounds: int,
    device: str,
    dtype: str,
    memory: bool = True,
) -> dict:
    """One row of the result: seconds, ratios and peak memory at one number of steps."""
    trace = build_trace(model, steps)
    contenders = {name: functools.partial(run, model, trace) for name, run in METHODS.items()}
    seconds = interleaved_seconds(contenders, rounds, device)
    floor = seconds["forward_backward"]
    row = {
        "steps": steps,
        "tokens": len(trace),
        "largest_relative_difference_from_naive": {
            "attention_gradient": _difference(
                METHODS["attention_gradient"](model, trace),
                METHODS["naive_attention"](model, trace).mean(1),
            ),
            "input_exact": _difference(
                METHODS["input_exact"](model, trace), METHODS["naive_input"](model, trace)
            ),
        },
        "seconds": {name: median_with_interval(values) for name, values in seconds.items()},
        "time_vs_forward_backward": {
            name: ratio_with_interval(values, floor)
            for name, values in seconds.items()
            if name != "forward_backward"
        },
    }
    if memory:
        arguments = ["--steps", str(steps), "--device", device, "--dtype", dtype]
        row["peak_extra_bytes"] = {
            name: json_of_child(Path(__file__), ["--memory-of", name, *arguments])["bytes"]
            for name in METHODS
        }
    return row


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def measure_agreement(count: int) -> dict:
    """Rank agreement, per trace, of the cheap versions with the expensive ones."""
    model, tokenizer = load_model("course")
    found: dict[str, dict] = {}
    for family in FAMILIES:
        problems = generate_problems(family, count, split="test", seed=SEED)
        traces = [gold_trace(problem, tokenizer) for problem in problems]
        attention = [scores.sum(0) for scores in attention_gradient_scores(model, traces)]
        direct = input_gradient_scores(model, traces, rule="direct")
        exact = input_gradient_scores(model, traces)
        relevance = relevance_scores(model, traces)
        per_target = relevance_scores(model, traces, per_target=True)
        pairs = {
            "input_direct_with_input_exact": (direct, exact),
            "attention_gradient_with_input_exact": (attention, exact),
            "relevance_with_relevance_per_target": (relevance, per_target),
            "attention_gradient_with_relevance_per_target": (attention, per_target),
        }
        found[family] = {
            name: median_with_interval(
                [_rank_agreement(a, b, t) for a, b, t in zip(*both, traces, strict=True)]
            )
            for name, both in pairs.items()
        }
    return found


def _rank_agreement(one: np.ndarray, other: np.ndarray, trace: Trace) -> float:
    written = [i for i, kind in enumerate(trace.kinds) if kind in ("step", "answer")]
    pairs = tuple(np.array([(i, j) for i in written for j in range(i)]).T)
    return float(spearmanr(one[pairs], other[pairs]).statistic)


def show(row: dict) -> str:
    """The printed lines of one row."""
    lines = [f"{row['steps']} steps, {row['tokens']} tokens"]
    for name, ratio in row["time_vs_forward_backward"].items():
        peak = row.get("peak_extra_bytes", {}).get(name)
        lines.append(
            f"  {name:20} {ratio['value']:6.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}] x"
            + (f"  {peak / 2**20:7.1f} MiB" if peak is not None else "")
        )
    return "\n".join(lines)


def register_claims(path: Path, where: str, rows: list[dict]) -> None:
    """Write the ledger entries for the trace with the most steps."""
    row = max(rows, key=lambda row: row["steps"])
    claims = []
    for name in CLAIMED:
        # The form without a method's name is attention x gradient, the graph of Chefer et al.
        part = "" if name == "attention_gradient" else f".{name}"
        value = row["time_vs_forward_backward"][name]["value"]
        claims.append(
            claim_from_result(
                id=f"bench.gradient_graph.{where}{part}.time_vs_forward_backward",
                statement=STATEMENTS[name].format(steps=row["steps"], value=value),
                source=path.relative_to(repository()),
                pointer=f"/rows/steps={row['steps']}/time_vs_forward_backward/{name}",
                unit="rounds",
                target=TARGET,
            )
        )
    write_claims(claims)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU if there is one")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), help="cpu float32, gpu bfloat16"
    )
    parser.add_argument("--quick", action="store_true", help="4 steps, one round, print only")
    parser.add_argument("--rounds", type=int, help="timed rounds a length (default 11)")
    parser.add_argument("--steps", type=int, nargs="+", help=f"default {STEPS}")
    parser.add_argument("--memory-of", choices=tuple(METHODS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = options.dtype or ("bfloat16" if device == "cuda" else "float32")
    if options.memory_of:
        peak = measure_memory(options.memory_of, options.steps[0], device, dtype)
        print(json.dumps({"bytes": peak}))
        return 0

    model, load = build_model(device, dtype), os.getloadavg()
    rows = []
    for steps in options.steps or ((4,) if options.quick else STEPS):
        rounds = options.rounds or (1 if options.quick else 11)
        rows.append(measure_steps(model, steps, rounds, device, dtype, not options.quick))
        print(show(rows[-1]), flush=True)
    if options.quick:
        return 0
    where = "gpu" if device == "cuda" else "cpu"
    result = {
        "provenance": provenance(
            " ".join(["python benchmarks/gradient_graph.py", *(arguments or sys.argv[1:])]),
            SEED,
            where,
        ),
        "model": {
            "architecture": type(model).__name__,
            "layers": model.config.num_hidden_layers,
            "width": model.config.hidden_size,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "dtype": dtype,
            "batch": 1,
        },
        "threads": torch.get_num_threads(),
        "load_average_before": load[0],
        "rows": rows,
        "rank_agreement": measure_agreement(AGREEMENT_TRACES),
    }
    name = f"bench_gradient_graph_{where}.json"
    path = write_json(repository() / "data" / "results" / name, result)
    register_claims(path, where, rows)
    print(json.dumps(result["rank_agreement"], indent=1))
    print(f"written: {path.relative_to(repository())} and its claims")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
