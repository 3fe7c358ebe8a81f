"""A tiny reader, and files of solutions for it, right and wrong ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rg_helpers.language_model import new_course_model
from rg_helpers.problems import generate_problem
from rg_helpers.tokenizer import build_tokenizer

TOKENIZER = build_tokenizer()
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content | trim }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def tiny_reader(seed: int = 0, layers: int = 2):
    """An untrained model of the course's shape: what it says means nothing, but exactly."""
    return new_course_model(seed, hidden_size=16, layers=layers, heads=2, intermediate_size=32)


def text_rows(count: int, operations: int = 2) -> list[dict[str, Any]]:
    """Rows of plain text, two a problem: the right solution, and one with a wrong last line."""
    rows = []
    for number in range(count):
        problem = generate_problem("arithmetic", number // 2, operations, distractors=1)
        wrong = number % 2 == 1
        lines = [node.text for node in problem.nodes[problem.prompt_nodes :]]
        if wrong:
            lines[-1] = f"The answer is {int(problem.answer) + 1}."
        rows.append(
            {
                "id": f"s{number}",
                "problem_id": problem.problem_id,
                "prompt": problem.prompt,
                "solution": "\n".join(lines),
                "correct": not wrong,
                "source": "toy",
            }
        )
    return rows


def write_lines(path: Path, rows: list[Any]) -> Path:
    """Write rows as JSON lines; bytes are written as they are."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path
