"""Hand-made traces of few tokens for the tests of gradient graphs."""

from __future__ import annotations

import torch
from tiny_models import VOCABULARY

from rg_helpers.traces import Node, Trace


def make_trace(sizes=(3, 4, 3, 5, 1, 1, 4), seed: int = 0, separator_after: int = 3) -> Trace:
    """A trace of random tokens: BOS, two premises, a question, steps and the answer.

    `sizes` are tokens per node; after node `separator_after` stands a token that belongs to none.
    """
    kinds = ("premise", "premise", "question", *["step"] * (len(sizes) - 4), "answer")
    nodes, position, prompt_tokens = [], 1, 0
    for number, (kind, size) in enumerate(zip(kinds, sizes, strict=True)):
        nodes.append(Node(kind, f"node {number}", position, position + size))
        position += size
        if kind == "question":
            prompt_tokens = position
        if number == separator_after:
            position += 1
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCABULARY, (position,), generator=generator).tolist()
    return Trace(
        f"trace-{seed}", f"problem-{seed}", "toy", "p", "s", (1, *ids), prompt_tokens, tuple(nodes)
    )


TRACES = [make_trace(), make_trace((2, 3, 2, 2, 3), seed=1, separator_after=2)]
