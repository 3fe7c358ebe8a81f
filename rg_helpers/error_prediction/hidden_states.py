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

from rg_helpers.error_prediction.solution_span import check_solutions, solution_span
from rg_helpers.graphs.step_states import pooling_weights, states_of_traces
from rg_helpers.step_attention.tap import layer_count, served_model
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
    """Return the states of every trace; see `states_with_steps`, which returns those of steps too.

    Raises `ValueError` like it.
    """
    return states_with_steps(model, traces, batch_size=batch_size, progress=progress)[0]


def states_with_steps(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    *,
    batch_size: int | None = None,
    progress: bool = True,
) -> tuple[TraceStates, list[np.ndarray]]:
    """Return the states of every trace, and of its steps, from one pass without the model's head.

    Those of steps are float32 (steps, width) a trace: means over each step's tokens after the layer
    before the last. Batched by length within a quarter of the free memory. Raises `ValueError` for
    no traces, a trace without a solution or one longer than the model's positions.
    """
    if not traces:
        raise ValueError("no traces given: there are no states to return")
    check_solutions(model, traces)
    layers = layer_count(served_model(model))

    def read(states: torch.Tensor, trace: Trace) -> tuple[np.ndarray, np.ndarray]:
        start, end = solution_span(trace)
        taken = (states[:, start - 1], states[:, start:end].mean(1), states[:, end - 1])
        means = pooling_weights(trace, "mean")[-len(trace.steps) :].to(states.device)
        steps = means @ states[max(1, layers - 1) - 1]  # states[0] is what the first layer leaves
        return torch.stack(taken).cpu().numpy(), steps.cpu().numpy()

    found = states_of_traces(
        model,
        traces,
        read,
        title="hidden states",
        layers=range(1, layers + 1),
        batch_size=batch_size,
        progress=progress,
    )
    places = np.stack([states for states, _ in found]).swapaxes(0, 1)
    return TraceStates(*map(np.ascontiguousarray, places)), [steps for _, steps in found]
