"""Hand-made problems in GSM8K's format; not a line of them is from the data set."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WRITERS = ("small", "middle", "large")
NAMES = ("Ana", "Bo", "Cleo", "Dan", "Edda", "Finn", "Gus", "Hana")
THINGS = ("pens", "eggs", "coins", "cards", "shells", "stamps")


def train_row(seed: int) -> dict[str, Any]:
    """Two lines: the second uses the first one's result."""
    rng = random.Random(seed)
    name, things = rng.choice(NAMES), rng.choice(THINGS)
    own, more, price = rng.randint(20, 80), rng.randint(101, 180), rng.randint(3, 9)
    total, cost = own + more, (own + more) * price
    return {
        "question": f"{name} has {own} {things} in box {seed} and buys {more} more. Each is worth "
        f"${price}. What are all of {name}'s {things} worth?",
        "answer": f"{name} has {own}+{more} = <<{own}+{more}={total}>>{total} {things}.\n"
        f"They are worth {total} x {price} = $<<{total}*{price}={cost}>>{cost}.\n#### {cost}",
    }


def chain_row(seed: int) -> dict[str, Any]:
    """Four lines: the third uses the first (even seeds) or the second, the last the other two."""
    first, second = 20 + seed + 7, 300 + seed + 7
    used, other = (first, second) if seed % 2 == 0 else (second, first)
    total = 2 * used + other
    return {
        "question": f"Ana has {20 + seed} pens, Bo has {300 + seed}, and each gets 7 more. "
        "How many?",
        "answer": f"Ana has {20 + seed}+7=<<{20 + seed}+7={first}>>{first}.\n"
        f"Bo has {300 + seed}+7=<<{300 + seed}+7={second}>>{second}.\n"
        f"Twice as many is {used}*2=<<{used}*2={2 * used}>>{2 * used}.\n"
        f"In all {2 * used}+{other}=<<{2 * used}+{other}={total}>>{total}\n#### {total}",
    }


def solution_row(seed: int) -> dict[str, Any]:
    """Three writers; "small" forgets the second line more often than "large" does."""
    row = train_row(seed)
    rng = random.Random(f"solutions {seed}")
    first, second, last = row["answer"].split("\n")
    answer = last.removeprefix("#### ")
    found: dict[str, Any] = {"question": row["question"]}
    found["ground_truth"] = "\n".join([first, second, f"A: {answer}"])
    for writer, risk in zip(WRITERS, (0.7, 0.5, 0.3), strict=True):
        if rng.random() < risk:
            wrong = first.split(">>")[1].split()[0]
            text, right = f"{first}\nA: {wrong}", False
        else:
            text, right = found["ground_truth"], True
        found[writer] = {"solution": text, "is_correct": right}
    return found


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as JSONL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_data(folder: Path, train: int, solved: int) -> Path:
    """Write a folder like the data set's: `train` problems, and `solved` others with solutions."""
    make = (train_row, chain_row)
    write_rows(folder / "train.jsonl", [make[seed % 2](seed // 2) for seed in range(train)])
    rows = [solution_row(seed) for seed in range(10_000, 10_000 + solved)]
    write_rows(folder / "example_model_solutions.jsonl", rows)
    return folder
