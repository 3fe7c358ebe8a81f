"""Tokens a second of the engines that write solutions, beside plain `generate`.

    python benchmarks/generation.py [--device cpu|cuda] [--model course] [--quick]

Greedy solutions of the same problems of all three families, in mixed order, without drafts:
    batch1      transformers' `generate`, one prompt at a time (on some of the prompts)
    batch64     transformers' `generate`, 64 prompts at a time in the order they come
    batched     the engine "batched": sorted by length, a cache that does not copy itself
    continuous  the engine "continuous": transformers' continuous batching, 64 at a time
They run in turns, and ratios are taken within a round. What each wrote is compared with batch64.
Writes data/results/bench_generation_<cpu|gpu>.json and its claims; `--quick` only prints.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers
from measure import interleaved_seconds, median_with_interval, ratio_with_interval

from rg_helpers.artefacts import provenance, write_json
from rg_helpers.course.claims import claim_from_result, write_claims
from rg_helpers.course.folders import repository
from rg_helpers.language_model import COURSE, load_model
from rg_helpers.problems import FAMILIES, generate_problems
from rg_helpers.traces import encode_text
from rg_helpers.traces.decoding import Request, end_ids
from rg_helpers.traces.engines import BATCHED, CONTINUOUS, open_engine

SEED = 0
BATCH = 64
PROMPTS, SINGLE, ROUNDS, LONGEST = 192, 24, 5, 400
QUICK = {"prompts": 12, "single": 3, "rounds": 1, "longest": 24}
OPERATIONS, DISTRACTORS = (2, 6), (1, 3)
PLAIN = ("batch1", "batch64")
ENGINES = (BATCHED, CONTINUOUS)
STATEMENT = (
    "on the course model the engine {engine} writes {value:.2f} x as many tokens a second as plain "
    "generate at batch {batch}"
)

Texts = list[list[int]]


def build_prompts(tokenizer: transformers.PreTrainedTokenizerFast, count: int) -> Texts:
    """Token ids of `count` prompts, a third of each family, in mixed order."""
    each = -(-count // len(FAMILIES))
    problems = [
        problem
        for family in FAMILIES
        for problem in generate_problems(
            family, each, "test", SEED, operations=OPERATIONS, distractors=DISTRACTORS
        )
    ]
    order = np.random.default_rng(SEED).permutation(len(problems))[:count]
    texts = (problems[place].prompt + problems[place].separator.rstrip(" ") for place in order)
    return [encode_text(tokenizer, text)[0] for text in texts]


class Contenders:
    """One model and one list of prompts; `write(name)` is what a contender writes to them."""

    def __init__(
        self,
        model: transformers.PreTrainedModel,
        tokenizer: transformers.PreTrainedTokenizerFast,
        prompts: Texts,
        single: int,
        longest: int,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.prompts, self.longest = prompts, longest
        self.single = np.linspace(0, len(prompts) - 1, min(single, len(prompts))).astype(int)
        self.ends = end_ids(model, tokenizer)
        self.engines = {name: open_engine(name, model, tokenizer, BATCH) for name in ENGINES}

    def write(self, name: str) -> Texts:
        """The tokens written, prompt by prompt (for batch1 those of `single` alone)."""
        if name == "batch1":
            return [text for place in self.single for text in self._plain([self.prompts[place]])]
        if name == "batch64":
            batches = range(0, len(self.prompts), BATCH)
            return [
                text
                for first in batches
                for text in self._plain(self.prompts[first : first + BATCH])
            ]
        requests = [Request(list(prompt), 0) for prompt in self.prompts]
        self.engines[name].write(requests, 0.0, self.ends, self.longest, lambda _: None)
        return [request.written for request in requests]

    @torch.no_grad()
    def _plain(self, prompts: Texts) -> Texts:
        padded = self.tokenizer.pad(
            {"input_ids": prompts}, padding_side="left", return_tensors="pt"
        ).to(self.model.device)
        output = self.model.generate(
            input_ids=padded["input_ids"],
            attention_mask=padded["attention_mask"],
            do_sample=False,
            max_new_tokens=self.longest,
            eos_token_id=sorted(self.ends),
            pad_token_id=self.tokenizer.pad_token_id,
        )
        return [self._cut(row) for row in output[:, padded["input_ids"].shape[1] :].tolist()]

    def _cut(self, row: list[int]) -> list[int]:
        """Cut the padding after the end of a text."""
        end = next((place + 1 for place, token in enumerate(row) if token in self.ends), len(row))
        return row[:end]


def measure(contenders: Contenders, rounds: int, device: str) -> dict:
    """Rates, their ratios and what was written; the first run of each is the warm-up."""
    texts = {name: contenders.write(name) for name in (*PLAIN, *ENGINES)}
    expected = dict.fromkeys(texts, texts["batch64"])
    expected["batch1"] = [texts["batch64"][place] for place in contenders.single]
    runs: dict[str, Callable[[], object]] = {
        name: lambda name=name: contenders.write(name) for name in texts
    }
    seconds = interleaved_seconds(runs, rounds, device, warm_ups=0)
    tokens = {name: sum(map(len, written)) for name, written in texts.items()}
    rates = {name: tokens[name] / np.asarray(seconds[name]) for name in texts}
    row: dict = {
        "prompts": {name: len(written) for name, written in texts.items()},
        "tokens": tokens,
        "finished": {
            name: float(np.mean([text[-1] in contenders.ends for text in written]))
            for name, written in texts.items()
        },
        "same_text_as_batch64": {
            name: float(np.mean([a == b for a, b in zip(written, expected[name], strict=True)]))
            for name, written in texts.items()
        },
        "tokens_per_second": {name: median_with_interval(rate) for name, rate in rates.items()},
    }
    for plain in PLAIN:
        row[f"vs_{plain}"] = {
            engine: ratio_with_interval(rates[engine], rates[plain]) for engine in ENGINES
        }
    return row


def show(row: dict) -> str:
    """The row as text: one line a contender."""
    lines = []
    for name, rate in row["tokens_per_second"].items():
        line = f"{name:10s} {rate['value']:9.1f} tokens/s  ({row['prompts'][name]} prompts, "
        line += f"{row['same_text_as_batch64'][name]:.0%} the text of batch64)"
        if name in ENGINES:
            for plain in PLAIN:
                ratio = row[f"vs_{plain}"][name]
                line += f"  {ratio['value']:.2f} x {plain} [{ratio['low']:.2f}, "
                line += f"{ratio['high']:.2f}]"
        lines.append(line)
    return "\n".join(lines)


def register_claims(path: Path, where: str, row: dict) -> None:
    """Write the ledger entries: each engine against each batch size of plain `generate`."""
    write_claims(
        [
            claim_from_result(
                id=f"bench.generation.{where}.{engine}_vs_{plain}",
                statement=STATEMENT.format(
                    engine=engine,
                    value=row[f"vs_{plain}"][engine]["value"],
                    batch=plain.removeprefix("batch"),
                ),
                source=path.relative_to(repository()),
                pointer=f"/row/vs_{plain}/{engine}",
                unit="rounds",
            )
            for engine in ENGINES
            for plain in PLAIN
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU if there is one")
    parser.add_argument("--model", default=COURSE, help="course, a folder or a hub id")
    parser.add_argument("--quick", action="store_true", help="few prompts, one round, print only")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--single", type=int, default=SINGLE, help="prompts that batch1 gets")
    parser.add_argument("--longest", type=int, default=LONGEST, help="tokens of a solution")
    options = parser.parse_args(arguments)
    if options.quick:
        vars(options).update(QUICK)
    if not options.quick and options.model != COURSE:
        raise ValueError(
            f"--model {options.model}: the claims are about the course model; add --quick"
        )
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    model, tokenizer = load_model(options.model, device=device)
    load = os.getloadavg()
    prompts = build_prompts(tokenizer, options.prompts)
    contenders = Contenders(model, tokenizer, prompts, options.single, options.longest)
    row = measure(contenders, options.rounds, device)
    print(show(row), flush=True)
    if options.quick:
        return 0
    where = "gpu" if device == "cuda" else "cpu"
    result = {
        "provenance": provenance(
            " ".join(["python benchmarks/generation.py", *(arguments or sys.argv[1:])]),
            SEED,
            where,
        ),
        "model": {
            "name": options.model,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "dtype": str(model.dtype).removeprefix("torch."),
            "attention": model.config._attn_implementation,
        },
        "batch": BATCH,
        "longest": options.longest,
        "threads": torch.get_num_threads(),
        "load_average_before": load[0],
        "row": row,
    }
    path = write_json(repository() / "data" / "results" / f"bench_generation_{where}.json", result)
    register_claims(path, where, row)
    print(f"written: {path.relative_to(repository())} and its claims")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
