"""Every engine writes the same text: greedy and sampled, whoever else is being written."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import dataclass, field, replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from ending_models import ENDS, TINY, ending_model
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
)
from transformers.generation.continuous_batching.cache import PagedAttentionMemoryHandler

from rg_helpers.course import cli
from rg_helpers.error_prediction import collect
from rg_helpers.language_model import load_model, new_course_model, save_model
from rg_helpers.problems import FAMILIES, generate_problems
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import continuous_batching, read_traces, sample_traces
from rg_helpers.traces.engines import ENGINES, open_engine, resolved_engine

TOKENIZER = build_tokenizer()
PROBLEMS = [
    problem
    for family in FAMILIES
    for problem in generate_problems(family, 3, "test", 0, operations=(2, 4), distractors=(0, 2))
]

pytestmark = pytest.mark.usefixtures("one_thread")


def write(model, engine="continuous", **options):
    chosen = {"batch_size": 4, "max_new_tokens": 14, "progress": False, **options}
    return sample_traces(model, TOKENIZER, PROBLEMS, engine=engine, **chosen)


def but_for_the_engine(traces, engine):
    assert {trace.extra["engine"] for trace in traces} == {engine}
    return [
        replace(trace, extra={k: v for k, v in trace.extra.items() if k != "engine"})
        for trace in traces
    ]


@torch.no_grad()
def one_by_one(model, prompt_ids, room, ends, temperature=0.0, uniforms=None):
    """Decoding written out: no cache, no batch; sampling by inverting the cumulated shares."""
    written = []
    while len(written) < room and not (written and written[-1] in ends):
        logits = model(torch.tensor([[*prompt_ids, *written]])).logits[0, -1].double().numpy()
        if temperature == 0:
            written.append(int(logits.argmax()))
        else:
            shares = np.exp((logits - logits.max()) / temperature)
            cumulated = np.cumsum(shares / shares.sum())
            written.append(int(np.searchsorted(cumulated, uniforms[len(written)], side="right")))
    return written


@pytest.mark.parametrize(
    "options",
    [
        {"draft": False},
        {"draft": False, "samples": 3, "temperature": 1.3},
        {"samples": 2, "temperature": 0.9},
    ],
    ids=["greedy", "sampled", "drafted"],
)
def test_continuous_batching_writes_what_batches_do(options):
    model = ending_model()
    batched = write(model, "batched", **options)
    continuous = write(model, "continuous", **options)
    assert but_for_the_engine(continuous, "continuous") == but_for_the_engine(batched, "batched")
    if "draft" in options:
        assert {trace.finished for trace in batched} == {True, False}
        assert len({len(trace) - trace.prompt_tokens for trace in batched}) > 3
        assert any(trace.extra["retokenised"] for trace in batched)


@pytest.mark.parametrize("temperature", [0.0, 1.3])
def test_continuous_batching_writes_what_one_by_one_gives(temperature, monkeypatch):
    model, seen = ending_model(), []
    monkeypatch.setattr(
        continuous_batching.ContinuousEngine,
        "write",
        lambda self, requests, *rest, real=continuous_batching.ContinuousEngine.write: (
            real(self, requests, *rest),
            seen.extend(requests),
        ),
    )
    write(model, draft=False, temperature=temperature)
    ends = {*ENDS, TOKENIZER.eos_token_id}
    assert len(seen) == len(PROBLEMS)
    for request in seen:
        uniforms = np.random.default_rng(request.stream_seed).random(14)
        expected = one_by_one(model, request.prompt_ids, 14, ends, temperature, uniforms)
        assert request.written == expected


def test_neither_places_nor_other_texts_change_a_sample():
    model = ending_model()
    options = {"samples": 2, "temperature": 1.3, "draft": False}
    wide = write(model, batch_size=18, **options)
    assert write(model, batch_size=1, **options) == wide
    alone = sample_traces(
        model, TOKENIZER, PROBLEMS[4:5], engine="continuous", max_new_tokens=14, **options
    )
    assert alone == wide[8:10]
    assert write(model, seed=1, **options) != wide


SMALL = {"vocab_size": len(TOKENIZER), "hidden_size": 16, "intermediate_size": 32}
SMALL |= {"bos_token_id": 2, "eos_token_id": TOKENIZER.eos_token_id}
SMALL |= {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
ARCHITECTURES = {
    "full attention": LlamaConfig(**SMALL),
    "a sliding window": MistralConfig(**SMALL, head_dim=8, sliding_window=7),
    "window and full": Gemma3TextConfig(
        **SMALL,
        head_dim=8,
        sliding_window=7,
        layer_types=["sliding_attention", "full_attention"],
    ),
    "learned positions": GPT2Config(
        vocab_size=len(TOKENIZER),
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=512,
        bos_token_id=2,
        eos_token_id=TOKENIZER.eos_token_id,
    ),
}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_other_architectures_and_the_attention_they_had(name, attention):
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(
        ARCHITECTURES[name], attn_implementation=attention
    ).train()
    options = {"draft": False, "max_new_tokens": 8}
    batched = write(model, "batched", **options)
    threads = threading.active_count()
    continuous = write(model, **options)
    assert but_for_the_engine(continuous, "continuous") == but_for_the_engine(batched, "batched")
    assert model.config._attn_implementation == attention
    assert model.training
    assert threading.active_count() == threads


def test_settings_that_came_with_the_model_do_not_bend_the_text():
    """Drafts are checked against the bare distribution, so all that writes must read it too."""
    model = ending_model()
    plain = write(model, "batched", draft=False)
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.no_repeat_ngram_size = 1
    model.generation_config.top_k = 1
    options = {"temperature": 1.3, "draft": False}
    assert write(model, "batched", draft=False) == plain
    assert but_for_the_engine(write(model, draft=False), "continuous") == but_for_the_engine(
        plain, "batched"
    )
    assert but_for_the_engine(write(model, **options), "continuous") == but_for_the_engine(
        write(model, "batched", **options), "batched"
    )


def test_the_default_by_device():
    assert resolved_engine("auto", "cpu") == "batched"
    assert resolved_engine("auto", torch.device("cuda:1")) == "continuous"
    assert [resolved_engine(name, "cpu") for name in ENGINES[1:]] == list(ENGINES[1:])
    assert open_engine("auto", ending_model(), TOKENIZER).name == "batched"


def test_every_engine_refuses_alike():
    model = ending_model()
    for name in ENGINES:
        with pytest.raises(ValueError, match="2048 positions"):
            write(model, name, max_new_tokens=4000)
        with pytest.raises(ValueError, match="would all be the same"):
            write(model, name, samples=2)
        assert sample_traces(model, TOKENIZER, [], engine=name) == []
    with pytest.raises(ValueError, match=r"'fast' is unknown: use one of auto, continuous"):
        write(model, "fast")
    with pytest.raises(ValueError, match="at least 1 solution at once"):
        open_engine("batched", model, TOKENIZER, 0)


def test_continuous_batching_that_cannot_run_says_what_to_do(monkeypatch):
    model = ending_model()
    with monkeypatch.context() as patch:
        patch.setattr(PagedAttentionMemoryHandler, "get_available_memory", lambda self: 1000)
        with pytest.raises(RuntimeError, match="give a smaller batch size"):
            write(model, draft=False)
    with monkeypatch.context() as patch:
        patch.setattr(model.config, "layer_types", ["recurrent"])
        with pytest.raises(RuntimeError, match="take the engine 'batched'"):
            write(model, draft=False)
    with monkeypatch.context() as patch:
        patch.setattr(
            continuous_batching, "choose_tokens", lambda *_: (_ for _ in ()).throw(OSError("gone"))
        )
        with pytest.raises(RuntimeError, match=r"stopped before all solutions .*gone"):
            write(model, draft=False, temperature=1.0)
    assert model.config._attn_implementation == "sdpa"
    assert len(write(model, draft=False)) == len(PROBLEMS)  # nothing of it is left behind


def fake_vllm(made: list, leave_out: bool = False, reason: str | None = None) -> ModuleType:
    """What is used of vLLM, decoding greedily with the weights it was pointed to."""
    module = ModuleType("vllm")

    @dataclass
    class SamplingParams:
        temperature: float
        seed: int
        max_tokens: int
        stop_token_ids: list = field(default_factory=list)
        detokenize: bool = True

        def __post_init__(self):
            assert -(2**63) <= self.seed < 2**63
            assert self.max_tokens > 0

    class LLM:
        def __init__(self, model, *, dtype, max_num_seqs, generation_config):
            assert generation_config == "vllm"
            self.model, _ = load_model(model, dtype=getattr(torch, dtype))
            self.max_num_seqs, self.asked = max_num_seqs, []
            made.append(self)

        def generate(self, prompts, sampling_params, *, use_tqdm):
            self.asked += zip(prompts, sampling_params, strict=True)
            return [
                SimpleNamespace(outputs=[self.complete(prompt["prompt_token_ids"], parameters)])
                for prompt, parameters in zip(prompts, sampling_params, strict=True)
            ]

        def complete(self, prompt_ids, parameters):
            eos = self.model.config.eos_token_id
            ends = {*parameters.stop_token_ids, eos}
            written = one_by_one(self.model, prompt_ids, parameters.max_tokens, ends)
            ended = written[-1] in ends
            return SimpleNamespace(
                token_ids=tuple(written[:-1] if ended and leave_out else written),
                finish_reason=reason or ("stop" if ended else "length"),
                stop_reason=written[-1] if ended and written[-1] != eos else None,
            )

    module.LLM, module.SamplingParams = LLM, SamplingParams
    module.TokensPrompt = dict
    return module


@pytest.mark.parametrize("leave_out", [False, True], ids=["with the end", "without the end"])
def test_vllm_is_asked_for_the_same_greedy_text(monkeypatch, leave_out):
    made = []
    monkeypatch.setitem(sys.modules, "vllm", fake_vllm(made, leave_out))
    model = ending_model()
    expected = write(model, "batched", draft=False)
    assert {trace.finished for trace in expected} == {True, False}
    assert but_for_the_engine(write(model, "vllm"), "vllm") == but_for_the_engine(
        expected, "batched"
    )
    (running,) = made
    assert running.max_num_seqs == 4
    assert running.model.dtype == model.dtype
    for (prompt, parameters), trace in zip(running.asked, expected, strict=True):
        assert prompt["prompt_token_ids"] == list(trace.token_ids[: trace.prompt_tokens])
        assert parameters.temperature == 0
        assert parameters.max_tokens == 14
        assert parameters.stop_token_ids == [TOKENIZER.eos_token_id, *ENDS]
        assert parameters.detokenize is False


def test_vllm_is_started_once_and_every_sample_has_its_seed(monkeypatch):
    made = []
    monkeypatch.setitem(sys.modules, "vllm", fake_vllm(made))
    model = ending_model()
    engine = open_engine("vllm", model, TOKENIZER, 7)
    for seed in (0, 0, 1):
        write(model, engine, samples=2, temperature=0.9, seed=seed)
    (running,) = made
    seeds = [parameters.seed for _, parameters in running.asked]
    assert [parameters.temperature for _, parameters in running.asked] == [0.9] * 54
    first, again, other = seeds[:18], seeds[18:36], seeds[36:]
    assert first == again
    assert len({*first, *other}) == 36


def test_vllm_that_is_missing_or_gives_up(monkeypatch):
    model = ending_model()
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(RuntimeError, match=r"pip install rg_helpers\[vllm\]"):
        write(model, "vllm")
    monkeypatch.setitem(sys.modules, "vllm", fake_vllm([], reason="abort"))
    with pytest.raises(RuntimeError, match="finish_reason='abort'"):
        write(model, "vllm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model = new_course_model(0, **TINY)
    return save_model(tmp_path_factory.mktemp("tiny") / "model", model, TOKENIZER)


def test_the_command_writes_the_same_file_with_either(folder, tmp_path, capsys, monkeypatch):
    words = f"traces --model {folder} --problems 3 --samples 2 --operations 2 3 --batch-size 3"
    words += " --families program --max-new-tokens 6 --temperature 0.9"
    found = {}
    for engine in ("auto", "continuous"):
        out = tmp_path / f"{engine}.jsonl"
        assert cli.main([*words.split(), "--engine", engine, "--out", str(out)]) == 0
        found[engine], bad = read_traces(out)
        assert bad == []
        record = json.loads(out.with_suffix(".json").read_text())
        name = "batched" if engine == "auto" else engine
        assert record["engine"] == name
        assert f"--engine {name}" in record["provenance"]["command"]
    assert but_for_the_engine(found["continuous"], "continuous") == but_for_the_engine(
        found["auto"], "batched"
    )
    again = [*words.split(), "--out", str(tmp_path / "continuous.jsonl")]
    assert cli.main(again) == 2  # the file of another engine is not passed off as this one's
    assert "other settings" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "vllm", None)
    assert cli.main([*words.split(), "--engine", "vllm", "--out", str(tmp_path / "v.jsonl")]) == 2
    assert "pip install" in capsys.readouterr().err


def test_parts_of_another_engine_are_written_again(folder, tmp_path, monkeypatch):
    model, tokenizer = load_model(folder)
    plan = collect.Sampling("program", 2, 2, operations=(2, 3), temperature=0.9, max_new_tokens=4)
    calls = []
    monkeypatch.setattr(
        collect,
        "sample_traces",
        lambda *given, **options: (
            calls.append(options["engine"].name) or sample_traces(*given, **options)
        ),
    )
    for engine in ("batched", "continuous", "continuous"):
        found, _ = collect.collect_traces(
            model, tokenizer, plan, tmp_path, engine=engine, progress=False
        )
        assert {trace.extra["engine"] for trace in found.traces} == {engine}
    assert calls == ["batched", "continuous"]
