"""Look-ups and nothing else: "Gus has 9 pens. Ned has 6 pens. ... Ned has" -> 6.

The smallest task in which a step follows from one premise: the value must be fetched from the
sentence that holds the name. It isolates the one circuit that all the course's problems need, so
that a graph loss can be watched at work in a minute. Fetching by what stood before is what
induction heads do (Olsson et al. 2022, arXiv 2209.11895).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from rg_helpers.graph_loss import GraphBatch
from rg_helpers.graph_loss.graph_batch import KIND_CODES
from rg_helpers.pretraining_data import IGNORED
from rg_helpers.problems.arithmetic import NAMES

UNIT = "pens"
VALUES = 10  # one digit each, all different within a text
PREMISE_TOKENS = 5  # name, has, value, unit, full stop
QUERY_TOKENS = 4  # name, has, value, full stop


@dataclass(frozen=True, eq=False)
class LookupBatch:
    """Texts of `premises` sentences followed by one query for each of them, in another order.

    tokens: int64 (batch, 1 + 9 premises). labels: the same shape, -100 but at the values asked for.
    node_ids: the same shape; node j is the j-th premise sentence, node premises + i the name and
    "has" of the i-th query, which is all that the model knows when it must fetch the value; every
    other token has -1. graph: the nodes with their gold rows, each query on its one premise.
    """

    tokens: Tensor
    labels: Tensor
    node_ids: Tensor
    graph: GraphBatch

    def to(self, device: torch.device | str) -> LookupBatch:
        """Return the batch with its tensors on `device`."""
        tensors = (part.to(device) for part in (self.tokens, self.labels, self.node_ids))
        return LookupBatch(*tensors, self.graph.to(device))


def lookup_batch(
    tokenizer: PreTrainedTokenizerFast,
    size: int,
    *,
    premises: int = 6,
    names: int = 20,
    generator: torch.Generator | None = None,
) -> LookupBatch:
    """Draw `size` texts: who has what, then every name once more in random order with its value.

    names: how many different names there are; those of a text are all different, and so are its
    values, so that guessing among the values present is right once in `premises` times. Raises
    `ValueError` for more premises than names or digits, and for a tokenizer that cuts a name, a
    value or "has" into pieces.
    """
    if not 2 <= premises <= min(names, VALUES) or not names <= len(NAMES) or size < 1:
        raise ValueError(
            f"size={size}, premises={premises}, names={names}: expected a size of at least 1, "
            f"2 to {VALUES} premises, at least as many names, at most {len(NAMES)} of them"
        )
    who_ids = _one_token_each(tokenizer, NAMES[:names])
    value_ids = _one_token_each(tokenizer, [str(value) for value in range(VALUES)])
    has, unit, stop = _one_token_each(tokenizer, ["has", UNIT, "."])
    who = who_ids[_different(size, names, premises, generator)]
    values = value_ids[_different(size, VALUES, premises, generator)]
    asked = _different(size, premises, premises, generator)

    filled = torch.ones_like(who)
    given = torch.stack([who, has * filled, values, unit * filled, stop * filled], 2)
    who, values = who.gather(1, asked), values.gather(1, asked)
    written = torch.stack([who, has * filled, values, stop * filled], 2)
    begin = torch.full((size, 1), tokenizer.bos_token_id)
    tokens = torch.cat([begin, given.flatten(1), written.flatten(1)], 1)

    first = 1 + PREMISE_TOKENS * premises  # token of the first query
    labels = torch.full_like(tokens, IGNORED)
    labels[:, first + 2 :: QUERY_TOKENS] = values
    node_ids = torch.full_like(tokens, -1)
    node_ids[:, 1:first] = torch.arange(premises).repeat_interleave(PREMISE_TOKENS)
    for place in (0, 1):
        node_ids[:, first + place :: QUERY_TOKENS] = premises + torch.arange(premises)
    return LookupBatch(tokens, labels, node_ids, _gold(asked))


def repeated_batch(
    tokenizer: PreTrainedTokenizerFast,
    size: int,
    *,
    length: int = 16,
    words: int | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw random token sequences written twice: (tokens, labels), both (size, 1 + 2 length) int64.

    Labelled is the second copy from its second token on, all of which can be copied. There are no
    sentences and no graph in it: the warm-up teaches copying and nothing about who has what.
    words: how many different tokens are drawn from, by default the whole vocabulary; with few, the
    token before does not tell the place, so that longer contexts must be matched. Raises
    `ValueError` for a length below 1 and fewer than 2 words or more than there are.
    """
    first = tokenizer.bos_token_id + 1  # ids below are padding and the like
    words = len(tokenizer) - first if words is None else words
    if length < 1 or not 2 <= words <= len(tokenizer) - first:
        raise ValueError(
            f"length={length}, words={words}: expected a length of at least 1 and 2 to "
            f"{len(tokenizer) - first} words"
        )
    chosen = first + torch.randperm(len(tokenizer) - first, generator=generator)[:words]
    once = chosen[torch.randint(words, (size, length), generator=generator)]
    begin = torch.full((size, 1), tokenizer.bos_token_id)
    tokens = torch.cat([begin, once, once], 1)
    labels = tokens.clone()
    labels[:, : length + 2] = IGNORED
    return tokens, labels


@torch.no_grad()
def fetched_right(model: nn.Module, batch: LookupBatch) -> Tensor:
    """Return for every query whether the value is the model's first choice: bool (batch, queries).

    Queries stand in text order; each is asked with the true text before it.
    """
    wanted = batch.labels != IGNORED
    device = next(model.parameters()).device
    logits = model(input_ids=batch.tokens.to(device), use_cache=False).logits
    first = logits.argmax(-1).cpu().roll(1, dims=1)  # position t - 1 predicts token t
    return (first == batch.tokens)[wanted].view(len(batch.tokens), -1)


def _different(size: int, among: int, count: int, generator: torch.Generator | None) -> Tensor:
    """Return `count` different numbers below `among` in random order: int64 (size, count)."""
    return torch.rand(size, among, generator=generator).argsort(1)[:, :count]


def _gold(asked: Tensor) -> GraphBatch:
    """Return the graph of queries that follow from premises `asked` (batch, premises)."""
    size, premises = asked.shape
    gold = torch.zeros(size, 2 * premises, 2 * premises)
    gold[:, premises:, :premises] = torch.nn.functional.one_hot(asked, premises).float()
    kinds = [KIND_CODES["premise"]] * premises + [KIND_CODES["step"]] * premises
    names = tuple(f"look-ups {row}" for row in range(size))
    return GraphBatch(torch.tensor(kinds, dtype=torch.int8).expand(size, -1), gold, names, names)


def _one_token_each(tokenizer: PreTrainedTokenizerFast, words: list[str]) -> Tensor:
    """Return the id of every word as it stands after a space or, a full stop, after a word."""
    ids = [tokenizer(f"has{'' if word == '.' else ' '}{word}", add_special_tokens=False).input_ids
           for word in words]  # fmt: skip
    cut = [word for word, found in zip(words, ids, strict=True) if len(found) != 2]
    if cut:
        raise ValueError(
            f"the tokenizer cuts {', '.join(map(repr, cut))} into pieces: look-ups need one token "
            "a word, take rg_helpers.tokenizer.build_tokenizer()"
        )
    return torch.tensor([found[1] for found in ids])
