"""Step attention against eager attention summed by step, the slow and obvious way."""

from __future__ import annotations

import pytest
import torch
from tiny_models import ARCHITECTURES, batch, tiny_model

from rg_helpers.step_attention import DIFFERENTIABLE_ROUTES, step_attention, tap_step_attention


def eager_mass(model, input_ids, mask, node_ids, nodes):
    """Ground truth: eager attention matrices, summed and averaged by Python loops over nodes."""
    former = model.config._attn_implementation
    model.set_attn_implementation("eager")
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    outputs = model(input_ids, attention_mask=mask, position_ids=positions, output_attentions=True)
    model.set_attn_implementation(former)
    batch_rows = []
    for row in range(input_ids.shape[0]):
        layers = torch.stack([attention[row].float() for attention in outputs.attentions])
        targets = []
        for target in range(nodes):
            sources = []
            for source in range(nodes):
                block = layers[:, :, node_ids[row] == target][..., node_ids[row] == source]
                sources.append(block.sum(-1).mean(-1))
            targets.append(torch.stack(sources, -1))
        batch_rows.append(torch.stack(targets, -2))
    return torch.stack(batch_rows), outputs.logits


@pytest.mark.parametrize("padding", ["none", "left", "right"])
@pytest.mark.parametrize("route", DIFFERENTIABLE_ROUTES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equals_eager_attention_summed_by_step(name, route, padding):
    model = tiny_model(name)
    input_ids, mask, node_ids = batch(padding)
    with torch.no_grad():
        ours = step_attention(model, input_ids, mask, node_ids, route=route)
        expected, _ = eager_mass(model, input_ids, mask, node_ids, 5)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        plain = model(input_ids, attention_mask=mask, position_ids=positions).logits
    assert ours.mass.dtype == torch.float32
    assert ours.mass.shape == (3, 2, 4, 5, 5)
    assert (ours.mass - expected).abs().max() <= 1e-5
    real = mask.bool()
    torch.testing.assert_close(ours.logits[real], plain[real], atol=1e-4, rtol=1e-4)
    assert torch.all(ours.mass.triu(1) == 0), "a step attends to a later step"
    assert ours.mass.std() > 0.05, "the test model attends almost uniformly and shows no error"


@pytest.mark.parametrize("route", DIFFERENTIABLE_ROUTES)
@pytest.mark.parametrize("name", ["qwen3", "gemma3", "gpt2"])
def test_gradients_equal_eager(name, route):
    model = tiny_model(name)
    input_ids, mask, node_ids = batch("right")
    torch.manual_seed(1)
    weights = torch.randn(3, 2, 4, 5, 5)
    real = mask.bool()

    def gradients(mass, logits):
        loss = (mass * weights).sum() + 0.1 * logits[real].logsumexp(-1).sum()
        model.zero_grad()
        loss.backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    expected = gradients(*eager_mass(model, input_ids, mask, node_ids, 5))
    model.train()
    for dropout in (m for m in model.modules() if isinstance(m, torch.nn.Dropout)):
        dropout.p = 0.0
    result = step_attention(model, input_ids, mask, node_ids, route=route)
    ours = gradients(result.mass, result.logits)
    assert ours.keys() == expected.keys()
    for parameter, gradient in expected.items():
        scale = gradient.abs().max().clamp(min=1.0)
        assert (ours[parameter] - gradient).abs().max() <= 1e-4 * scale, parameter


def test_mass_alone_reaches_the_weights_of_the_tapped_layer():
    model = tiny_model("llama").train()
    input_ids, mask, node_ids = batch("right")
    step_attention(model, input_ids, mask, node_ids, layers=[-1]).mass[..., 2, 1].sum().backward()
    projection = model.model.layers[1].self_attn
    assert projection.q_proj.weight.grad.abs().max() > 0
    assert projection.k_proj.weight.grad.abs().max() > 0
    assert projection.v_proj.weight.grad is None or not projection.v_proj.weight.grad.any()


@pytest.mark.parametrize("route", [None, *DIFFERENTIABLE_ROUTES])
def test_bfloat16_is_close_to_float32(route):
    input_ids, mask, node_ids = batch("left")
    with torch.no_grad():
        exact = step_attention(tiny_model("qwen2"), input_ids, mask, node_ids).mass[:, 0]
        half = step_attention(
            tiny_model("qwen2").to(torch.bfloat16), input_ids, mask, node_ids, route=route
        )
    assert half.mass.dtype == torch.float32
    assert half.logits.dtype == torch.bfloat16
    assert (half.mass[:, 0] - exact).abs().mean() < 0.02


def test_autocast_keeps_gradients_and_float32_masses():
    model = tiny_model("qwen3").train()
    input_ids, mask, node_ids = batch("right")
    exact = step_attention(model, input_ids, mask, node_ids).mass.detach()
    for route in DIFFERENTIABLE_ROUTES:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mass = step_attention(model, input_ids, mask, node_ids, route=route).mass
        assert mass.dtype == torch.float32
        assert (mass - exact)[:, 0].abs().mean() < 0.02
        mass[..., 3, 1].sum().backward()


def test_softcapped_attention_equals_eager():
    model = tiny_model("gemma2", head_dim=16, attn_logit_softcapping=2.0, sliding_window=9)
    input_ids, mask, node_ids = batch("right")
    expected, _ = eager_mass(model, input_ids, mask, node_ids, 5)
    ours = step_attention(model, input_ids, mask, node_ids).mass
    assert (ours - expected).abs().max() <= 1e-5
    expected[..., 3, 1].sum().backward()
    wanted = model.model.layers[0].self_attn.q_proj.weight.grad.clone()
    model.zero_grad()
    ours[..., 3, 1].sum().backward()
    torch.testing.assert_close(model.model.layers[0].self_attn.q_proj.weight.grad, wanted)
    alone = step_attention(model, input_ids, mask, node_ids, layers=[1])
    assert (alone.mass[:, 0] - expected[:, 1]).abs().max() <= 1e-5
    with pytest.raises(ValueError, match="softcap"):
        step_attention(model, input_ids, mask, node_ids, route="columns")


def test_token_rows_average_to_the_pooled_rows():
    model = tiny_model("gemma3")
    input_ids, mask, node_ids = batch("left")
    with torch.no_grad():
        pooled = step_attention(model, input_ids, mask, node_ids)
        for route in DIFFERENTIABLE_ROUTES:
            result = step_attention(model, input_ids, mask, node_ids, token_rows=True, route=route)
            assert result.token_mass.shape == (3, 2, 4, 29, 5)
            torch.testing.assert_close(result.mass, pooled.mass, atol=1e-5, rtol=0)
            rows = result.token_mass[1][:, :, node_ids[1] == 3].mean(2)
            torch.testing.assert_close(result.mass[1, :, :, 3], rows, atol=1e-6, rtol=0)
    assert pooled.token_mass is None


def test_layers_nodes_and_logits_on_request():
    model = tiny_model("llama")
    input_ids, mask, node_ids = batch("none")
    with torch.no_grad():
        full = step_attention(model, input_ids, None, node_ids)
        last = step_attention(model, input_ids, mask, node_ids, layers=[-1], keep_logits=False)
        wide = step_attention(model, input_ids, mask, node_ids, nodes=8)
    assert full.layers == (0, 1)
    assert last.layers == (1,)
    assert last.logits is None
    torch.testing.assert_close(last.mass, full.mass[:, 1:])
    assert wide.mass.shape[-2:] == (8, 8)
    assert not wide.mass[..., 5:, :].any()
    torch.testing.assert_close(wide.mass[..., :5, :5], full.mass)


# The attention implementation is given back


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_former_implementation_is_restored_also_after_an_exception(implementation):
    model = tiny_model("llama")
    model.set_attn_implementation(implementation)
    input_ids, mask, node_ids = batch("none")
    step_attention(model, input_ids, mask, node_ids)
    assert model.config._attn_implementation == implementation
    taken = []

    def fail_inside():
        with tap_step_attention(model, node_ids):
            taken.append(model.config._attn_implementation)
            raise KeyError("stop")

    with pytest.raises(KeyError):
        fail_inside()
    assert taken != [implementation]
    assert model.config._attn_implementation == implementation
    before = model(input_ids).logits
    torch.testing.assert_close(before, step_attention(model, input_ids, mask, node_ids).logits)


def test_tap_collects_live_masses_of_an_ordinary_training_forward():
    model = tiny_model("qwen3").train()
    input_ids, mask, node_ids = batch("right")
    labels = input_ids.masked_fill(mask == 0, -100)
    plain = model(input_ids, attention_mask=mask, labels=labels).loss
    with tap_step_attention(model, node_ids, layers=[1]) as tap:
        loss = model(input_ids, attention_mask=mask, labels=labels).loss
    assert list(tap.by_layer) == [1]
    torch.testing.assert_close(loss, plain)
    expected = step_attention(model, input_ids, mask, node_ids, layers=[1]).mass
    torch.testing.assert_close(tap.mass(), expected)
    (loss + tap.mass()[..., 4, 0].mean()).backward()
    assert model.model.layers[0].self_attn.q_proj.weight.grad.abs().max() > 0


def test_data_parallel_wrappers_are_looked_through():
    model = tiny_model("llama")
    input_ids, mask, node_ids = batch("none")
    with torch.no_grad():
        wrapped = step_attention(torch.nn.DataParallel(model), input_ids, mask, node_ids)
        torch.testing.assert_close(
            wrapped.mass, step_attention(model, input_ids, mask, node_ids).mass
        )


@pytest.mark.parametrize("route", DIFFERENTIABLE_ROUTES)
def test_gradient_checkpointing_inside_the_block_gives_the_same_gradient(route):
    input_ids, mask, node_ids = batch("right")

    def gradient(model):
        with tap_step_attention(model, node_ids, route=route) as tap:
            logits = model(input_ids, attention_mask=mask).logits
            (tap.mass()[..., 3, 1].sum() + 0.01 * logits.square().mean()).backward()
        return model.model.layers[0].self_attn.k_proj.weight.grad

    plain = gradient(tiny_model("llama").train())
    model = tiny_model("llama").train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    torch.testing.assert_close(gradient(model), plain)
    with pytest.raises(ValueError, match="tap_step_attention"):
        step_attention(model, input_ids, mask, node_ids)
    model.gradient_checkpointing_enable({"use_reentrant": True})
    embeddings = model.get_input_embeddings()(input_ids)
    with pytest.raises(RuntimeError, match="use_reentrant"), tap_step_attention(model, node_ids):
        model(inputs_embeds=embeddings, attention_mask=mask)


def test_attention_dropout_is_applied_to_the_output_and_not_to_the_mass():
    model = tiny_model("llama", attention_dropout=0.5)
    input_ids, mask, node_ids = batch("none")
    calm = step_attention(model, input_ids, mask, node_ids)
    model.train()
    noisy = step_attention(model, input_ids, mask, node_ids)
    torch.testing.assert_close(noisy.mass[:, 0], calm.mass[:, 0])
    assert not torch.allclose(noisy.logits, calm.logits)
