"""Step attention of nine architectures on traces of their own tokenizers, against eager sums."""

from __future__ import annotations

import pytest
import torch
from architecture_toys import PAIRS, WINDOW, padded, summed_eager_attention, toy

from rg_helpers.problems import FAMILIES, generate_problem
from rg_helpers.step_attention import step_attention
from rg_helpers.traces import gold_trace

WINDOWED = {"gemma3": {0}, "mistral": {0, 1}}  # layers of the toys that see WINDOW tokens


def traces_of(tokenizer):
    problems = [generate_problem(f, 4, 2 + n, distractors=n) for n, f in enumerate(FAMILIES)]
    return [gold_trace(problem, tokenizer) for problem in problems]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("architecture", "tokenizer"), PAIRS)
def test_padded_batches_equal_eager_attention_trace_by_trace(architecture, tokenizer, side):
    model, words = toy(architecture, tokenizer)
    traces = traces_of(words)
    assert len({len(trace.token_ids) for trace in traces}) > 1, "no padding is tested"
    ids, mask, nodes = padded(traces, side)
    with torch.no_grad():
        found = step_attention(model, ids, mask, nodes).mass
    for row, trace in enumerate(traces):
        expected = summed_eager_attention(model, trace)
        count = len(trace.nodes)
        assert (found[row, ..., :count, :count] - expected).abs().max() <= 1e-5
        assert not found[row, ..., count:, :].any()
        assert expected.std() > 0.03, "the toy attends almost uniformly and shows no error"
        _sees_no_further_than_its_window(expected, trace, WINDOWED.get(architecture, set()))


def _sees_no_further_than_its_window(mass, trace, windowed):
    for target, node in enumerate(trace.nodes):
        for source, other in enumerate(trace.nodes[:target]):
            if node.start - (other.end - 1) >= WINDOW:
                seen = {layer for layer in range(len(mass)) if mass[layer, :, target, source].any()}
                assert seen == set(range(len(mass))) - windowed
