"""`Trace` and `Node`: which tokens belong to which premise, question, step and answer.

Spans come from the character offsets of one encoding of the whole text. Tokenising the pieces one
by one and adding up their lengths is the classic mistake here: a token can hold a space or a full
stop of its neighbour, and every later span would be off by one without any sign of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rg_helpers.artefacts import sha256_of
from rg_helpers.problems import Problem, segment_steps

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

KINDS = ("premise", "question", "step", "answer")
PROMPT_KINDS = ("premise", "question")


@dataclass(frozen=True)
class Node:
    """One premise sentence, the question, one written step or the answer line of a trace.

    `start` and `end` bound its tokens as `token_ids[start:end]`; a node is never empty.
    """

    kind: str
    text: str
    start: int
    end: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"node kind {self.kind!r} is unknown: use one of {', '.join(KINDS)}")
        if not 0 <= self.start < self.end:
            raise ValueError(
                f"node {self.text!r} has the token span [{self.start}, {self.end}): a span starts "
                "at 0 or later and holds at least one token"
            )


@dataclass(frozen=True)
class Trace:
    """A prompt and the solution written after it, as token ids cut into nodes.

    `token_ids` is what the model is given: BOS (where the tokenizer has one), prompt, solution, and
    EOS if the solution is `finished`. The first `prompt_tokens` of them were given, the rest were
    written. `nodes` stand in text order, do not overlap, and no node crosses from prompt to
    solution. `extra` keeps columns of a JSONL file that are not known here. Raises `ValueError`
    where any of this does not hold.
    """

    trace_id: str
    problem_id: str
    family: str
    prompt: str
    solution: str
    token_ids: tuple[int, ...]
    prompt_tokens: int
    nodes: tuple[Node, ...]
    finished: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "token_ids", tuple(self.token_ids))
        object.__setattr__(self, "nodes", tuple(self.nodes))
        object.__setattr__(self, "extra", MappingProxyType(dict(self.extra)))
        if not self.token_ids:
            raise ValueError(f"trace {self.trace_id!r} is empty: give it a prompt and a solution")
        if not 0 <= self.prompt_tokens <= len(self.token_ids):
            raise ValueError(
                f"trace {self.trace_id!r} says {self.prompt_tokens} of its {len(self.token_ids)} "
                "tokens are prompt: expected a number between 0 and the length"
            )
        position = 0
        for number, node in enumerate(self.nodes):
            if node.start < position or node.end > len(self.token_ids):
                raise ValueError(
                    f"trace {self.trace_id!r}: node {number} covers tokens [{node.start}, "
                    f"{node.end}) but nodes must stand in order, without overlap, within the "
                    f"{len(self.token_ids)} tokens (the node before ends at {position})"
                )
            in_prompt = node.kind in PROMPT_KINDS
            if (in_prompt and node.end > self.prompt_tokens) or (
                not in_prompt and node.start < self.prompt_tokens
            ):
                raise ValueError(
                    f"trace {self.trace_id!r}: node {number} ({node.kind}) covers tokens "
                    f"[{node.start}, {node.end}) while the prompt is [0, {self.prompt_tokens}): "
                    "premises and question belong into the prompt, steps and answer after it"
                )
            position = node.end

    def __len__(self) -> int:
        return len(self.token_ids)

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be pickled; worker processes need traces nevertheless.
        values = (getattr(self, name) for name in self.__dataclass_fields__ if name != "extra")
        return Trace, (*values, dict(self.extra))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kind of every node."""
        return tuple(node.kind for node in self.nodes)

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the text of every node."""
        return tuple(node.text for node in self.nodes)

    @property
    def steps(self) -> tuple[Node, ...]:
        """Return the nodes that were written: steps and answer."""
        return tuple(node for node in self.nodes if node.kind not in PROMPT_KINDS)

    def node_ids(self) -> list[int]:
        """Return for every token the index of its node, or -1 (BOS, EOS, separators)."""
        ids = [-1] * len(self.token_ids)
        for number, node in enumerate(self.nodes):
            ids[node.start : node.end] = [number] * (node.end - node.start)
        return ids


def trace_from_text(
    tokenizer: PreTrainedTokenizerFast,
    prompt: str,
    solution: str,
    *,
    family: str = "text",
    separator: str = "\n",
    problem_id: str | None = None,
    trace_id: str | None = None,
    prompt_nodes: Sequence[tuple[str, str] | tuple[str, str, int]] | None = None,
    solution_nodes: Sequence[tuple[str, str] | tuple[str, str, int]] | None = None,
    finished: bool = True,
    allow_no_steps: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> Trace:
    """Tokenise `prompt + separator + solution` once and cut it into nodes.

    `prompt_nodes` and `solution_nodes` are (kind, text) pairs in text order, or (kind, text, start)
    where the place in the prompt or solution is known and not to be searched. Without them the
    prompt is cut into sentences, the last being the question, and the solution into the steps of
    its `family` (sentences or lines for an unknown family); a last line that announces an answer is
    the answer node. A piece without a token of its own (the tokenizer merged it into its
    neighbour) is joined to the node before it.

    Raises `ValueError` for a slow tokenizer, an empty prompt, a solution in which no step is found
    (unless `allow_no_steps`), or pieces that are not in the text.
    """
    if not prompt.strip():
        raise ValueError("the prompt is empty: give the problem's text")
    if prompt_nodes is None:
        prompt_nodes = _prompt_nodes(prompt, family)
    if solution_nodes is None:
        solution_nodes = _solution_nodes(solution, family)
    if not solution_nodes and not allow_no_steps:
        raise ValueError(
            f"no step found in the solution {solution[:60]!r}: a solution needs at least one "
            "sentence or line; sample it again with more max_new_tokens, or leave the trace out"
        )
    text = prompt + separator + solution
    pieces = _locate(prompt, prompt_nodes, 0)
    pieces += _locate(solution, solution_nodes, len(prompt) + len(separator))
    token_ids, offsets = encode_text(tokenizer, text)
    written_from = len(prompt) + len(separator)
    starts = [_first_visible(text, offset) for offset in offsets]
    prompt_tokens = next(
        (
            index
            for index, (start, offset) in enumerate(zip(starts, offsets, strict=True))
            if start >= written_from and offset is not None
        ),
        len(token_ids),
    )
    nodes = _cut(text, starts, pieces)
    eos = tokenizer.eos_token_id
    if finished and eos is not None:
        token_ids = [*token_ids, eos]
    identity = sha256_of(prompt, solution)[:16]
    return Trace(
        trace_id=trace_id or identity,
        problem_id=problem_id or sha256_of(prompt)[:16],
        family=family,
        prompt=prompt,
        solution=solution,
        token_ids=tuple(token_ids),
        prompt_tokens=prompt_tokens,
        nodes=nodes,
        finished=finished,
        extra=extra or {},
    )


def gold_trace(problem: Problem, tokenizer: PreTrainedTokenizerFast) -> Trace:
    """Return the generator's own solution as a trace; its nodes are `problem.nodes`, one to one.

    Raises `ValueError` if the tokenizer gives some node of the problem no token of its own.
    """
    pairs = [(node.kind, node.text) for node in problem.nodes]
    trace = trace_from_text(
        tokenizer,
        problem.prompt,
        problem.solution,
        family=problem.family,
        separator=problem.separator,
        problem_id=problem.problem_id,
        trace_id=f"{problem.problem_id}-gold",
        prompt_nodes=[pair for pair in pairs if pair[0] in PROMPT_KINDS],
        solution_nodes=[pair for pair in pairs if pair[0] not in PROMPT_KINDS],
    )
    if len(trace.nodes) != len(problem.nodes):
        raise ValueError(
            f"problem {problem.problem_id} has {len(problem.nodes)} nodes but this tokenizer tells "
            f"only {len(trace.nodes)} apart: use a tokenizer that does not merge across sentences"
        )
    return trace


def encode_text(
    tokenizer: PreTrainedTokenizerFast, text: str
) -> tuple[list[int], list[tuple[int, int] | None]]:
    """Encode `text` once: token ids and, per token, its character span (None for BOS).

    Exactly one BOS stands in front if the tokenizer has one, whether its own template, the text
    or neither supplies it; what the template puts behind the text (EOS) is cut off. Raises
    `ValueError` for a tokenizer without character offsets.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"{type(tokenizer).__name__} is a slow tokenizer and gives no character offsets: load "
            "it with AutoTokenizer.from_pretrained(..., use_fast=True)"
        )
    encoding = tokenizer(
        text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False
    )
    ids = list(encoding["input_ids"])
    added = encoding["special_tokens_mask"]
    offsets = [
        None if special else tuple(span)
        for special, span in zip(added, encoding["offset_mapping"], strict=True)
    ]
    while ids and offsets[-1] is None:
        ids.pop()
        offsets.pop()
    bos = tokenizer.bos_token_id
    if bos is not None:
        if ids[:1] != [bos]:
            ids.insert(0, bos)
            offsets.insert(0, None)
        while ids[1:2] == [bos]:  # a chat template wrote BOS into the text as well
            del ids[1], offsets[1]
        offsets[0] = None
    return ids, offsets


