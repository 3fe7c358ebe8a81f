"""Time and peak memory of step attention, beside the plain forward pass and eager attention.

    python benchmarks/step_attention.py [--device cpu|cuda] [--dtype float32|bfloat16] [--quick]

Three ways through the same random-weight model, all layers and heads, batch 1:
    sdpa   the plain forward pass: logits, no attention weights (the floor)
    ours   `step_attention`: logits and the masses between steps
    eager  `output_attentions=True`, then every layer's matrix summed by step
They run in turns, and ratios are taken within a round. Memory is measured in one fresh process
each. Writes data/results/bench_step_attention_<cpu|gpu>.json and its claims; `--quick` only prints.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from measure import (
    free_bytes,
    interleaved_seconds,
    json_of_child,
    median_with_interval,
    peak_extra_bytes,
    ratio_with_interval,
)

from rg_helpers.artefacts import provenance, write_json
from rg_helpers.course.claims import claim_from_result, write_claims
from rg_helpers.course.folders import repository
from rg_helpers.step_attention import ROUTES, step_attention

SEED = 0
LENGTHS = (256, 512, 1024, 2048, 4096, 8192)
TOKENS_PER_NODE = 32
MOST_NODES = 128

# Qwen2 architecture, head width 64 as in most models of 0.5 to 8 billion parameters. On the CPU the
# size of a course model: narrow layers, so attention is a larger share of the work than in a big
# model, which makes the ratio to the plain forward pass harder to keep low. On a GPU the shape of
# Qwen2.5-0.5B.
SHAPES = {
    "cpu": {
        "vocab_size": 2048,
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "cuda": {
        "vocab_size": 151936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
    },
}
TARGETS = {
    "cpu.t2048.time_vs_sdpa": "<= 1.5",
    "cpu.t4096.speedup_vs_eager": ">= 3",
    "cpu.t4096.extra_memory_vs_eager": "<= 0.125",
    "gpu.t4096.time_vs_sdpa": "<= 1.3",
    "gpu.t4096.speedup_vs_eager": ">= 3",
    "gpu.t4096.extra_memory_vs_eager": "<= 0.125",
}
STATEMENTS = {
    "time_vs_sdpa": "step masses of all layers and heads at {tokens} tokens take {value:.2f} x the "
    "time of the plain forward pass",
    "speedup_vs_eager": "at {tokens} tokens step attention is {value:.1f} x faster than eager "
    "attention summed by step",
    "extra_memory_vs_eager": "at {tokens} tokens the memory beyond the plain forward pass is "
    "{value:.4f} of what eager attention takes beyond it",
}


def build_model(device: str, dtype: str) -> transformers.PreTrainedModel:
    """A Qwen2 model of the documented shape with random weights, in eval mode."""
    torch.manual_seed(SEED)
    config = transformers.Qwen2Config(**SHAPES[device], max_position_embeddings=max(LENGTHS))
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(
            config, attn_implementation="sdpa", dtype=getattr(torch, dtype)
        )
    return model.eval()


def build_trace(model: transformers.PreTrainedModel, tokens: int) -> tuple[torch.Tensor, ...]:
    """Random token ids and node ids, int64 (1, tokens): nodes of equal length, BOS in none."""
    generator = torch.Generator().manual_seed(SEED)
    input_ids = torch.randint(model.config.vocab_size, (1, tokens), generator=generator)
    nodes = min(MOST_NODES, max(1, tokens // TOKENS_PER_NODE))
    node_ids = torch.arange(tokens)[None] * nodes // tokens
    node_ids[:, 0] = -1
    return input_ids.to(model.device), node_ids.to(model.device)


def run_sdpa(model, input_ids, node_ids):
    del node_ids
    return model(input_ids, attention_mask=torch.ones_like(input_ids), use_cache=False).logits


def run_ours(model, input_ids, node_ids, route=None):
    mask = torch.ones_like(input_ids)
    return step_attention(model, input_ids, mask, node_ids, route=route).mass


def run_eager(model, input_ids, node_ids):
    """Eager attention summed by step; the switch of the implementation costs microseconds."""
    model.set_attn_implementation("eager")
    try:
        mask = torch.ones_like(input_ids)
        outputs = model(input_ids, attention_mask=mask, use_cache=False, output_attentions=True)
    finally:
        model.set_attn_implementation("sdpa")
    member = node_ids[0, :, None] == torch.arange(int(node_ids.max()) + 1, device=model.device)
    means = (member / member.sum(0)).T
    pooled = [
        means @ (attention @ member.to(attention.dtype)).float() for attention in outputs.attentions
    ]
    return torch.stack(pooled, 1)


METHODS = {"sdpa": run_sdpa, "ours": run_ours, "eager": run_eager}


def eager_bytes(model: transformers.PreTrainedModel, tokens: int) -> int:
    """What eager attention needs at least: every layer's matrix, and the float32 softmax of one."""
    config = model.config
    matrix = config.num_attention_heads * tokens**2
    return matrix * (config.num_hidden_layers * model.dtype.itemsize + 3 * 4)


def measure_memory(method: str, tokens: int, device: str, dtype: str) -> int:
    """Peak extra bytes of one method, to be run in a process of its own."""
    model = build_model(device, dtype)
    with torch.no_grad():
        METHODS[method](model, *build_trace(model, 64))
        trace = build_trace(model, tokens)
        return peak_extra_bytes(lambda: METHODS[method](model, *trace), device)


