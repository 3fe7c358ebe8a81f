"""An untrained model that ends its texts at different places, for tests of generation."""

from __future__ import annotations

import torch
from transformers import Qwen3ForCausalLM

from rg_helpers.language_model import course_config

ENDS = range(40, 70)  # token ids that end a text, beside the tokenizer's EOS
TINY = {"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 32}


def ending_model() -> Qwen3ForCausalLM:
    """Some greedy texts of a few tokens end, others go on."""
    config = course_config(**TINY)
    config.tie_word_embeddings = False  # tied ones make an untrained model repeat itself
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6.0)  # away from a uniform next token
    model.generation_config.eos_token_id = list(ENDS)
    return model