def check_positions(model: PreTrainedModel, tokens: int, what: str) -> None:
    """Raise `ValueError` if `tokens` is more than the model has positions for."""
    config = model.config.get_text_config()
    limit = getattr(config, "max_position_embeddings", None)
    if limit is not None and tokens > limit:
        raise ValueError(
            f"{what} has {tokens} tokens but {type(model).__name__} takes at most {limit} "
            f"positions: shorten the trace by {tokens - limit} tokens (or lower max_new_tokens), "
            "leave it out, or use a model with a longer context"
        )


def _prompt_nodes(prompt: str, family: str) -> list[tuple[str, str]]:
    """Cut a prompt into premises and, last, the question."""
    pieces = [prompt[start:end] for start, end in segment_steps(prompt, family)]
    return [("premise", piece) for piece in pieces[:-1]] + [
        ("question", piece) for piece in pieces[-1:]
    ]


def _solution_nodes(solution: str, family: str) -> list[tuple[str, str]]:
    """Cut a written solution into steps and, if its last line announces one, the answer."""
    pieces = [solution[start:end] for start, end in segment_steps(solution, family)]
    nodes = [("step", piece) for piece in pieces]
    if pieces and _announces_answer(pieces[-1]):
        nodes[-1] = ("answer", pieces[-1])
    return nodes


