"""Shared neurons: which neurons of the feed-forward blocks are active in both of two nodes.

A neuron's activation is what the last projection of a feed-forward block reads: act(W x) in GPT-2
and GPT-NeoX, act(gate) * up in Llama, Qwen, Gemma, Mistral. Its strength in a node is the mean of
its absolute value over the node's tokens (gated neurons have both signs). It is active where that
exceeds its own quantile over the nodes of training traces, so that neurons which always fire
count as little as those which never do. The score is the Jaccard index of the two active sets,
|A and B| / |A or B| (Jaccard 1912). Feed-forward neurons as keys of a memory: Geva et al. 2021
(arXiv 2012.14913).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from rg_helpers.graphs.activation import layer_graphs
from rg_helpers.graphs.batches import check_traces, evaluation_mode, length_batches, padded_batch
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.graphs.step_states import pooling_weights
from rg_helpers.step_attention.tap import layer_count, served_model
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

QUANTILE = 0.9
MOST_NODES = 2000  # of the training traces, evenly spread: enough for a quantile, little memory
# The last projection of a feed-forward block, by the names that architectures give it.
LAST_PROJECTION = re.compile(
    r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.(?:(?:mlp|feed_forward|ffn)\.)?"
    r"(?:down_proj|c_proj|dense_4h_to_h|fc2|fc_out|w2)$"
)


@dataclass(frozen=True, eq=False)
class NeuronThresholds:
    """Above which strength every neuron counts as active: float32 (layers, neurons)."""

    thresholds: np.ndarray
    quantile: float
    nodes: int


def last_projections(model: PreTrainedModel) -> list[nn.Module]:
    """Return the module behind the neurons of every layer, in order.

    Raises `ValueError` for a model whose feed-forward blocks are not recognised (a mixture of
    experts, for example).
    """
    base = served_model(model)
    found = {}
    for name, module in base.named_modules():
        match = LAST_PROJECTION.search(name)
        if match:
            found[int(match[1])] = module
    if sorted(found) != list(range(layer_count(base))):
        raise ValueError(
            f"{type(base).__name__} has {layer_count(base)} layers, but the feed-forward output "
            f"projection was found in {len(found)} of them: shared neurons serve dense blocks "
            "(Llama, Qwen, Gemma, Mistral, GPT-2, GPT-NeoX, ...)"
        )
    return [found[layer] for layer in sorted(found)]


def neuron_strengths(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    read: Callable[[np.ndarray, Trace], np.ndarray] = lambda strengths, trace: strengths,
    *,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return each node's mean absolute activation of every neuron: (layers, nodes, neurons).

    With `read`, return what `read(strengths, trace)` makes of each trace's float32 array instead,
    so that the arrays need not all be kept.
    """
    check_traces(model, traces)
    base = served_model(model)
    seen: dict[int, torch.Tensor] = {}
    hooks = [
        module.register_forward_pre_hook(_keep(seen, layer))
        for layer, module in enumerate(last_projections(model))
    ]
    found: dict[int, np.ndarray] = {}
    bar = tqdm(total=len(traces), desc="neurons", disable=None if progress else True)
    try:
        with bar, evaluation_mode(model), torch.no_grad():
            for chosen in length_batches(model, traces, batch_size, neurons_bytes):
                ids, mask, _ = padded_batch([traces[index] for index in chosen], model.device)
                base.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
                strengths = [seen.pop(layer) for layer in sorted(seen)]
                for row, index in enumerate(chosen):
                    trace = traces[index]
                    weights = pooling_weights(trace, "mean").to(model.device)
                    pooled = [weights @ layer[row, : len(trace)] for layer in strengths]
                    found[index] = read(torch.stack(pooled).cpu().numpy(), trace)
                bar.update(len(chosen))
    finally:
        for hook in hooks:
            hook.remove()
    return [found[index] for index in range(len(traces))]


def fit_neurons(
    model: PreTrainedModel,
    fit: Sequence[Trace],
    *,
    quantile: float = QUANTILE,
    batch_size: int | None = None,
    progress: bool = True,
) -> NeuronThresholds:
    """Fit every neuron's threshold: its `quantile` over the nodes of training traces.

    Of many traces at most `MOST_NODES` nodes are kept, evenly spread.
    """
    if not 0 < quantile < 1:
        raise ValueError(f"quantile={quantile}: expected a share between 0 and 1, for example 0.9")
    if not fit:
        raise ValueError("thresholds need training traces, got none")
    stride = max(1, -(-sum(len(trace.nodes) for trace in fit) // MOST_NODES))

    def read(strengths: np.ndarray, trace: Trace) -> np.ndarray:
        return strengths[:, ::stride].copy()

    kept = neuron_strengths(model, fit, read, batch_size=batch_size, progress=progress)
    pooled = np.concatenate(kept, axis=1)
    thresholds = np.quantile(pooled, quantile, axis=1).astype(np.float32)
    return NeuronThresholds(thresholds, quantile, pooled.shape[1])


def shared_neurons_scores(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    fitted: NeuronThresholds,
    *,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return the Jaccard index of active neurons: float32 (layers, nodes, nodes) in [0, 1]."""

    def read(strengths: np.ndarray, trace: Trace) -> np.ndarray:
        if strengths.shape[::2] != fitted.thresholds.shape:
            raise ValueError(
                f"the thresholds are those of {fitted.thresholds.shape} (layers, neurons), the "
                f"model has {strengths.shape[::2]}: fit them with the same model"
            )
        return np.tril(jaccard(strengths > fitted.thresholds[:, None]), k=-1)

    return neuron_strengths(model, traces, read, batch_size=batch_size, progress=progress)


def shared_neurons_graphs(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    fitted: NeuronThresholds,
    *,
    layer: int = -1,
    min_gap: int = 1,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[StepGraph]:
    """Draw the graph of shared active neurons in one layer (default: the last)."""
    scores = shared_neurons_scores(model, traces, fitted, batch_size=batch_size, progress=progress)
    choice = f"layer {layer}, above quantile {fitted.quantile:g} of {fitted.nodes} nodes"
    return layer_graphs(traces, scores, layer, "shared_neurons", choice, min_gap)


def jaccard(active: np.ndarray) -> np.ndarray:
    """Return |A and B| / |A or B| of every two rows: bool (..., nodes, neurons), float32.

    Two empty sets share nothing: 0.
    """
    sets = active.astype(np.float32)
    both = sets @ np.swapaxes(sets, -1, -2)
    sizes = sets.sum(-1)
    either = sizes[..., :, None] + sizes[..., None, :] - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def neurons_bytes(model: PreTrainedModel, trace: Trace) -> int:
    """Estimate, on the high side, what one trace takes while all layers' neurons are kept."""
    config = model.config.get_text_config()
    neurons = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    per_token = (config.num_hidden_layers + 4) * neurons + 12 * config.hidden_size
    return 4 * len(trace) * (per_token + 2 * config.num_attention_heads * min(len(trace), 2048))


def _keep(seen: dict[int, torch.Tensor], layer: int) -> Callable:
    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen[layer] = inputs[0].detach().float().abs()

    return hook
