"""What writes the tokens of many solutions: three engines behind one call.

Each takes the same requests (prompt, random stream, what is written so far) and writes every one of
them to its end. "batched" and "continuous" read each request's own random stream, so they write the
same text; "vllm" writes the same text only greedily, because it draws its random numbers itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch

from rg_helpers.traces.continuous_batching import ContinuousEngine
from rg_helpers.traces.decoding import Request, by_length, decode_batch
from rg_helpers.traces.vllm_engine import VllmEngine

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

AUTO, BATCHED, CONTINUOUS, VLLM = "auto", "batched", "continuous", "vllm"
ENGINES = (AUTO, CONTINUOUS, BATCHED, VLLM)


class Engine(Protocol):
    """Writes requests to their ends.

    `own_numbers`: whether it draws random numbers of its own instead of the requests' streams.
    """

    name: ClassVar[str]
    own_numbers: ClassVar[bool]

    def write(
        self,
        requests: Sequence[Request],
        temperature: float,
        ends: frozenset[int],
        room: int,
        advance: Callable[[int], object],
    ) -> None:
        """Extend each request's `written` up to, and with, one of `ends`, or to `room` tokens.

        `temperature` 0 is greedy. `advance` is told how many more requests are finished.
        """
        ...


@dataclass(frozen=True, eq=False)
class BatchedEngine:
    """`model.generate` on one batch after the other; each lasts until its longest text ends."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    batch_size: int

    name: ClassVar[str] = BATCHED
    own_numbers: ClassVar[bool] = False

    def write(
        self,
        requests: Sequence[Request],
        temperature: float,
        ends: frozenset[int],
        room: int,
        advance: Callable[[int], object],
    ) -> None:
        """Write batches of about equal length, from short to long; see `Engine.write`."""
        for batch in by_length(requests, self.batch_size):
            decode_batch(self.model, self.tokenizer, batch, temperature, ends, room)
            advance(len(batch))


def resolved_engine(name: str, device: torch.device | str) -> str:
    """Return `name`, or what "auto" means on `device`: "batched" on a CPU, else "continuous".

    Continuous batching runs on a CPU as well and writes the same text, but without flash attention
    its forward pass scores every new token against the keys of all texts being written, masked.
    `benchmarks/generation.py` measures both. vLLM is never chosen: that a package is installed
    should not change which text a seed gives.
    """
    if name != AUTO:
        return name
    return BATCHED if torch.device(device).type == "cpu" else CONTINUOUS


def open_engine(
    name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, batch_size: int = 64
) -> Engine:
    """Return the engine of that name, writing `batch_size` solutions at once.

    Raises `ValueError` for an unknown name or no batch, and `RuntimeError` where vLLM is asked for
    and not installed.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: expected at least 1 solution at once")
    if name == AUTO:
        name = resolved_engine(name, model.device)
    if name == BATCHED:
        return BatchedEngine(model, tokenizer, batch_size)
    if name == CONTINUOUS:
        return ContinuousEngine(model, tokenizer, batch_size)
    if name == VLLM:
        return VllmEngine.of(model, tokenizer, batch_size)
    raise ValueError(f"engine {name!r} is unknown: use one of {', '.join(ENGINES)}")
