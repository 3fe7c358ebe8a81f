"""Step states: what the model's residual stream holds at the tokens of each node, layer by layer.

State 0 is what enters the first layer (token embeddings, and learned positions where a model has
them); state l is what l layers have made of it; the last one has passed the final norm as well, as
transformers returns it. A state at a token has read everything before that token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import torch
from tqdm.auto import tqdm

from rg_helpers.graphs.batches import check_traces, evaluation_mode, length_batches, padded_batch
from rg_helpers.step_attention.tap import layer_count, served_model
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Pooling = Literal["mean", "last"]
Found = TypeVar("Found")


def step_states(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    pooling: Pooling = "mean",
    layers: Sequence[int] | None = None,
    *,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return each trace's states pooled to nodes: float32 (states, nodes, width).

    `pooling`: "mean" over the node's tokens, or its "last" token, which has read the whole node.
    `layers` names the states wanted, in that order: 0 to the number of layers, or negative from the
    end; by default all of them, one more than the model has layers. Traces are batched by length;
    the model's mode is restored. Raises `ValueError` for an unknown pooling or state, and for
    traces without nodes or longer than the model's positions.
    """
    if pooling not in ("mean", "last"):
        raise ValueError(f"pooling={pooling!r}: expected 'mean' or 'last'")

    def read(states: torch.Tensor, trace: Trace) -> np.ndarray:
        return (pooling_weights(trace, pooling).to(states.device) @ states).cpu().numpy()

    return states_of_traces(
        model,
        traces,
        read,
        title="step states",
        layers=layers,
        batch_size=batch_size,
        progress=progress,
    )


def states_of_traces(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    read: Callable[[torch.Tensor, Trace], Found],
    *,
    title: str,
    layers: Sequence[int] | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[Found]:
    """Return what `read` makes of each trace's token states, so that these need not be kept.

    `read(states, trace)` gets float32 (states, tokens, width) on the model's device, padding cut
    off. The other arguments are those of `step_states`; `title` names the progress bar.
    """
    check_traces(model, traces)
    base = served_model(model)
    wanted = state_indices(layer_count(base), layers)
    found: dict[int, Found] = {}
    bar = tqdm(total=len(traces), desc=title, disable=None if progress else True)
    with bar, evaluation_mode(model), torch.no_grad():
        for chosen in length_batches(model, traces, batch_size, states_bytes):
            input_ids, mask, _ = padded_batch([traces[index] for index in chosen], model.device)
            states = base.base_model(
                input_ids=input_ids, attention_mask=mask, use_cache=False, output_hidden_states=True
            ).hidden_states
            kept = torch.stack([states[number].float() for number in wanted])
            for row, index in enumerate(chosen):
                found[index] = read(kept[:, row, : len(traces[index])], traces[index])
            bar.update(len(chosen))
    return [found[index] for index in range(len(traces))]


def pooling_weights(trace: Trace, pooling: Pooling) -> torch.Tensor:
    """Return float32 (nodes, tokens): each node's row averages its tokens, or picks the last."""
    weights = torch.zeros(len(trace.nodes), len(trace))
    for number, node in enumerate(trace.nodes):
        if pooling == "mean":
            weights[number, node.start : node.end] = 1 / (node.end - node.start)
        else:
            weights[number, node.end - 1] = 1
    return weights


def state_indices(count: int, layers: Sequence[int] | None) -> list[int]:
    """Turn the numbers of states (negative: from the end) of a model with `count` layers into
    indices 0 to `count`; `ValueError` for none or for one that does not exist."""
    wanted = list(range(count + 1) if layers is None else layers)
    if not wanted or any(not -count - 1 <= layer <= count for layer in wanted):
        raise ValueError(
            f"layers={wanted}: a model of {count} layers has the states 0 (embeddings) to {count} "
            "(after the last layer): name at least one of them"
        )
    return [layer % (count + 1) for layer in wanted]


def states_bytes(model: PreTrainedModel, trace: Trace) -> int:
    """Estimate, on the high side, what one trace takes in a forward pass that keeps all states."""
    config = model.config.get_text_config()
    widest = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    per_token = (2 * config.num_hidden_layers + 8) * config.hidden_size + 3 * widest
    scores = 2 * config.num_attention_heads * min(len(trace), 2048)
    return 4 * len(trace) * (per_token + scores)
