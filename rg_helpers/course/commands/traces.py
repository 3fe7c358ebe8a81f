"""Sample several solutions a problem, right and wrong ones, labelled by the checker.

Every line of the JSONL file holds a whole trace: tokens, nodes, labels and the problem itself, so
it can be judged again or read by another model. The temperature is chosen on validation problems
so that both classes are frequent (nearest to half wrong), unless one is given. What was sampled is
kept part by part: a run that was stopped goes on where it was. Beside the file stands a JSON file
that says how it was made and what it holds.

--engine says what writes the solutions: transformers' continuous batching, `generate` on batches,
or vLLM (optional). The first two write the same text under a seed.

--prompts FILE.jsonl takes your own prompts (columns prompt, problem, question, or chat messages;
all columns are kept) and writes lines that `rgh score` reads. Exit code 1 there: some lines were
left out, the reasons are printed, the rest is done.
"""

from __future__ import annotations

import argparse
import shutil
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rg_helpers.accuracy import EASY_OPERATIONS, HARDEST
from rg_helpers.artefacts import provenance, read_json, sha256_of, write_json
from rg_helpers.comparison.stages import key_of, model_hash, source_hash
from rg_helpers.course.folders import repository
from rg_helpers.course.left_out import EXIT_LEFT_OUT
from rg_helpers.error_prediction.collect import Sampling, collect_traces
from rg_helpers.error_prediction.labels import TARGETS
from rg_helpers.error_prediction.sampling_temperature import TemperatureChoice
from rg_helpers.error_prediction.trace_set import TraceSet
from rg_helpers.language_model import COURSE
from rg_helpers.problems import FAMILIES
from rg_helpers.quantised import BITS
from rg_helpers.scoring.own_prompts import read_prompts, solve_file, write_rows
from rg_helpers.scoring.safe_model import load_safely
from rg_helpers.traces.engines import AUTO, ENGINES, VLLM, open_engine, resolved_engine
from rg_helpers.traces.sampling import LONGEST_SOLUTION

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

