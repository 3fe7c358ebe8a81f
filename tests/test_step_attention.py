"""Step attention against eager attention summed by step, the slow and obvious way."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from rg_helpers.step_attention import (
    DIFFERENTIABLE_ROUTES,
    ROUTES,
    extract,
    step_attention,
    tap_step_attention,
)
from rg_helpers.step_attention.blockwise import BlockwiseAttention, plan_rows
from rg_helpers.step_attention.columns import column_calls
from rg_helpers.step_attention.node_table import NodeTable
from rg_helpers.step_attention.routes import attend_with_step_mass

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


def tiny_model(name: str, **changes) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    if name == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=256, **changes
        )
    elif name == "gpt_neox":
        options = {k: v for k, v in TINY.items() if k != "num_key_value_heads"}
        config = transformers.GPTNeoXConfig(**options, **changes)
    elif name == "gemma3":
        # One sliding layer and one full layer; the window is shorter than every test sequence.
        config = transformers.Gemma3TextConfig(
            **TINY,
            head_dim=16,
            query_pre_attn_scalar=24,
            sliding_window=7,
            layer_types=["sliding_attention", "full_attention"],
            **changes,
        )
    elif name == "mistral":
        config = transformers.MistralConfig(**TINY, sliding_window=5, **changes)
    elif name == "qwen3":
        config = transformers.Qwen3Config(**TINY, head_dim=16, **changes)
    else:
        kind = {"llama": "LlamaConfig", "qwen2": "Qwen2Config", "gemma2": "Gemma2Config"}[name]
        config = getattr(transformers, kind)(**TINY, **changes)
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


@given(
    st.integers(1, 2),  # batch
    st.sampled_from([(1, 1), (4, 2), (3, 1)]),  # heads, key-value heads
    st.integers(1, 300),  # tokens
    st.integers(1, 40),  # nodes
    st.sampled_from([4, 5, 16]),  # head width
    st.sampled_from(["causal", "window", "per head", "additive", "left padding"]),
    st.booleans(),
    st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None)
def test_all_routes_agree_with_the_definition(
    rows, heads, tokens, nodes, width, kind, contiguous, seed
):
    torch.manual_seed(seed)
    query_heads, key_heads = heads
    q = (2 * torch.randn(rows, query_heads, tokens, width)).requires_grad_()
    k, v = ((2 * torch.randn(rows, key_heads, tokens, width)).requires_grad_() for _ in range(2))
    ids = torch.randint(-1, nodes, (rows, tokens))
    if contiguous:
        ids = ids.sort(-1).values
    positions = torch.arange(tokens)
    allowed = (positions[:, None] >= positions).expand(rows, 1, tokens, tokens)
    if kind == "window":
        allowed = allowed & (positions[:, None] - positions < 9)
    if kind == "left padding":
        ids[:, : tokens // 2] = -1
        allowed = allowed & (positions >= tokens // 2)
    if kind == "per head":
        drop = torch.rand(rows, query_heads, tokens, tokens) < 0.3
        allowed = allowed & (~drop | torch.eye(tokens, dtype=torch.bool))
    mask = None if kind == "causal" else allowed
    if kind == "additive":
        mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
    table, plan = NodeTable(ids, nodes), plan_rows(tokens, mask, rows=32)

    groups = query_heads // key_heads
    scores = 0.3 * q @ k.repeat_interleave(groups, 1).transpose(2, 3)
    seen = allowed.any(-1, keepdim=True)  # padding rows see nothing and their output is no one's
    p = scores.masked_fill(~allowed, torch.finfo(torch.float32).min).softmax(-1) * seen
    member = F.one_hot(ids + 1, nodes + 1)[..., 1:].float()
    token_mass = p @ member[:, None]
    means = member.transpose(1, 2) / member.sum(1)[..., None].clamp(min=1)
    output = p @ v.repeat_interleave(groups, 1)
    expected = (output, means[:, None] @ token_mass, token_mass)
    pulls = [torch.randn_like(tensor) for tensor in expected]

    def gradients(tensors, wanted):
        loss = sum((t * seen * w if t.shape[2] == tokens else t * w).sum() for t, w in wanted)
        return torch.autograd.grad(loss, tensors, retain_graph=True)

    for route in DIFFERENTIABLE_ROUTES:
        got, mass = attend_with_step_mass(q, k, v, table, plan, 0.3, route=route)
        again, by_token = attend_with_step_mass(
            q, k, v, table, plan, 0.3, token_rows=True, route=route
        )
        torch.testing.assert_close(got * seen, output, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(again * seen, output, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(mass, expected[1], atol=1e-5, rtol=0)
        torch.testing.assert_close(by_token * seen, token_mass, atol=1e-5, rtol=0)
        for ours, wanted in (((got, mass), (0, 1)), ((again, by_token), (0, 2))):
            mine = gradients((q, k, v), zip(ours, [pulls[i] for i in wanted], strict=True))
            theirs = gradients((q, k, v), [(expected[i], pulls[i]) for i in wanted])
            for a, b in zip(mine, theirs, strict=True):
                torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


@given(
    st.integers(1, 2),
    st.sampled_from([(1, 1), (4, 2)]),
    st.integers(1, 200),
    st.integers(1, 60),
    st.booleans(),
    st.integers(0, 2**31),
)
@settings(max_examples=30, deadline=None)
def test_ranges_agree_with_blockwise(rows, heads, tokens, nodes, contiguous, seed):
    torch.manual_seed(seed)
    q = 2 * torch.randn(rows, heads[0], tokens, 16)
    k, v = (2 * torch.randn(rows, heads[1], tokens, 16) for _ in range(2))
    ids = torch.randint(-1, nodes, (rows, tokens))
    table = NodeTable(ids.sort(-1).values if contiguous else ids, nodes)
    plan = plan_rows(tokens, None)
    for token_rows in (False, True):
        ranges, blockwise = (
            attend_with_step_mass(q, k, v, table, plan, 0.3, token_rows=token_rows, route=route)
            for route in ("ranges", "blockwise")
        )
        torch.testing.assert_close(ranges[0], blockwise[0], atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(ranges[1], blockwise[1], atol=1e-5, rtol=0)


def test_ranges_refuse_what_they_cannot_do():
    model = tiny_model("llama")
    input_ids, mask, node_ids = batch("left")
    with pytest.raises(ValueError, match="no gradient"):
        step_attention(model, input_ids, None, node_ids, route="ranges")
    with torch.no_grad(), pytest.raises(ValueError, match="unpadded"):
        step_attention(model, input_ids, mask, node_ids, route="ranges")


@pytest.mark.parametrize("token_rows", [False, True])
def test_blockwise_gradient_by_finite_differences(token_rows):
    torch.manual_seed(0)
    q = torch.randn(1, 2, 6, 2, dtype=torch.float64, requires_grad=True)
    k, v = (torch.randn(1, 1, 6, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    table = NodeTable(torch.tensor([[-1, 0, 0, 1, -1, 2]]), 3)
    plan = plan_rows(6, None, rows=4)
    for softcap in (None, 1.5):
        assert torch.autograd.gradcheck(
            lambda *qkv, cap=softcap: BlockwiseAttention.apply(
                *qkv, table, plan, 0.7, cap, token_rows
            ),
            (q, k, v),
        )


def test_small_tiles_change_nothing(monkeypatch):
    """Many heads and long rows are worked on in tiles; force the smallest ones."""
    torch.manual_seed(0)
    q = torch.randn(3, 8, 70, 8, requires_grad=True)
    k, v = (torch.randn(3, 4, 70, 8, requires_grad=True) for _ in range(2))
    table, plan = NodeTable(torch.randint(-1, 6, (3, 70)), 6), plan_rows(70, None, rows=16)

    def run():
        output, mass = attend_with_step_mass(q, k, v, table, plan, 0.4, route="blockwise")
        return output, mass, *torch.autograd.grad(mass.square().sum() + output.sum(), (q, k, v))

    whole = run()
    for budget in (1, 2 * 2 * 16 * 70 * 4):
        monkeypatch.setattr("rg_helpers.step_attention.blockwise.BLOCK_BYTES", budget)
        for tiled, expected in zip(run(), whole, strict=True):
            torch.testing.assert_close(tiled, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("query", "value"), [(64, 64), (256, 256), (320, 320), (24, 16), (5, 3)])
@pytest.mark.parametrize("nodes", [1, 63, 192, 193, 700])
def test_column_calls_cover_every_node_once_within_the_fused_width(query, value, nodes):
    calls = column_calls(query, value, nodes)
    covered = [node for first, last, _ in calls for node in range(first, last)]
    assert covered == list(range(nodes))
    widest = max(256, query, value)
    for index, (first, last, total) in enumerate(calls):
        assert total % 8 == 0
        assert max(query, last - first + (value if index == 0 else 0)) <= total <= widest


def test_sliding_window_blocks_read_only_the_keys_in_the_window():
    positions = torch.arange(1000)
    distance = positions[:, None] - positions
    plan = plan_rows(1000, ((distance >= 0) & (distance < 50))[None, None])
    assert all(block.last_key - block.first_key <= 128 + 49 for block in plan.blocks)


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


# What cannot be served says so, with the cure


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_routes_agree_on_a_gpu(dtype):
    torch.manual_seed(0)
    q = torch.randn(2, 4, 300, 64, device="cuda", dtype=dtype)
    k, v = (torch.randn(2, 2, 300, 64, device="cuda", dtype=dtype) for _ in range(2))
    table = NodeTable(torch.arange(300).repeat(2, 1) // 2, 150)
    plan = plan_rows(300, None)
    results = [attend_with_step_mass(q, k, v, table, plan, 0.125, route=r) for r in ROUTES]
    for output, mass in results[1:]:
        torch.testing.assert_close(output, results[0][0], atol=2e-2, rtol=2e-2)
        torch.testing.assert_close(mass, results[0][1], atol=5e-3, rtol=0)