def _announces_answer(text: str) -> bool:
    lowered = text.lower()
    return "answer" in lowered or "####" in text or "\\boxed" in text


def _locate(
    text: str, nodes: Sequence[tuple[str, str] | tuple[str, str, int]], shift: int
) -> list[tuple[str, int, int]]:
    """Find each node's text, one after the other: (kind, start, end) in the whole text."""
    found, position = [], 0
    for kind, piece, *given in nodes:
        start = text.find(piece, *(given or [position])) if piece.strip() else -1
        if given and start != max(given[0], position):
            start = -1
        if start < 0:
            raise ValueError(
                f"the {kind} {piece!r} does not occur in the text after character {position}: "
                "give node texts exactly as written, in text order, none of them blank"
            )
        position = start + len(piece)
        found.append((kind, start + shift, position + shift))
    return found


def _first_visible(text: str, offset: tuple[int, int] | None) -> int:
    """Return where a token's first visible character stands (-1 for BOS)."""
    if offset is None:
        return -1
    start, end = offset
    blank = len(text[start:end]) - len(text[start:end].lstrip())
    return start + blank if start + blank < end else start


def _cut(
    text: str, starts: Sequence[int], pieces: Sequence[tuple[str, int, int]]
) -> tuple[Node, ...]:
    """Give every token to the piece that holds its first visible character, or to none."""
    piece_starts = [start for _, start, _ in pieces]
    owned: list[list[int]] = [[] for _ in pieces]
    for token, start in enumerate(starts):
        piece = bisect_right(piece_starts, start) - 1
        if start >= 0 and piece >= 0 and start < pieces[piece][2]:
            owned[piece].append(token)
    nodes: list[Node] = []
    spans: list[tuple[int, int]] = []
    for (kind, start, end), tokens in zip(pieces, owned, strict=True):
        if tokens:
            if tokens != list(range(tokens[0], tokens[-1] + 1)):
                raise ValueError(
                    f"the tokens of {text[start:end]!r} are not contiguous: the tokenizer's "
                    "character offsets are out of order, so no exact span can be given"
                )
            spans.append((start, end))
            nodes.append(Node(kind, text[start:end], tokens[0], tokens[-1] + 1))
        elif nodes:
            spans[-1] = (spans[-1][0], end)
            last = nodes[-1]
            nodes[-1] = Node(last.kind, text[slice(*spans[-1])], last.start, last.end)
        else:
            raise ValueError(
                f"{text[start:end]!r} has no token of its own: the tokenizer dropped it; check "
                "that the text is in an alphabet the tokenizer knows"
            )
    return tuple(nodes)
