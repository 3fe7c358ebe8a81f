"""How much memory a batch may take, how large batches may be, and what happens if that was wrong.

A batch is as large as its estimate allows within the budget. Where memory runs out nevertheless,
the batch is tried again in halves, and all later ones are no larger than what went through. A
single solution that does not fit, or that a method refuses, is left out with the reason, and
everything else goes on.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import psutil
import torch

from rg_helpers.graphs.batches import LARGEST_BATCH, free_bytes
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Found = TypeVar("Found")
GIB = 2**30
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", " gib are free")


@dataclass(eq=False)
class Budget:
    """The bytes that one batch may take beside the model, and the largest batch.

    `largest` shrinks when memory runs out; `notes` say so.
    """

    bytes: int
    largest: int = LARGEST_BATCH
    notes: list[str] = field(default_factory=list)

    def shrink(self, failed: int) -> None:
        """Halve the largest batch after one of `failed` solutions ran out of memory."""
        self.largest = max(1, min(self.largest, failed // 2))
        self.notes.append(
            f"memory ran out with {failed} solutions in a batch: now at most {self.largest}"
        )


@dataclass(frozen=True)
class Refused:
    """Why a single solution was not worked on."""

    reason: str


def memory_budget(model: PreTrainedModel, gibibytes: float | None = None) -> Budget:
    """Return what a batch may take on the model's device.

    `gibibytes` bounds all that this process holds there, the loaded model included; without it a
    batch may take a quarter of what is free now. Raises `ValueError` if the process holds as much
    already.
    """
    if gibibytes is None:
        return Budget(free_bytes(model))
    if model.device.type == "cuda":
        held = torch.cuda.memory_allocated(model.device)
    else:
        held = psutil.Process().memory_info().rss
    left = int(gibibytes * GIB) - held
    if not math.isfinite(gibibytes) or left <= 0:
        raise ValueError(
            f"memory {gibibytes:g} GiB: with the model loaded this process holds {held / GIB:.2f} "
            "GiB already; allow more, or load the model in bfloat16"
        )
    return Budget(left)


def in_batches(
    traces: Sequence[Trace],
    work: Callable[[Sequence[Trace]], Sequence[Found]],
    bytes_needed: Callable[[Trace], int],
    budget: Budget,
) -> Iterator[tuple[list[int], Sequence[Found | Refused]]]:
    """Yield (indices, what `work` makes of these traces), batch by batch, the largest first.

    The largest trace of a batch counts for all of them, since the others are padded.
    """
    needs = [bytes_needed(trace) for trace in traces]
    waiting = sorted(range(len(traces)), key=lambda index: (-needs[index], -len(traces[index])))
    while waiting:
        need = max(1, needs[waiting[0]])
        if need > budget.bytes:
            yield [waiting.pop(0)], [Refused(_too_large(need, budget.bytes))]
            continue
        size = max(1, min(budget.largest, budget.bytes // need))
        chosen = waiting[:size]
        found = _tried(work, [traces[index] for index in chosen])
        if isinstance(found, Refused) and len(chosen) > 1:  # which of them is it?
            for index in chosen:
                one = _tried(work, [traces[index]])
                yield [index], [_alone(one, traces[index])] if _failed(one) else one
        elif found is None and len(chosen) > 1:
            budget.shrink(len(chosen))
            continue
        else:
            yield chosen, [_alone(found, traces[chosen[0]])] if _failed(found) else found
        waiting = waiting[size:]


def _tried(
    work: Callable[[Sequence[Trace]], Sequence[Found]], batch: Sequence[Trace]
) -> Sequence[Found] | Refused | None:
    """Return what `work` makes of a batch; None if memory ran out, `Refused` for a `ValueError`.

    Other errors go on.
    """
    try:
        return work(batch)
    except (MemoryError, RuntimeError, ValueError) as error:
        if not ran_out(error):
            if isinstance(error, ValueError):
                return Refused(str(error))
            raise
    # Outside of the handler: until here the error's frames held the tensors.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def ran_out(error: Exception) -> bool:
    """Say whether an error means that memory ran out, on a GPU or a CPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error).lower() for words in OUT_OF_MEMORY)


def _failed(found: Sequence[Found] | Refused | None) -> bool:
    return found is None or isinstance(found, Refused)


def _alone(found: Refused | None, trace: Trace) -> Refused:
    return Refused(_ran_out(trace)) if found is None else found


def _too_large(need: int, left: int) -> str:
    return (
        f"it takes an estimated {need / GIB:.2f} GiB alone, and a batch may take {left / GIB:.2f}: "
        "allow more memory, or shorten it"
    )


def _ran_out(trace: Trace) -> str:
    return (
        f"memory ran out on it alone ({len(trace)} tokens, {len(trace.nodes)} nodes): shorten it, "
        "or use a machine with more memory"
    )
