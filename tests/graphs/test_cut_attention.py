"""Cut attention: against eager attention with a mask written out by hand, padded either way."""

from __future__ import annotations

import pytest
import torch
from tiny_models import ARCHITECTURES, batch, tiny_model

from rg_helpers.graphs.cut_attention import cut_attention

WINDOWS = {"mistral": {"all": 5}, "gemma3": {"sliding_attention": 7, "full_attention": None}}


def logits_by_hand(model, name, ids, allowed):
    """Eager attention of one row without padding, its additive mask made by explicit loops."""
    tokens = ids.shape[1]
    masks = {}
    for kind, window in WINDOWS.get(name, {"all": None}).items():
        mask = torch.full((1, 1, tokens, tokens), torch.finfo(torch.float32).min)
        for q in range(tokens):
            for k in range(q + 1):
                if allowed[q, k] and (window is None or q - k < window):
                    mask[0, 0, q, k] = 0
        masks[kind] = mask
    model.set_attn_implementation("eager")
    with torch.no_grad():
        given = masks if name == "gemma3" else masks["all"]
        logits = model(ids, attention_mask=given, use_cache=False).logits
    model.set_attn_implementation("sdpa")
    return logits


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equals_eager_with_the_mask_written_out(name):
    model = tiny_model(name)
    for padding in ("right", "left"):
        ids, mask, node_ids = batch(padding, tokens=17, nodes=4)
        tokens = ids.shape[1]
        places = torch.arange(tokens)
        end = torch.stack([places[row == 1].max() + 1 for row in node_ids])
        allowed = ~((places >= end[:, None])[:, :, None] & (node_ids == 1)[:, None, :])
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        with torch.no_grad(), cut_attention(model, allowed):
            found = model(ids, attention_mask=mask, position_ids=positions, use_cache=False).logits
        assert model.config._attn_implementation == "sdpa"
        for row in range(len(ids)):
            real = mask[row].bool()
            cut = allowed[row][real][:, real]
            expected = logits_by_hand(model, name, ids[row][real][None], cut)
            torch.testing.assert_close(found[row][real], expected[0], rtol=1e-3, atol=2e-4)
            if row == 0:
                uncut = logits_by_hand(model, name, ids[:1][:, real], torch.ones_like(cut))
                assert (uncut - expected)[0, end[0] :].abs().max() > 1e-2, "the cut shows nowhere"


def test_softcapped_attention_is_cut_too():
    model = tiny_model("gemma2")
    ids, _, _ = batch("none", tokens=11, rows=1)
    allowed = torch.ones(1, 11, 11, dtype=torch.bool)
    with torch.no_grad():
        expected = model(ids, use_cache=False).logits
        with cut_attention(model, allowed):
            torch.testing.assert_close(model(ids, use_cache=False).logits, expected)
        allowed[:, 5:, 1:4] = False
        with cut_attention(model, allowed):
            found = model(ids, use_cache=False).logits
    torch.testing.assert_close(found[:, :5], expected[:, :5])
    assert (found - expected)[:, 5:].abs().max() > 1e-2


def test_refusals_and_the_way_back():
    model = tiny_model("qwen3")
    ids = torch.ones(1, 6, dtype=torch.long)
    allowed = torch.ones(1, 6, 6, dtype=torch.bool)
    with pytest.raises(ValueError, match="bool"), cut_attention(model, allowed.float()):
        pass
    five = torch.arange(5)
    with pytest.raises(ValueError, match="with 5 places"), cut_attention(model, allowed, five):
        pass
    with cut_attention(model, allowed):
        with pytest.raises(RuntimeError, match="already cut"), cut_attention(model, allowed):
            pass
        with pytest.raises(ValueError, match="one entry per token"):
            model(ids[:, :5], use_cache=False)
    assert model.config._attn_implementation == "sdpa"
    model(ids)
