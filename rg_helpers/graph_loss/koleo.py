"""KoLeo: graphs of different problems are spread out instead of all looking alike.

The Kozachenko-Leonenko estimator of entropy, as a regulariser: Sablayrolles et al. 2019 ("Spreading
vectors for similarity search", arXiv 1806.03198). The batch gives few neighbours, so a buffer of
earlier embeddings can stand in for more. A buffer is state, and state is where such terms go
wrong: here it is a value that is passed in and handed back, never changed in place, never read or
filled in evaluation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from rg_helpers.artefacts import atomic_path
from rg_helpers.graph_loss.graph_batch import (
    EPS,
    GraphBatch,
    Heads,
    chosen_heads,
    eligible_rows,
)
from rg_helpers.graph_loss.soft_features import soft_features

KIND = "KoLeo buffer"


@dataclass(frozen=True, eq=False)
class KoLeoBuffer:
    """Embeddings of earlier training graphs, the oldest first: at most `size`.

    embeddings: float32 (filled, width), detached, of length one. problem_ids: one a row. `size` is
    0 or more; an empty buffer has a width of 0.
    """

    size: int
    embeddings: Tensor
    problem_ids: tuple[str, ...] = ()

    @staticmethod
    def empty(size: int) -> KoLeoBuffer:
        """Return a buffer that holds nothing yet."""
        if size < 0:
            raise ValueError(f"a buffer of {size} embeddings: give a size of at least 0")
        return KoLeoBuffer(size, torch.zeros(0, 0))

    def pushed(self, embeddings: Tensor, problem_ids: tuple[str, ...]) -> KoLeoBuffer:
        """Return a buffer with embeddings (batch, width) added and the oldest dropped."""
        fresh = embeddings.detach().float()
        kept = fresh if not len(self.problem_ids) else torch.cat([self.embeddings.to(fresh), fresh])
        first = max(0, len(kept) - self.size)
        return KoLeoBuffer(
            self.size, kept[first:].clone(), (*self.problem_ids, *problem_ids)[first:]
        )


def koleo(
    attention: Tensor,
    batch: GraphBatch,
    *,
    heads: Heads = "all",
    buffer: KoLeoBuffer | None = None,
) -> Tensor:
    """Return how near each trace's graph lies to another problem's: (batch,).

        loss_i = -log min over j of |x_i - x_j|

    over the other traces of the batch and, where given, of the `buffer` (without gradient, and not
    changed). x: `graph_embeddings`, of length one. Traces of the same problem are no neighbours:
    in the buffer a trace would otherwise meet itself from the epoch before. Without any neighbour
    the loss is 0. attention: (batch, layers, heads, nodes, nodes). Sablayrolles et al. 2019, arXiv
    1806.03198. Raises `ValueError` for a batch that does not say which problems it holds, and for
    a buffer of other embeddings.

    Failure modes: spread is bought cheapest by making graphs odd, not better; problems with truly
    equal graphs are torn apart; two equal embeddings have no direction to part in (gradient 0 at
    -log(EPS)); buffered embeddings come from earlier weights, so a buffer that is long against the
    pace of training measures drift; and the loss of a trace depends on its batch, with several
    processes on that of its own process.
    """
    embeddings = graph_embeddings(attention, batch, heads)
    if len(batch.problem_ids) != len(batch):
        raise ValueError(
            "the batch does not say which problems its traces solve, and traces of one problem "
            "are no neighbours: make it with graph_batch(traces)"
        )
    others, names = embeddings, batch.problem_ids
    if buffer is not None and buffer.problem_ids:
        if buffer.embeddings.shape[1] != embeddings.shape[1]:
            raise ValueError(
                f"the buffer holds embeddings of width {buffer.embeddings.shape[1]}, these have "
                f"{embeddings.shape[1]}: start with KoLeoBuffer.empty for this model and heads"
            )
        others = torch.cat([embeddings, buffer.embeddings.to(embeddings)])
        names = (*names, *buffer.problem_ids)
    apart = torch.tensor(
        [[mine != theirs for theirs in names] for mine in batch.problem_ids],
        device=embeddings.device,
    )
    squares = (embeddings[:, None] - others[None]).square().sum(-1)
    nearest = torch.where(apart, squares, torch.inf).amin(1)
    alone = ~apart.any(1)
    # The root is taken of something above 0, where its gradient is finite.
    distance = torch.sqrt(torch.where(alone, 1.0, nearest) + EPS**2)
    return torch.where(alone, 0.0, -torch.log(distance))


def koleo_step(
    attention: Tensor,
    batch: GraphBatch,
    buffer: KoLeoBuffer,
    *,
    training: bool,
    heads: Heads = "all",
) -> tuple[Tensor, KoLeoBuffer]:
    """Return the loss (batch,) and the buffer for the next step.

    In training the buffer is read, then the batch is added to what is returned. In evaluation it is
    neither read nor filled: the very same buffer comes back, and the loss depends on the batch
    alone. attention: (batch, layers, heads, nodes, nodes).
    """
    if not training:
        return koleo(attention, batch, heads=heads), buffer
    loss = koleo(attention, batch, heads=heads, buffer=buffer)
    with torch.no_grad():
        embeddings = graph_embeddings(attention.detach(), batch, heads)
    return loss, buffer.pushed(embeddings, batch.problem_ids)


def graph_embeddings(attention: Tensor, batch: GraphBatch, heads: Heads = "all") -> Tensor:
    """Return one vector of length one a trace: (batch, chosen heads x features), differentiable.

    The soft features of every chosen head side by side, whatever the number of nodes.
    attention: (batch, layers, heads, nodes, nodes).
    """
    rows = eligible_rows(chosen_heads(attention, heads), batch)
    features = soft_features(rows, batch).flatten(1)
    return features / torch.sqrt(features.square().sum(-1, keepdim=True) + EPS)


def save_buffer(path: str | Path, buffer: KoLeoBuffer) -> Path:
    """Write a buffer to one safetensors file, atomically, so that a resumed run goes on with it."""
    description = {"kind": KIND, "size": str(buffer.size), "ids": json.dumps(buffer.problem_ids)}
    tensors = {"embeddings": buffer.embeddings.contiguous().cpu()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save_tensors(tensors, metadata=description))
    return Path(path)


def load_buffer(path: str | Path) -> KoLeoBuffer:
    """Read a buffer written by `save_buffer`; `ValueError` for a file that is something else."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: start with KoLeoBuffer.empty instead")
    blob = path.read_bytes()
    try:
        header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])["__metadata__"]
        embeddings = load_tensors(blob)["embeddings"]
        return KoLeoBuffer(int(header["size"]), embeddings, tuple(json.loads(header["ids"])))
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"{path} is not a {KIND} ({error}): delete it and start with KoLeoBuffer.empty"
        ) from error
