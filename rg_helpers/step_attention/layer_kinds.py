"""What each layer of a model is: full or sliding attention, a state-space layer, or both at once.

Kinds have transformers' own names (`config.layer_types`). A sliding or chunked layer is served as
it is: beyond its window the mass is zero, because the layer sees nothing there. A state-space,
recurrent or convolution layer sums the past up without attending to any token of it, so it has no
step masses, and what it carries from step to step is in no attention graph.
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedModel

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
WITHOUT_ATTENTION = {
    "linear_attention": "a state-space or recurrent layer",
    "conv": "a convolution",
    "moe": "experts alone",
    "mlp": "a feed-forward layer alone",
}


def layer_kinds(model: PreTrainedModel) -> tuple[str, ...]:
    """Return the kind of every layer of a model's decoder, first layer first."""
    config = model.config.get_text_config(decoder=True)
    count = int(config.num_hidden_layers)
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and len(kinds) == count:
        return tuple(kinds)
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return (SLIDING,) * count
    return (CHUNKED if getattr(config, "attention_chunk_size", None) else FULL,) * count


def refuse_layers_without_attention(model: PreTrainedModel, layers: Sequence[int]) -> None:
    """Raise `ValueError` if a layer is of a kind without attention; says what the others are."""
    kinds = layer_kinds(model)
    missing = [layer for layer in layers if kinds[layer] in WITHOUT_ATTENTION]
    if not missing:
        return
    served = [layer for layer, kind in enumerate(kinds) if kind not in WITHOUT_ATTENTION]
    meaning = ", ".join(
        f"{kind}: {WITHOUT_ATTENTION[kind]}"
        for kind in dict.fromkeys(kinds[layer] for layer in missing)
    )
    cure = (
        f"pass layers={served}, and mind that the graph shows nothing of what the others carry"
        if served
        else "use a model with attention layers (Llama, Qwen, Gemma, GPT-2, ...), or graphs from "
        "the text"
    )
    raise ValueError(
        f"layers {missing} of {type(model).__name__} have no softmax attention ({meaning}; "
        f"{layer_summary(model)}): {cure}"
    )


def layer_summary(model: PreTrainedModel) -> str:
    """Return one line such as "layers 0-4 sliding_attention (window 512), layer 5 full_attention".

    Layers of equal kind in a row stand together.
    """
    config = model.config.get_text_config(decoder=True)
    kinds = layer_kinds(model)
    widths = {
        SLIDING: getattr(config, "sliding_window", None),
        CHUNKED: getattr(config, "attention_chunk_size", None),
    }
    words, first = [], 0
    for layer, kind in enumerate(kinds):
        if layer + 1 < len(kinds) and kinds[layer + 1] == kind:
            continue
        name = f"layer {layer}" if layer == first else f"layers {first}-{layer}"
        width = f" (window {widths[kind]})" if widths.get(kind) else ""
        words.append(f"{name} {kind}{width}")
        first = layer + 1
    return ", ".join(words)
