"""Every route to step masses against the definition, on bare tensors."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from rg_helpers.step_attention import DIFFERENTIABLE_ROUTES, ROUTES
from rg_helpers.step_attention.blockwise import BlockwiseAttention, plan_rows
from rg_helpers.step_attention.columns import column_calls
from rg_helpers.step_attention.node_table import NodeTable
from rg_helpers.step_attention.routes import attend_with_step_mass


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_routes_agree_on_a_gpu(dtype):
    torch.manual_seed(0)
    q = torch.randn(2, 4, 300, 64, device="cuda", dtype=dtype)
    k, v = (torch.randn(2, 2, 300, 64, device="cuda", dtype=dtype) for _ in range(2))
    table = NodeTable(torch.arange(300).repeat(2, 1) // 2, 150)
    plan = plan_rows(300, None)
    routes = ROUTES if dtype == torch.bfloat16 else DIFFERENTIABLE_ROUTES
    results = [attend_with_step_mass(q, k, v, table, plan, 0.125, route=r) for r in routes]
    for output, mass in results[1:]:
        torch.testing.assert_close(output, results[0][0], atol=2e-2, rtol=2e-2)
        torch.testing.assert_close(mass, results[0][1], atol=5e-3, rtol=0)
