"""Batches of traces for one forward pass each: sorted by length, padded, within the free memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import psutil
import torch
from tqdm.auto import tqdm

from rg_helpers.traces import Trace, check_positions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BytesNeeded = Callable[["PreTrainedModel", Trace], int]
MEMORY_SHARE = 0.25  # of what is free now; the rest is for the caller
LARGEST_BATCH = 32  # wider batches of short traces gain nothing on a CPU


def forward_bytes(model: PreTrainedModel, trace: Trace) -> int:
    """Estimate, on the high side, what one trace takes in a forward pass with step masses."""
    config = model.config.get_text_config()
    tokens, nodes = len(trace), len(trace.nodes)
    heads, layers = config.num_attention_heads, config.num_hidden_layers
    per_token = 24 * config.hidden_size + 6 * heads * nodes
    kept = layers * heads * nodes * nodes
    scores = 2 * heads * tokens * min(tokens, 2048)  # where no fused kernel fits
    return 4 * (tokens * per_token + kept + scores)


def length_batches(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    batch_size: int | None = None,
    bytes_needed: BytesNeeded = forward_bytes,
) -> list[list[int]]:
    """Group the indices of `traces` into batches of similar length, the longest traces first.

    Without a `batch_size` a batch is as large as a quarter of the free memory allows, where
    `bytes_needed(model, trace)` says what one trace takes; the longest of a batch counts for all.
    Raises `ValueError` for a batch size below one.
    """
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    free = free_bytes(model)
    batches: list[list[int]] = []
    longest_first = sorted(range(len(traces)), key=lambda index: -len(traces[index]))
    for index in longest_first:
        if batches:
            first = traces[batches[-1][0]]
            fitting = free // max(1, bytes_needed(model, first))
            most = batch_size or max(1, min(LARGEST_BATCH, fitting))
            if len(batches[-1]) < most:
                batches[-1].append(index)
                continue
        batches.append([index])
    return batches


def padded_batch(
    traces: Sequence[Trace], device: torch.device | str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return input_ids, attention_mask and node_ids: int64 (batch, tokens), padded on the right.

    Padding has token id 0, mask 0 and node -1; so have BOS, EOS and separators node -1.
    """
    width = max(len(trace) for trace in traces)
    input_ids = torch.zeros(len(traces), width, dtype=torch.int64)
    mask = torch.zeros_like(input_ids)
    node_ids = torch.full_like(input_ids, -1)
    for row, trace in enumerate(traces):
        input_ids[row, : len(trace)] = torch.tensor(trace.token_ids)
        mask[row, : len(trace)] = 1
        node_ids[row, : len(trace)] = torch.tensor(trace.node_ids())
    return input_ids.to(device), mask.to(device), node_ids.to(device)


def masses_of_traces(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    run: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    *,
    title: str,
    batch_size: int | None = None,
    bytes_needed: BytesNeeded = forward_bytes,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return what `run` computes for each trace, cut to its nodes: float32 (..., nodes, nodes).

    `run(input_ids, attention_mask, node_ids)` takes one padded batch and returns
    (batch, ..., nodes, nodes), where nodes is the most that any trace of the batch has. It is
    called without gradient, the model in evaluation mode. Numbers below zero are rounding errors
    of sums by difference and become zero. `title` names the progress bar.
    """
    check_traces(model, traces)
    found: list[np.ndarray | None] = [None] * len(traces)
    bar = tqdm(total=len(traces), desc=title, disable=None if progress else True)
    with bar, evaluation_mode(model), torch.no_grad():
        for chosen in length_batches(model, traces, batch_size, bytes_needed):
            batch = run(*padded_batch([traces[index] for index in chosen], model.device))
            masses = batch.float().clamp(min=0).cpu().numpy()
            for index, mass in zip(chosen, masses, strict=True):
                nodes = len(traces[index].nodes)
                found[index] = mass[..., :nodes, :nodes].copy()
            bar.update(len(chosen))
    return [mass for mass in found if mass is not None]


def check_traces(model: PreTrainedModel, traces: Sequence[Trace]) -> None:
    """Raise `ValueError` for traces without nodes or longer than the model's positions."""
    for trace in traces:
        if not trace.nodes:
            raise ValueError(f"trace {trace.trace_id!r} has no nodes: nothing to draw a graph of")
        check_positions(model, len(trace), f"trace {trace.trace_id!r}")


@contextmanager
def evaluation_mode(model: PreTrainedModel) -> Iterator[None]:
    """Switch dropout off inside the block and put the model's mode back afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def free_bytes(model: PreTrainedModel) -> int:
    """Return the share of the free memory, on the model's device, that a batch may take."""
    if model.device.type == "cuda":
        free = torch.cuda.mem_get_info(model.device)[0]
    else:
        free = psutil.virtual_memory().available
    return int(free * MEMORY_SHARE)
