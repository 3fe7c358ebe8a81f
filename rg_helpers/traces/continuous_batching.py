"""Continuous batching by transformers, with one random stream a request.

A text that ends leaves its place to the next one at once (Yu et al. 2022, Orca), over a cache cut
into pages (Kwon et al. 2023, arXiv 2309.06180). transformers samples with one stream for the whole
batch, so a text would depend on who else is being written; here a logits processor leaves one token
a row standing, the one at the request's own next random number, and greedy decoding picks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from transformers import (
    ContinuousBatchingConfig,
    GenerationConfig,
    LogitsProcessorList,
)
from transformers.generation.continuous_batching import ContinuousBatchingManager
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessor,
    ContinuousBatchingLogitsProcessorList,
)

from rg_helpers.traces.decoding import Request, choose_tokens, evaluating

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast
    from transformers.generation.continuous_batching.requests import FutureRequestState

TOKENS_A_PASS = 512  # with a dense mask, whose size is this times all tokens in the cache
TOKENS_A_PASS_FLASH = 8192  # transformers' own default
BLOCK = 256  # tokens of a cache block; flash attention's decoding reads no smaller ones
PATIENCE = 1.0  # seconds between two looks at whether the writing thread still runs


@dataclass(frozen=True, eq=False)
class ContinuousEngine:
    """`batch_size` texts are being written at any time, in a cache with room for just those."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    batch_size: int

    name: ClassVar[str] = "continuous"
    own_numbers: ClassVar[bool] = False

    def write(
        self,
        requests: Sequence[Request],
        temperature: float,
        ends: frozenset[int],
        room: int,
        advance: Callable[[int], object],
    ) -> None:
        """Write all requests to their ends; see `engines.Engine.write`.

        The attention implementation and the mode of the model are put back afterwards. Raises
        `RuntimeError` for a model that transformers does not serve in this way, or where the cache
        does not fit into memory.
        """
        if not requests:
            return
        at_once = min(self.batch_size, len(requests))
        longest = max(len(request.prompt_ids) for request in requests) + room
        streams = _SeededRequests(requests, temperature, room, self.model.device)
        with (
            evaluating(self.model),
            _running(
                self.model,
                GenerationConfig(
                    do_sample=False,
                    max_new_tokens=room,
                    eos_token_id=sorted(ends),
                    pad_token_id=self.tokenizer.pad_token_id,
                ),
                _cache_for(self.model, at_once, longest),
                streams if temperature > 0 else None,
            ) as manager,
        ):
            for row, request in enumerate(requests):
                named = {"row": row, "prompt_tokens": len(request.prompt_ids)}
                manager.add_request(
                    [*request.prompt_ids, *request.written],
                    request_id=str(row),
                    max_new_tokens=room - len(request.written),
                    eos_token_id=sorted(ends),
                    **(named if temperature > 0 else {}),
                )
            for _ in requests:
                row, new = _next_result(manager)
                requests[row].written = [*requests[row].written, *new]
                advance(1)


class _SeededRequests(ContinuousBatchingLogitsProcessor):
    """Leave one token a row standing: the one at the request's next random number.

    The numbers of all requests, float64 (requests, room), lie on the model's device. What is handed
    over with each pass is which of them a row reads (int32), so nothing is lost to rounding and the
    pass can be recorded as a CUDA graph.
    """

    supported_kwargs: ClassVar[dict[str, type]] = {"row": int, "prompt_tokens": int}
    ignored_kwargs: tuple[str, ...] = ()

    def __init__(
        self,
        requests: Sequence[Request],
        temperature: float,
        room: int,
        device: torch.device,
    ) -> None:
        self.temperature = temperature
        self.room = room
        if temperature > 0:
            numbers = np.concatenate([request.uniforms(room) for request in requests])
            self.numbers = torch.from_numpy(numbers).to(device)

    def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
        """Let rows that only fill up a pass read the first number."""
        int32_tensor.zero_()

    def prepare_tensor_args(
        self, requests_with_new_token: list[FutureRequestState]
    ) -> torch.Tensor:
        """Return the place of each row's next random number: int32 (rows,).

        The position of a request already counts the tokens of this pass, so past the prompt it is
        the number of tokens written, also where the end of the last pass is not known yet.
        """
        places = []
        for future in requests_with_new_token:
            named = future.state.logit_processor_kwargs
            written = future.state.position_offset - named["prompt_tokens"]
            places.append(named["row"] * self.room + written)
        return torch.tensor(places, dtype=torch.int32)

    def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
        """Turn scores (rows, vocabulary) into 0 for the chosen token and -inf for all others."""
        numbers = self.numbers[tensor_arg[: scores.shape[0]].long()]
        chosen = choose_tokens(scores, numbers, self.temperature)
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen[:, None], 0.0)


def _cache_for(model: PreTrainedModel, at_once: int, longest: int) -> ContinuousBatchingConfig:
    """Return settings whose cache holds `at_once` texts of `longest` tokens and no more.

    Left alone transformers takes most of the free memory, on a CPU too.
    """
    flash = "flash" in str(model.config._attn_implementation)
    settings = ContinuousBatchingConfig(
        num_blocks=at_once * (ceil(longest / BLOCK) + 1),
        max_requests_per_batch=at_once,
        max_batch_tokens=max(at_once, TOKENS_A_PASS_FLASH if flash else TOKENS_A_PASS),
        allow_block_sharing=False,  # shared blocks are kept after their texts have ended
        safety_margin=0.0,  # whoever has a place has room to the end
    )
    # By itself it would fetch attention kernels from the hub; load the model with the
    # implementation it should have.
    settings.auto_switch_to_flash = False
    return settings


@contextmanager
def _running(
    model: PreTrainedModel,
    generation: GenerationConfig,
    settings: ContinuousBatchingConfig,
    streams: _SeededRequests | None,
) -> Iterator[ContinuousBatchingManager]:
    """Run the thread that writes; stop it and put the attention implementation back."""
    attention = model.config._attn_implementation
    manager = None
    try:
        try:
            manager = model.init_continuous_batching(
                generation_config=generation, continuous_batching_config=settings
            )
            if streams is not None:
                processors = LogitsProcessorList([streams])
                manager.logit_processor = ContinuousBatchingLogitsProcessorList(processors)
                manager.logit_processor.tensors_required = 1
            manager.warmup()  # makes the cache here, where its errors can be caught
        except MemoryError as error:
            raise RuntimeError(
                f"the cache for {settings.max_requests_per_batch} solutions at once does not fit "
                f"into memory ({error}): give a smaller batch size"
            ) from error
        except (ValueError, AttributeError, NotImplementedError, KeyError) as error:
            raise RuntimeError(
                f"transformers cannot write with {type(model).__name__} by continuous batching "
                f"({error}): take the engine 'batched'"
            ) from error
        manager.start()
        yield manager
    finally:
        if manager is not None:
            if manager.is_running():
                manager.stop(hard_stop=True)
            manager.destroy()
        if model.config._attn_implementation != attention:
            model.set_attn_implementation(attention)


def _next_result(manager: ContinuousBatchingManager) -> tuple[int, list[int]]:
    """Wait for the next text that ends; returns its row and the tokens written."""
    while (result := manager.get_result(timeout=PATIENCE)) is None:
        if not manager.is_running():
            raise _broken(manager.background_thread_status.fatal_error)
    if result.error is not None:
        raise _broken(result.error)
    return int(result.request_id), list(result.generated_tokens)


def _broken(reason: object) -> RuntimeError:
    return RuntimeError(
        f"continuous batching stopped before all solutions were written ({reason}): give a smaller "
        "batch size, or take the engine 'batched'"
    )
