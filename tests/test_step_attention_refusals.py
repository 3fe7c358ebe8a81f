"""What step attention cannot serve says so, with the cure, and never gives a wrong number."""

from __future__ import annotations

import pytest
import torch
import transformers
from tiny_models import TINY, VOCABULARY, batch, tiny_model

from rg_helpers.step_attention import extract, step_attention, tap_step_attention


def test_wrong_node_ids_are_refused():
    model = tiny_model("llama")
    input_ids, mask, node_ids = batch("left")
    with pytest.raises(ValueError, match="nodes=5 or more"):
        step_attention(model, input_ids, mask, node_ids, nodes=4)
    with pytest.raises(ValueError, match="one value per token"):
        step_attention(model, input_ids, mask, node_ids[:, 1:])
    with pytest.raises(ValueError, match="integer tensor"):
        step_attention(model, input_ids, mask, node_ids.float())
    with pytest.raises(ValueError, match="use -1"):
        step_attention(model, input_ids, mask, node_ids - 1)
    with pytest.raises(ValueError, match="no token belongs"):
        step_attention(model, input_ids, mask, torch.full_like(node_ids, -1))
    with pytest.raises(ValueError, match="padding tokens carry a node id"):
        step_attention(model, input_ids, mask, node_ids.masked_fill(mask == 0, 0))
    with (
        pytest.raises(ValueError, match="one node id per token"),
        tap_step_attention(model, node_ids[:, :-1]),
    ):
        model(input_ids)


def test_empty_and_one_dimensional_input_is_refused():
    model = tiny_model("llama")
    empty = torch.zeros(1, 0, dtype=torch.long)
    with pytest.raises(ValueError, match="at least one token"):
        step_attention(model, empty, empty, empty)
    line = torch.zeros(4, dtype=torch.long)
    with pytest.raises(ValueError, match="batch dimension"):
        step_attention(model, line, None, line)


def test_models_without_the_hook_are_refused():
    _, mask, node_ids = batch("none")
    ids = torch.full_like(node_ids, 5)
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2}
    mamba = transformers.MambaForCausalLM(transformers.MambaConfig(**sizes, state_size=4))
    with pytest.raises(ValueError, match="no softmax attention"):
        step_attention(mamba, ids, mask, node_ids)
    codegen = transformers.CodeGenConfig(
        vocab_size=VOCABULARY, n_embd=32, n_layer=1, n_head=4, rotary_dim=4
    )
    with pytest.raises(ValueError, match="AttentionInterface"):
        step_attention(transformers.CodeGenForCausalLM(codegen), ids, mask, node_ids)
    t5 = transformers.T5Config(vocab_size=VOCABULARY, d_model=32, d_kv=8, num_heads=4, num_layers=1)
    with pytest.raises(ValueError, match="encoder-decoder"):
        step_attention(transformers.T5ForConditionalGeneration(t5), ids, mask, node_ids)
    bert = transformers.BertConfig(**sizes, num_attention_heads=4, intermediate_size=32)
    with pytest.raises(ValueError, match="both directions"):
        step_attention(transformers.BertModel(bert), ids, mask, node_ids)
    with pytest.raises(ValueError, match="transformers model"):
        step_attention(torch.nn.Linear(2, 2), ids, mask, node_ids)


def test_attention_sinks_are_refused_not_ignored():
    config = transformers.GptOssConfig(
        **TINY, head_dim=8, num_local_experts=2, num_experts_per_tok=1
    )
    model = transformers.GptOssForCausalLM(config)
    input_ids, mask, node_ids = batch("none")
    with pytest.raises(ValueError, match="attention sinks"):
        step_attention(model, input_ids, mask, node_ids)
    assert model.config._attn_implementation == "eager"


def test_layers_outside_the_model_are_refused():
    model = tiny_model("llama")
    input_ids, mask, node_ids = batch("none")
    for layers in ([2], [-3], []):
        with pytest.raises(ValueError, match="layer"):
            step_attention(model, input_ids, mask, node_ids, layers=layers)
    with pytest.raises(ValueError, match="route"):
        step_attention(model, input_ids, mask, node_ids, route="magic")


def test_one_forward_per_tap_and_no_nested_taps():
    model = tiny_model("llama")
    input_ids, _, node_ids = batch("none")
    with tap_step_attention(model, node_ids) as tap:
        with pytest.raises(RuntimeError, match="inside the `with` block"):
            tap.mass()
        model(input_ids)
        with pytest.raises(RuntimeError, match="ran twice"):
            model(input_ids)
        with (
            pytest.raises(RuntimeError, match="already under a tap"),
            tap_step_attention(model, node_ids),
        ):
            pass
    assert model.config._attn_implementation == "sdpa"


def test_learned_positions_too_few_for_the_trace():
    model = tiny_model("gpt2")
    long = torch.ones(1, 300, dtype=torch.long)
    with pytest.raises(ValueError, match="256 positions"):
        step_attention(model, long, None, torch.zeros_like(long))


def test_twenty_thousand_tokens_run_in_bounded_memory_or_are_refused(monkeypatch):
    sizes = TINY | {"num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1}
    config = transformers.LlamaConfig(**sizes | {"max_position_embeddings": 20_000})
    model = transformers.LlamaForCausalLM(config).eval()
    input_ids = torch.randint(3, VOCABULARY, (1, 20_000))
    node_ids = torch.arange(20_000)[None] // 200
    with torch.no_grad():
        result = step_attention(model, input_ids, None, node_ids, keep_logits=False)
    torch.testing.assert_close(result.mass.sum(-1), torch.ones(1, 1, 1, 100))
    little = type("Memory", (), {"available": 2**20})
    monkeypatch.setattr(extract.psutil, "virtual_memory", lambda: little)
    with pytest.raises(ValueError, match=r"GiB are free.*keep_logits=False"):
        step_attention(model, input_ids, None, node_ids)


def test_ranges_refuse_what_they_cannot_do():
    model = tiny_model("llama")
    input_ids, mask, node_ids = batch("left")
    with pytest.raises(ValueError, match="no gradient"):
        step_attention(model, input_ids, None, node_ids, route="ranges")
    with torch.no_grad(), pytest.raises(ValueError, match="unpadded"):
        step_attention(model, input_ids, mask, node_ids, route="ranges")