OWN_SOURCE = "rg_helpers.scoring.own_prompts"
EASIER = 1  # operations below the end of the test range at which the default sizes start
SOURCE = "rg_helpers.error_prediction.collect"  # with all it imports: problems, checker, sampling


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh traces`."""
    parser.add_argument("--model", default=COURSE, help="course, a local folder or a hub id")
    parser.add_argument("--prompts", type=Path, help="JSONL file of your own prompts")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--problems", type=int, default=250, help="problems a family")
    parser.add_argument("--samples", type=int, default=4, help="solutions a problem")
    parser.add_argument(
        "--operations",
        nargs=2,
        type=int,
        metavar=("FEWEST", "MOST"),
        help="sizes of the problems (default: the end of the family's test range, from one "
        "operation below it)",
    )
    parser.add_argument("--distractors", nargs=2, type=int, metavar=("FEWEST", "MOST"))
    parser.add_argument("--joins", type=int, help="default: those of the end of the test range")
    parser.add_argument("--temperature", type=float, help="default: chosen on validation problems")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--max-new-tokens", type=int, help="longest solution (default: 512)")
    parser.add_argument(
        "--engine",
        default=AUTO,
        choices=ENGINES,
        help="what writes them (default: auto, batched on a CPU and continuous elsewhere)",
    )
    parser.add_argument("--batch-size", type=int, default=64, help="solutions written at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--bf16", action="store_true", help="load the model in bfloat16")
    parser.add_argument("--bits", type=int, choices=BITS, help="round the weights while loading")
    parser.add_argument("--adapter", help="LoRA adapter for --model: a folder or a hub id")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="run code that comes with the model"
    )
    parser.add_argument("--out", type=Path, help="JSONL file (default: runs/traces/traces.jsonl)")


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh traces`; prints the choice of temperature and a table of what was sampled."""
    out = arguments.out or repository() / "runs" / "traces" / "traces.jsonl"
    if out.suffix == ".json":
        raise ValueError(f"--out {out}: the traces are JSONL, name the file ....jsonl")
    own = arguments.prompts is not None
    plans = (
        [] if own else [_plan(family, arguments) for family in dict.fromkeys(arguments.families)]
    )
    engine_name = resolved_engine(arguments.engine, arguments.device)
    if arguments.bits and engine_name == VLLM:
        raise ValueError("vLLM is given whole weights: leave --bits out, or take another --engine")
    model, tokenizer = load_safely(
        str(arguments.model),
        device=arguments.device,
        bfloat16=arguments.bf16,
        trust_remote_code=arguments.trust_remote_code,
        bits=arguments.bits,
        adapter=arguments.adapter,
    )
    if own:
        return _own_prompts(arguments, out, model, tokenizer, engine_name)
    key = key_of(
        plans=[asdict(plan) for plan in plans],
        model=model_hash(model),
        engine=engine_name,
        vocabulary=sha256_of(tokenizer.backend_tokenizer.to_str()),
        source=source_hash(SOURCE),
    )
    record_path = out.with_suffix(".json")
    if _is_there(out, record_path, key):
        return 0
    engine = open_engine(engine_name, model, tokenizer, arguments.batch_size)
    parts = out.with_name(f".{out.name}.{key[:12]}.parts")
    collected, families = TraceSet((), ()), {}
    for plan in plans:
        found, choice = collect_traces(model, tokenizer, plan, parts, engine=engine)
        families[plan.family] = _describe(plan, found, choice)
        _print(plan.family, families[plan.family])
        collected += found
    command = f"rgh traces --model {arguments.model} --families {' '.join(families)}"
    command += f" --problems {arguments.problems} --samples {arguments.samples}"
    command += f" --split {arguments.split} --seed {arguments.seed} --engine {engine_name}"
    command += _loading(arguments)
    for name in ("operations", "distractors"):
        if getattr(arguments, name):
            command += f" --{name} {' '.join(map(str, getattr(arguments, name)))}"
    if arguments.joins is not None:
        command += f" --joins {arguments.joins}"
    if arguments.temperature is not None:
        command += f" --temperature {arguments.temperature:g}"
    if arguments.max_new_tokens is not None:
        command += f" --max-new-tokens {arguments.max_new_tokens}"
    # The record first: traces without it would be taken for somebody else's file.
    write_json(
        record_path,
        {
            "what": "sampled solutions, labelled by the checker",
            "key": key,
            "model": str(arguments.model),
            "engine": engine_name,
            "provenance": provenance(command, arguments.seed),
            "families": families,
        },
    )
    collected.save(out)
    for left in out.parent.glob(f".{out.name}.*.parts"):
        shutil.rmtree(left, ignore_errors=True)
    print(f"written: {out} ({len(collected)} traces) and {record_path.name}")
    return 0


def _own_prompts(
    arguments: argparse.Namespace,
    out: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    engine_name: str,
) -> int:
    """Write solutions to the prompts of a file; prints which of its lines were left out."""
    if arguments.temperature is None:
        raise ValueError(
            "--prompts has no problems to choose a temperature on: give --temperature (0 with "
            "--samples 1 for greedy decoding)"
        )
    sampling = {
        "samples": arguments.samples,
        "temperature": arguments.temperature,
        "max_new_tokens": arguments.max_new_tokens or LONGEST_SOLUTION,
        "seed": arguments.seed,
    }
    prompts, bad = read_prompts(arguments.prompts, model, tokenizer, sampling["max_new_tokens"])
    for line in bad:
        print(f"left out: {line}")
    if not prompts:
        raise ValueError(f"{arguments.prompts}: no line holds a prompt that could be solved")
    key = key_of(
        prompts=[prompt.row for prompt in prompts],
        sampling=sampling,
        model=model_hash(model),
        engine=engine_name,
        vocabulary=sha256_of(tokenizer.backend_tokenizer.to_str()),
        source=source_hash(OWN_SOURCE),
    )
    record_path = out.with_suffix(".json")
    if _is_there(out, record_path, key):
        return EXIT_LEFT_OUT if bad else 0
    engine = open_engine(engine_name, model, tokenizer, arguments.batch_size)
    parts = out.with_name(f".{out.name}.{key[:12]}.parts")
    rows = list(solve_file(model, tokenizer, prompts, engine, parts, **sampling))
    command = f"rgh traces --prompts {arguments.prompts.name} --model {arguments.model}"
    command += f" --samples {arguments.samples} --temperature {arguments.temperature:g}"
    command += f" --max-new-tokens {sampling['max_new_tokens']} --engine {engine_name}"
    command += _loading(arguments)
    write_json(
        record_path,
        {
            "what": "solutions of own prompts",
            "key": key,
            "model": str(arguments.model),
            "engine": engine_name,
            "provenance": provenance(f"{command} --seed {arguments.seed}", arguments.seed),
            "prompts": len(prompts),
            "left_out": [vars(line) for line in bad],
            "finished": sum(row["finished"] for row in rows),
        },
    )
    write_rows(out, rows)
    for left in out.parent.glob(f".{out.name}.*.parts"):
        shutil.rmtree(left, ignore_errors=True)
    print(f"written: {out} ({len(rows)} solutions of {len(prompts)} prompts)")
    print(f"  next: rgh score {out} --model {arguments.model}{_loading(arguments)} --out FOLDER")
    return EXIT_LEFT_OUT if bad else 0


def _loading(arguments: argparse.Namespace) -> str:
    """Return the options of the command that say how the model was loaded."""
    words = " --bf16" if arguments.bf16 else ""
    words += f" --bits {arguments.bits}" if arguments.bits else ""
    return words + (f" --adapter {arguments.adapter}" if arguments.adapter else "")


def _plan(family: str, arguments: argparse.Namespace) -> Sampling:
    """Say what to sample: where no size is given, problems that are often solved wrongly."""
    last = HARDEST[family]
    least = max(EASY_OPERATIONS[0], last.operations - EASIER, last.joins or 0)
    return Sampling(
        family,
        arguments.problems,
        arguments.samples,
        tuple(arguments.operations or (least, last.operations)),
        tuple(arguments.distractors or (last.distractors, last.distractors)),
        last.joins if arguments.joins is None and not arguments.operations else arguments.joins,
        split=arguments.split,
        temperature=arguments.temperature,
        seed=arguments.seed,
        max_new_tokens=arguments.max_new_tokens,
    )


def _is_there(out: Path, record_path: Path, key: str) -> bool:
    """Tell whether the file was written before; `ValueError` if it is another than is asked for."""
    if not out.exists():
        return False
    if _made_with(record_path) != key:
        raise ValueError(
            f"{out} exists and was made with other settings, another model or another version: "
            "give another --out, or delete it"
        )
    print(f"already there: {out}")
    return True


def _made_with(record_path: Path) -> str | None:
    try:
        return read_json(record_path)["key"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _describe(plan: Sampling, found: TraceSet, choice: TemperatureChoice) -> dict[str, Any]:
    """Say what was asked for, which temperature served, and what the checker found."""
    read = found.read
    described: dict[str, Any] = {
        "sampling": asdict(replace(plan, temperature=choice.temperature)),
        "choice": choice.as_dict() if choice.rows else None,
        "traces": len(found),
        "problems": len(set(found.problem_ids.tolist())),
        "status": found.status_counts,
    }
    for target in TARGETS:
        errors = read.target(target)
        described[target] = {
            "share": float(errors.mean()) if len(read) else None,
            "problems_with_both": read.mixed_problems(target),
        }
    described["first_errors"] = dict(
        Counter(label.error_type for label in read.labels if label.error_type).most_common()
    )
    return described


def _print(family: str, described: dict[str, Any]) -> None:
    choice = described["choice"]
    temperature = described["sampling"]["temperature"]
    if choice:
        measured = "; ".join(
            f"{row['temperature']:g}: {row['wrong_share']:.0%} wrong of {row['read']} read, "
            f"{row['mixed_problems']} problems with both"
            for row in choice["rows"]
        )
        print(f"{family}: temperature {temperature:g} chosen ({choice['rule']}; {measured})")
        if not choice["both_frequent"]:
            print(
                "  no temperature keeps both classes frequent: ask for harder or easier problems "
                "(--operations, --distractors)"
            )
    else:
        print(f"{family}: temperature {temperature:g} as given")
    status = ", ".join(f"{count} {name}" for name, count in described["status"].items())
    print(f"  {described['traces']} traces of {described['problems']} problems: {status}")
    for target in TARGETS:
        row = described[target]
        if row["share"] is not None:
            print(
                f"  {target}: {row['share']:.1%} of those read; "
                f"{row['problems_with_both']} problems have both classes"
            )
    print(f"  first errors: {described['first_errors']}")
