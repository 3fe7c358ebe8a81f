"""vLLM as the engine (optional extra): continuous batching with kernels of its own, on a GPU.

Written against vLLM's documented interface (`LLM.generate` on `TokensPrompt`s, `SamplingParams`)
and exercised only against a stand-in of it in the tests, never against vLLM itself. Each request is
seeded, but vLLM draws from its own generator: greedy texts are those of the other engines (up to
rounding), sampled ones are others from the same distribution.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from rg_helpers.language_model import save_model
from rg_helpers.traces.decoding import Request

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

MISSING = (
    "the engine 'vllm' needs the package vllm, which runs on Linux with a GPU: pip install "
    "rg_helpers[vllm], or take the engine 'continuous' or 'batched'"
)
ENDED = ("stop", "length")


@dataclass(frozen=True, eq=False)
class VllmEngine:
    """A running `vllm.LLM`; made by `of`, used for any number of calls."""

    language_model: Any
    vllm: ModuleType
    end: int  # the tokenizer's EOS
    folder: tempfile.TemporaryDirectory  # with the weights; deleted with the engine

    name: ClassVar[str] = "vllm"
    own_numbers: ClassVar[bool] = True

    @classmethod
    def of(
        cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, batch_size: int
    ) -> VllmEngine:
        """Start vLLM on the weights of `model`, as they are now (also after training).

        They go to vLLM by way of a temporary folder. Keep `model` itself on the CPU, since vLLM
        fills the GPU. Raises `RuntimeError` without vLLM.
        """
        try:
            import vllm
        except ImportError as error:
            raise RuntimeError(MISSING) from error
        folder = tempfile.TemporaryDirectory(prefix="rg_helpers_vllm_")
        saved = save_model(Path(folder.name) / "model", model, tokenizer, model.dtype)
        running = vllm.LLM(
            model=str(saved),
            dtype=str(model.dtype).removeprefix("torch."),
            max_num_seqs=batch_size,
            generation_config="vllm",  # not the defaults that come with the model
        )
        return cls(running, vllm, tokenizer.eos_token_id, folder)

    def write(
        self,
        requests: Sequence[Request],
        temperature: float,
        ends: frozenset[int],
        room: int,
        advance: Callable[[int], object],
    ) -> None:
        """Write all requests to their ends; see `engines.Engine.write`.

        Raises `RuntimeError` where vLLM gives a request up.
        """
        if not requests:
            return
        outputs = self.language_model.generate(
            [
                self.vllm.TokensPrompt(prompt_token_ids=[*request.prompt_ids, *request.written])
                for request in requests
            ],
            [self._parameters(request, temperature, ends, room) for request in requests],
            use_tqdm=False,
        )
        for request, output in zip(requests, outputs, strict=True):
            (completion,) = output.outputs
            if completion.finish_reason not in ENDED:
                raise RuntimeError(
                    f"vLLM gave a request of {len(request)} tokens up "
                    f"(finish_reason={completion.finish_reason!r}): write fewer solutions at once, "
                    "or take the engine 'continuous'"
                )
            new = list(completion.token_ids)
            if completion.finish_reason == "stop" and not (new and new[-1] in ends):
                # Should a version leave out the token that ended the text: `stop_reason` names it,
                # unless it is EOS.
                stopped = completion.stop_reason
                new.append(stopped if isinstance(stopped, int) else self.end)
            request.written = [*request.written, *new][:room]
        advance(len(requests))

    def _parameters(
        self, request: Request, temperature: float, ends: frozenset[int], room: int
    ) -> Any:
        """Return vLLM's settings for one request: the bare distribution, its own seed and end."""
        return self.vllm.SamplingParams(
            temperature=temperature,
            seed=request.stream_seed >> 1,  # below 2^63: a signed number in vLLM
            max_tokens=room - len(request.written),
            stop_token_ids=sorted(ends),
            detokenize=False,
        )
