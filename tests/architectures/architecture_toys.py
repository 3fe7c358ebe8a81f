"""Models of every architecture that is promised, each with the tokenizer its family has."""

from __future__ import annotations

import functools

import torch
from locally_trained_tokenizers import trained_tokenizer
from tiny_models import tiny_model
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from rg_helpers.traces import Trace

# (architecture, tokenizer); Llama stands twice: version 3, and SentencePiece's Unigram.
PAIRS = (
    ("llama", "llama3"),
    ("llama", "unigram"),
    ("qwen2", "qwen"),
    ("qwen3", "qwen"),
    ("gemma3", "gemma"),
    ("mistral", "llama2"),
    ("phi3", "phi3"),
    ("gpt2", "gpt2"),
    ("gpt_neox", "gpt_neox"),
    ("olmo2", "olmo2"),
)
POSITIONS = 640
WINDOW = 24  # of sliding layers: several steps long, shorter than every trace


@functools.cache
def toy(architecture: str, tokenizer: str) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A model with random weights and a trained tokenizer; do not change them."""
    words = trained_tokenizer(tokenizer)
    changes = {
        "vocab_size": len(words),
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
        "n_positions" if architecture == "gpt2" else "max_position_embeddings": POSITIONS,
    }
    if architecture in ("gemma3", "mistral"):
        changes["sliding_window"] = WINDOW
    return tiny_model(architecture, **changes), words


def padded(traces: list[Trace], side: str, pad: int = 0) -> tuple[torch.Tensor, ...]:
    """Input ids, attention mask and node ids (traces, tokens), padded on one side."""
    width = max(len(trace.token_ids) for trace in traces)
    ids = torch.full((len(traces), width), pad)
    mask, nodes = torch.zeros_like(ids), torch.full_like(ids, -1)
    for row, trace in enumerate(traces):
        length = len(trace.token_ids)
        where = slice(width - length, width) if side == "left" else slice(0, length)
        ids[row, where] = torch.tensor(trace.token_ids)
        mask[row, where] = 1
        nodes[row, where] = torch.tensor(trace.node_ids())
    return ids, mask, nodes


@torch.no_grad()
def summed_eager_attention(model: PreTrainedModel, trace: Trace) -> torch.Tensor:
    """The slow and obvious way, one unpadded trace: (layers, heads, nodes, nodes)."""
    former = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        output = model(torch.tensor([trace.token_ids]), output_attentions=True, use_cache=False)
    finally:
        model.set_attn_implementation(former)
    layers = torch.stack([attention[0].float() for attention in output.attentions])
    count = len(trace.nodes)
    mass = torch.zeros(*layers.shape[:2], count, count)
    for row, target in enumerate(trace.nodes):
        for column, source in enumerate(trace.nodes):
            block = layers[:, :, target.start : target.end, source.start : source.end]
            mass[:, :, row, column] = block.sum(-1).mean(-1)
    return mass


@torch.no_grad()
def greedy_without_padding(
    model: PreTrainedModel, prompt: list[int], ends: set[int], room: int
) -> list[int]:
    """What one prompt alone is continued by: no padding, no cache, a whole pass for each token."""
    written: list[int] = []
    while len(written) < room and not (written and written[-1] in ends):
        logits = model(torch.tensor([[*prompt, *written]]), use_cache=False).logits
        written.append(int(logits[0, -1].argmax()))
    return written
