"""Hidden states for linear probes: before the solution, over it and at its end, layer by layer.

The state at the question's end is all the model knows before it writes anything: a probe on it
predicts how hard the problem is (Kadavath et al. 2022, arXiv 2207.05221, ask the same of larger
models) and is the same for every sample of one problem. States over the solution are what probes
of correctness read (Azaria & Mitchell 2023, arXiv 2304.13734).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from tqdm.auto import tqdm

from rg_helpers.error_prediction.solution_span import check_solutions, solution_span
from rg_helpers.graphs.batches import evaluation_mode, length_batches, padded_batch
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Place = Literal["question", "solution_mean", "solution_last"]
PLACES: tuple[Place, ...] = Place.__args__


@dataclass(frozen=True, eq=False)
class TraceStates:
    """States of every trace in every layer: three arrays, float32 (traces, layers, width).

    `question` is taken at the prompt's last token, `solution_mean` is the mean over the solution's
    tokens, `solution_last` is taken at its last token (EOS left out). Layer 0 is what the first
    block leaves in the residual stream; the last layer is as the model's head reads it, after the
    final normalisation.
    """

    question: np.ndarray
    solution_mean: np.ndarray
    solution_last: np.ndarray

    def by_layer(self, place: Place) -> dict[str, np.ndarray]:
        """Return {"layer 0": float32 (traces, width), ...}: candidates to choose from in a fold.

        Raises `ValueError` for an unknown place.
        """
        if place not in PLACES:
            raise ValueError(f"place {place!r}: expected one of {', '.join(PLACES)}")
        states = getattr(self, place)
        return {f"layer {layer}": states[:, layer] for layer in range(states.shape[1])}


def trace_states(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    batch_size: int | None = None,
    progress: bool = True,
) -> TraceStates:
    """Return the states of every trace from one forward pass without the model's head.

    Batched by length within a quarter of the free memory. Raises `ValueError` for no traces, a
    trace without a solution or one longer than the model's positions.
    """
    if not traces:
        raise ValueError("no traces given: there are no states to return")
    check_solutions(model, traces)
    found: list[np.ndarray | None] = [None] * len(traces)
    bar = tqdm(total=len(traces), desc="hidden states", disable=None if progress else True)
    with bar, evaluation_mode(model), torch.no_grad():
        for chosen in length_batches(model, traces, batch_size, _bytes_needed):
            batch = [traces[index] for index in chosen]
            for index, states in zip(chosen, _batch_states(model, batch), strict=True):
                found[index] = states
            bar.update(len(chosen))
    places = np.stack(found).swapaxes(0, 1)  # (places, traces, layers, width)
    return TraceStates(*(np.ascontiguousarray(states) for states in places))


def _batch_states(model: PreTrainedModel, batch: Sequence[Trace]) -> np.ndarray:
    """Return float32 (batch, places, layers, width)."""
    input_ids, mask, _ = padded_batch(batch, model.device)
    layers = model.base_model(
        input_ids=input_ids, attention_mask=mask, output_hidden_states=True, use_cache=False
    ).hidden_states[1:]
    spans = [solution_span(trace) for trace in batch]
    rows = torch.arange(len(batch), device=model.device)
    starts, ends = torch.tensor(spans, device=model.device).T
    places = torch.arange(input_ids.shape[1], device=model.device)
    inside = ((places >= starts[:, None]) & (places < ends[:, None])).float()
    weights = (inside / inside.sum(1, keepdim=True))[:, None]  # (batch, 1, tokens)
    taken = []
    for states in layers:  # one layer at a time: the float32 copy stays small
        states = states.float()
        mean = (weights @ states)[:, 0]
        taken.append(torch.stack([states[rows, starts - 1], mean, states[rows, ends - 1]], 1))
    return torch.stack(taken, 2).cpu().numpy()


def _bytes_needed(model: PreTrainedModel, trace: Trace) -> int:
    """Estimate, on the high side, what one trace takes: every layer's states and one block."""
    config = model.config.get_text_config()
    tokens = len(trace)
    scores = 2 * config.num_attention_heads * tokens * min(tokens, 2048)
    return 4 * (tokens * (config.num_hidden_layers + 26) * config.hidden_size + scores)
