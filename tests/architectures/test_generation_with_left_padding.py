"""Batches of prompts, padded on the left, are continued as each prompt alone is."""

from __future__ import annotations

import pytest
from architecture_toys import PAIRS, greedy_without_padding, toy
from transformers import GenerationConfig

from rg_helpers.problems import generate_problem
from rg_helpers.traces import encode_text, sample_traces

ROOM = 8
PROBLEMS = [
    generate_problem("arithmetic", 2, 1, distractors=0),
    generate_problem("deduction", 3, 2, distractors=0),
    generate_problem("program", 4, 2, distractors=0),
]


@pytest.mark.parametrize(("architecture", "tokenizer"), PAIRS)
def test_a_batch_writes_what_each_prompt_alone_is_continued_by(architecture, tokenizer):
    model, words = toy(architecture, tokenizer)
    prompts = [
        encode_text(words, problem.prompt + problem.separator.rstrip(" "))[0]
        for problem in PROBLEMS
    ]
    assert len({len(prompt) for prompt in prompts}) == len(prompts), "no padding is tested"
    expected = [
        greedy_without_padding(model, prompt, {words.eos_token_id}, ROOM) for prompt in prompts
    ]
    assert len({tuple(written) for written in expected}) == len(expected)
    for draft in (False, True):
        traces = sample_traces(
            model, words, PROBLEMS, max_new_tokens=ROOM, draft=draft, progress=False
        )
        for trace, prompt, written in zip(traces, prompts, expected):
            assert trace.solution == words.decode(written, skip_special_tokens=True).strip()
            assert trace.finished == (written[-1] == words.eos_token_id)
            if not trace.extra["retokenised"]:
                assert trace.token_ids == (*prompt, *written)


@pytest.mark.parametrize(("architecture", "tokenizer"), PAIRS)
def test_seeded_samples_do_not_depend_on_the_batch(architecture, tokenizer):
    model, words = toy(architecture, tokenizer)

    def written(batch_size):
        return sample_traces(
            model, words, PROBLEMS, samples=2, temperature=0.8, max_new_tokens=5,
            batch_size=batch_size, draft=False, seed=5, progress=False,
        )  # fmt: skip

    together, alone = written(6), written(1)
    assert [trace.token_ids for trace in together] == [trace.token_ids for trace in alone]
    assert len({trace.solution for trace in together}) > 3


def test_a_models_own_generation_settings_bend_nothing_and_are_put_back():
    model, words = toy("llama", "llama3")
    plain = sample_traces(model, words, PROBLEMS, max_new_tokens=4, progress=False)
    prompt = encode_text(words, PROBLEMS[0].prompt)[0]
    first = greedy_without_padding(model, prompt, set(), 1)
    former = model.generation_config
    settings = {"suppress_tokens": first, "cache_implementation": "static"}
    model.generation_config = own = GenerationConfig(**former.to_diff_dict() | settings)
    try:
        for draft in (False, True):
            found = sample_traces(
                model, words, PROBLEMS, max_new_tokens=4, draft=draft, progress=False
            )
            assert [trace.solution for trace in found] == [trace.solution for trace in plain]
            assert model.generation_config is own
    finally:
        model.generation_config = former
