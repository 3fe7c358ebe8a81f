"""What a problem is: its text as nodes, its gold graph, its quantities, its split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

NodeKind = Literal["premise", "question", "step", "answer"]
Split = Literal["train", "validation", "test"]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
# Per cent of all problems that fall into each split, by a hash of the problem's content.
SPLIT_SHARES: dict[Split, int] = {"train": 80, "validation": 10, "test": 10}


@dataclass(frozen=True)
class GoldNode:
    """One sentence of a problem or of its solution, with the nodes it follows from.

    `parents` are indices of earlier nodes of the same problem: the premise that is read, the
    steps whose values are used and, for a plan line, the line that asked for it.
    """

    kind: NodeKind
    text: str
    parents: tuple[int, ...] = ()


@dataclass(frozen=True)
class Quantity:
    """One thing a problem defines: a number of pens, a legal term, a line of code.

    `key` is unique in the problem (a name, a term or a line label); `name` is what sentences
    call it (two lines may assign the same variable). `operator` is "given" or an operator of the
    family, `operand` its constant, `sources` the keys it is computed from, in the order of the
    text. `value` is an int, or a bool in yes/no quantities; `None` for a line never executed.
    """

    key: str
    name: str
    operator: str
    operand: int | None
    sources: tuple[str, ...]
    value: int | bool | None
    premise: int
    relevant: bool


@dataclass(frozen=True)
class Problem:
    """A problem with a known answer, a written gold solution and the gold graph between nodes."""

    family: str
    problem_id: str
    split: Split
    operations: int
    distractors: int
    joins: int
    depth: int
    nodes: tuple[GoldNode, ...]
    quantities: tuple[Quantity, ...]
    answer: str
    separator: str

    @property
    def prompt_nodes(self) -> int:
        """Number of nodes of the prompt: the premises and the question."""
        return sum(node.kind in ("premise", "question") for node in self.nodes)

    @property
    def prompt(self) -> str:
        """The premises and the question, as the model reads them."""
        return self.separator.join(node.text for node in self.nodes[: self.prompt_nodes])

    @property
    def solution(self) -> str:
        """The gold steps and the answer line, as the model should write them."""
        return self.separator.join(node.text for node in self.nodes[self.prompt_nodes :])

    @property
    def relevant_premises(self) -> tuple[int, ...]:
        """Node indices of the premises that the answer depends on."""
        return tuple(sorted({q.premise for q in self.quantities if q.relevant}))


def identify(family: str, premises: list[str], question: str) -> tuple[str, Split]:
    """Return the id of a problem and the split its content hashes to.

    The hash ignores the order of the premises, so a reshuffled problem has the same id and can
    never stand on two sides of a split.
    """
    content = "\n".join([family, *sorted(premises), question])
    digest = hashlib.sha256(content.encode("utf-8")).hexdigest()
    bucket = int(digest[16:24], 16) % 100
    bound = 0
    for split in SPLITS:
        bound += SPLIT_SHARES[split]
        if bucket < bound:
            return digest[:16], split
    raise AssertionError("the split shares must add up to 100")
