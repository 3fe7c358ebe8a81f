"""Tiny random-weight models of many architectures, and padded batches of traces for them."""

from __future__ import annotations

import torch
import transformers

from rg_helpers.traces import Node, Trace

VOCABULARY = 61
TINY = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = ("llama", "qwen2", "qwen3", "gemma3", "mistral")
ARCHITECTURES = (*GROUPED, "gpt2", "gpt_neox")
LATER = ("phi3", "olmo2")  # not in ARCHITECTURES: tests/architectures is enough for these


def tiny_model(name: str, **changes) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    options = TINY | changes
    if name == "gpt2":
        sizes = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4}
        config = transformers.GPT2Config(**sizes | {"n_positions": 256} | changes)
    elif name == "gpt_neox":
        options.pop("num_key_value_heads")
        config = transformers.GPTNeoXConfig(**options)
    elif name == "gemma3":
        # One sliding layer and one full layer; the window is shorter than every test sequence.
        shape = {"head_dim": 16, "query_pre_attn_scalar": 24, "sliding_window": 7}
        kinds = ["sliding_attention", "full_attention"]
        config = transformers.Gemma3TextConfig(**shape | {"layer_types": kinds} | options)
    elif name == "mistral":
        config = transformers.MistralConfig(**{"sliding_window": 5} | options)
    elif name == "qwen3":
        config = transformers.Qwen3Config(**{"head_dim": 16} | options)
    else:
        kind = {
            "llama": "LlamaConfig",
            "qwen2": "Qwen2Config",
            "gemma2": "Gemma2Config",
            "phi3": "Phi3Config",
            "olmo2": "Olmo2Config",
        }[name]
        config = getattr(transformers, kind)(**options)
    model = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager" if name == "gemma2" else "sdpa"
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6.0)  # away from uniform attention, so that errors show
    return model.eval()


def batch(padding: str, tokens: int = 29, nodes: int = 5, rows: int = 3):
    """Random traces of different lengths with contiguous nodes, padded left, right or not."""
    generator = torch.Generator().manual_seed(7)
    input_ids = torch.randint(3, VOCABULARY, (rows, tokens), generator=generator)
    mask = torch.ones_like(input_ids)
    node_ids = torch.full_like(input_ids, -1)
    for row in range(rows):
        length = tokens - (0 if padding == "none" else 4 * row)
        start = tokens - length if padding == "left" else 0
        mask[row] = 0
        mask[row, start : start + length] = 1
        spans = torch.arange(length - 1) * nodes // (length - 1)
        spans[3 + row] = -1  # a separator inside a trace belongs to no node
        node_ids[row, start + 1 : start + length] = spans
    return input_ids.masked_fill(mask == 0, 0), mask, node_ids


def tiny_traces(count: int = 3, nodes: int = 6, seed: int = 7) -> list[Trace]:
    """Traces of random tokens for these models: each longer and with a node more than the last.

    Node lengths differ, BOS stands in front and a separator without node in the middle.
    """
    generator = torch.Generator().manual_seed(seed)
    traces = []
    for number in range(count):
        kinds = ["premise"] * 2 + ["question"] + ["step"] * (nodes + number - 4) + ["answer"]
        spans, position = [], 1
        for index, kind in enumerate(kinds):
            length = int(torch.randint(1, 6, (), generator=generator))
            spans.append(Node(kind, f"{kind} {index}", position, position + length))
            position += length + (index == 3)
        tokens = torch.randint(3, VOCABULARY, (position,), generator=generator).tolist()
        tokens[0] = TINY["bos_token_id"]
        prompt_tokens = spans[2].end
        name = f"random-{seed}-{number}"
        traces.append(
            Trace(name, name, "text", "prompt", "solution", tokens, prompt_tokens, spans, False)
        )
    return traces