def measure_length(
    model: transformers.PreTrainedModel, tokens: int, rounds: int, device: str, dtype: str
) -> dict:
    """One row of the result: seconds, ratios and peak memory at one length."""
    trace = build_trace(model, tokens)
    contenders: dict[str, Callable[[], object]] = {
        "sdpa": functools.partial(run_sdpa, model, *trace),
        "ours": functools.partial(run_ours, model, *trace),
        **{f"route {r}": functools.partial(run_ours, model, *trace, route=r) for r in ROUTES},
    }
    row: dict = {"tokens": tokens, "nodes": int(trace[1].max()) + 1}
    needed, free = eager_bytes(model, tokens), free_bytes(device)
    if needed < 0.8 * free:
        contenders["eager"] = functools.partial(run_eager, model, *trace)
        row["largest_difference_from_eager"] = float(
            (run_ours(model, *trace) - run_eager(model, *trace)).abs().max()
        )
    else:
        row["eager_skipped"] = f"needs {needed / 2**30:.0f} GiB, {free / 2**30:.0f} GiB are free"
    seconds = interleaved_seconds(contenders, rounds, device)
    row["seconds"] = {name: median_with_interval(values) for name, values in seconds.items()}
    row["time_vs_sdpa"] = ratio_with_interval(seconds["ours"], seconds["sdpa"])
    row["routes_vs_sdpa"] = {
        route: ratio_with_interval(seconds[f"route {route}"], seconds["sdpa"]) for route in ROUTES
    }
    row["peak_extra_bytes"] = {
        method: json_of_child(
            Path(__file__),
            ["--memory-of", method, "--tokens", str(tokens), "--device", device, "--dtype", dtype],
        )["bytes"]
        for method in METHODS
        if method in contenders
    }
    if "eager" in contenders:
        row["speedup_vs_eager"] = ratio_with_interval(seconds["eager"], seconds["ours"])
        peaks = row["peak_extra_bytes"]
        beyond = {name: max(0, peaks[name] - peaks["sdpa"]) for name in ("ours", "eager")}
        row["bytes_beyond_sdpa"] = beyond
        if beyond["eager"] > 0:
            row["extra_memory_vs_eager"] = {"value": beyond["ours"] / beyond["eager"], "n": 1}
    return row


def show(row: dict) -> str:
    """One line of the printed table."""
    parts = [f"{row['tokens']:6d} tokens {row['nodes']:4d} nodes"]
    ratio = row["time_vs_sdpa"]
    parts.append(f"vs sdpa {ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]")
    routes = ", ".join(f"{name} {r['value']:.2f}" for name, r in row["routes_vs_sdpa"].items())
    parts.append(f"({routes})")
    if "speedup_vs_eager" in row:
        parts.append(f"{row['speedup_vs_eager']['value']:.1f} x faster than eager")
        extra = row.get("extra_memory_vs_eager")
        parts.append(f"extra memory {extra['value']:.4f} of eager's" if extra else "")
    else:
        parts.append(f"eager skipped: {row['eager_skipped']}")
    peaks = ", ".join(f"{n} {b / 2**20:.0f}" for n, b in row["peak_extra_bytes"].items())
    return "  ".join([*parts, f"peak MiB: {peaks}"])


def register_claims(path: Path, where: str, rows: list[dict]) -> None:
    """Write the ledger entries, each read back from the result file."""
    claims = []
    for row in rows:
        for figure, statement in STATEMENTS.items():
            if figure not in row:
                continue
            tokens = row["tokens"]
            claims.append(
                claim_from_result(
                    id=f"bench.step_attention.{where}.t{tokens}.{figure}",
                    statement=statement.format(tokens=tokens, value=row[figure]["value"]),
                    source=path.relative_to(repository()),
                    pointer=f"/rows/tokens={tokens}/{figure}",
                    unit="process" if figure == "extra_memory_vs_eager" else "rounds",
                    target=TARGETS.get(f"{where}.t{tokens}.{figure}"),
                )
            )
    write_claims(claims)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU if there is one")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), help="cpu float32, gpu bfloat16"
    )
    parser.add_argument("--quick", action="store_true", help="256 and 512 tokens, print only")
    parser.add_argument("--rounds", type=int, help="timed rounds a length (default 15 to 5)")
    parser.add_argument("--lengths", type=int, nargs="+", help=f"default {LENGTHS}")
    parser.add_argument("--memory-of", choices=tuple(METHODS), help=argparse.SUPPRESS)
    parser.add_argument("--tokens", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = options.dtype or ("bfloat16" if device == "cuda" else "float32")
    if options.memory_of:
        peak = measure_memory(options.memory_of, options.tokens, device, dtype)
        print(json.dumps({"bytes": peak}))
        return 0

    model = build_model(device, dtype)
    lengths = options.lengths or (LENGTHS[:2] if options.quick else LENGTHS)
    load, rows = os.getloadavg(), []
    with torch.no_grad():
        for tokens in lengths:
            rounds = options.rounds or (3 if options.quick else 15 if tokens <= 2048 else 5)
            rows.append(measure_length(model, tokens, rounds, device, dtype))
            print(show(rows[-1]), flush=True)
    if options.quick:
        return 0
    where = "gpu" if device == "cuda" else "cpu"
    name = f"bench_step_attention_{where}.json"
    result = {
        "provenance": provenance(
            " ".join(["python benchmarks/step_attention.py", *(arguments or sys.argv[1:])]),
            SEED,
            where,
        ),
        "model": {
            "architecture": "Qwen2",
            **SHAPES[device],
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "dtype": dtype,
            "batch": 1,
        },
        "threads": torch.get_num_threads(),
        "load_average_before": load[0],
        "rows": rows,
    }
    path = write_json(repository() / "data" / "results" / name, result)
    register_claims(path, where, rows)
    print(f"written: {path.relative_to(repository())} and its claims")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
