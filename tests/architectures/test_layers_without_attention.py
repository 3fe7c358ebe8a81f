"""State-space, hybrid, sliding, shared, wrapped: served and named, or refused with the reason."""

from __future__ import annotations

import pytest
import torch
import transformers
from tiny_models import TINY, batch, tiny_model
from transformers import AutoConfig, AutoModelForCausalLM

from rg_helpers.step_attention import (
    layer_kinds,
    layer_summary,
    step_attention,
    tap_step_attention,
)

MAMBA2 = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_state": 8}
EXPERTS = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16}
HYBRIDS = {  # layer 0 without attention, layer 1 with
    "jamba": {
        "attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False,
        "mamba_d_state": 4, "mamba_d_conv": 2, "mamba_dt_rank": 4, "num_experts": 2,
        "num_experts_per_tok": 1,
    },
    "bamba": {**MAMBA2, "mamba_chunk_size": 8, "attn_layer_indices": [1]},
    "qwen3_next": {
        **EXPERTS, "head_dim": 16, "layer_types": ["linear_attention", "full_attention"],
        "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8,
        "linear_value_head_dim": 8, "linear_conv_kernel_dim": 2,
        "shared_expert_intermediate_size": 16,
    },
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_multiple_of": 8},
}  # fmt: skip
ZAMBA2 = {
    "mamba_ngroups": 1, "n_mamba_heads": 4, "mamba_d_state": 8, "chunk_size": 8,
    "layers_block_type": ["mamba", "hybrid"], "num_mem_blocks": 1, "adapter_rank": 4,
    "attention_head_dim": 16, "use_mem_rope": False,
}  # fmt: skip


def built(kind: str, **changes) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **TINY | changes)).eval()


def eager_rows(model, input_ids, node_ids):
    """Summed eager attention by indicator matrices: (batch, layers, heads, nodes, nodes)."""
    former = model.config._attn_implementation
    model.set_attn_implementation("eager")
    outputs = model(input_ids, output_attentions=True, use_cache=False)
    model.set_attn_implementation(former)
    held = torch.stack([(node_ids == node).float() for node in range(5)], -1)
    shares = held / held.sum(1, keepdim=True)
    found = [a.float() for a in outputs.attentions if a is not None]
    return torch.stack([shares[:, None].mT @ a @ held[:, None] for a in found], 1)


@pytest.mark.parametrize("kind", HYBRIDS)
def test_hybrids_name_their_layers_and_serve_those_that_attend(kind):
    model = built(kind, **HYBRIDS[kind])
    input_ids, mask, node_ids = batch("none")
    first = "conv" if kind == "lfm2" else "linear_attention"
    assert layer_kinds(model) == (first, "full_attention")
    ran = []
    model.register_forward_pre_hook(lambda *_: ran.append(1))
    named = rf"layers \[0\] of .* no softmax attention \({first}.*layer 1 full.*layers=\[1\]"
    with pytest.raises(ValueError, match=named):
        step_attention(model, input_ids, mask, node_ids)
    with pytest.raises(ValueError, match=named), tap_step_attention(model, node_ids):
        pass
    assert not ran, "refused after the forward pass"
    with torch.no_grad():
        found = step_attention(model, input_ids, mask, node_ids, layers=[1])
        expected = eager_rows(model, input_ids, node_ids)
    assert found.kinds == ("full_attention",)
    torch.testing.assert_close(found.mass, expected[:, -1:], atol=1e-5, rtol=0)


def test_models_of_state_space_layers_alone_and_shared_attention_are_refused():
    input_ids, mask, node_ids = batch("none")
    mamba = built("mamba", state_size=4)
    with pytest.raises(ValueError, match=r"layers \[0, 1\] .*state-space.*graphs from the text"):
        step_attention(mamba, input_ids, mask, node_ids)
    with pytest.raises(ValueError, match="state-space"), tap_step_attention(mamba, node_ids):
        pass
    zamba = built("zamba2", **ZAMBA2)
    with pytest.raises(ValueError, match="shared between layers, as in Zamba"):
        step_attention(zamba, input_ids, mask, node_ids, layers=[1])
    twice = built("diffllama")
    with pytest.raises(RuntimeError, match="differential attention"):
        step_attention(twice, input_ids, mask, node_ids)


def test_sliding_layers_are_named_in_the_result():
    input_ids, mask, node_ids = batch("none")
    with torch.no_grad():
        mixed = step_attention(tiny_model("gemma3"), input_ids, mask, node_ids)
        last = step_attention(tiny_model("gemma3"), input_ids, mask, node_ids, layers=[-1])
    assert mixed.kinds == ("sliding_attention", "full_attention")
    assert last.kinds == ("full_attention",)
    assert not mixed.mass[:, 0, :, 4, 0].any()
    assert mixed.mass[:, 1, :, 4, 0].any()
    assert layer_summary(tiny_model("gemma3")) == (
        "layer 0 sliding_attention (window 7), layer 1 full_attention"
    )
    assert layer_summary(tiny_model("mistral")) == "layers 0-1 sliding_attention (window 5)"
    assert layer_kinds(tiny_model("qwen2")) == ("full_attention",) * 2


def test_a_multimodal_wrapper_is_read_through_its_language_model():
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    text = TINY | {"head_dim": 8, "sliding_window": 7}
    config = transformers.Gemma3Config(text_config=text, vision_config=vision)
    torch.manual_seed(0)
    model = transformers.Gemma3ForConditionalGeneration(config).eval()
    input_ids, mask, node_ids = batch("none")  # longer than the vision tower's four positions
    with torch.no_grad():
        found = step_attention(model, input_ids, mask, node_ids)
        expected = eager_rows(model, input_ids, node_ids)
    assert len(found.kinds) == 2
    torch.testing.assert_close(found.mass, expected, atol=1e-5, rtol=0)
