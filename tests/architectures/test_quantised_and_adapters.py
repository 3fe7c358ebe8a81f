"""Weights in few bits and LoRA adapters: loaded right, or refused before anything is loaded."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from architecture_toys import padded, toy
from locally_trained_tokenizers import trained_tokenizer
from tiny_models import tiny_model

from rg_helpers import language_model, quantised
from rg_helpers.course.cli import main
from rg_helpers.language_model import load_model
from rg_helpers.problems import generate_problem
from rg_helpers.scoring.safe_model import load_safely
from rg_helpers.step_attention import step_attention
from rg_helpers.traces import gold_trace, sample_traces
from rg_helpers.training import export_model

PROBLEM = generate_problem("arithmetic", 5, 2, distractors=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A whole model of a hub architecture, saved as hub folders are."""
    folder = tmp_path_factory.mktemp("models") / "base"
    tokenizer = trained_tokenizer("llama3")
    sizes = {"hidden_size": 64, "intermediate_size": 128, "vocab_size": len(tokenizer)}
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id")}
    return export_model(folder, tiny_model("llama", **sizes, **ends), tokenizer)


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    """A LoRA adapter with random matrices, as peft saves it: no tokenizer, no whole weights."""
    peft = pytest.importorskip("peft")
    model, _ = load_model(base)
    wrapped = peft.get_peft_model(
        model, peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"])
    )
    torch.manual_seed(2)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.3)
    folder = tmp_path_factory.mktemp("adapters") / "adapter"
    wrapped.save_pretrained(folder)
    ids = torch.tensor([gold_trace(PROBLEM, trained_tokenizer("llama3")).token_ids])
    with torch.no_grad():
        return folder, ids, wrapped.eval()(ids).logits


def logits_of(model, ids):
    with torch.no_grad():
        return model(ids).logits


def test_an_adapters_folder_is_loaded_with_the_model_it_names(base, adapter):
    folder, ids, expected = adapter
    plain, _ = load_model(base)
    assert (logits_of(plain, ids) - expected).abs().max() > 0.1, "the adapter changes nothing"
    for arguments in ({"name": folder}, {"name": base, "adapter": folder}):
        model, tokenizer = load_model(**arguments)
        torch.testing.assert_close(logits_of(model, ids), expected, atol=1e-4, rtol=1e-4)
        assert not any("lora" in name for name, _ in model.named_parameters())
        assert len(tokenizer) == len(trained_tokenizer("llama3"))
    model, tokenizer = load_safely(str(folder))
    torch.testing.assert_close(logits_of(model, ids), expected, atol=1e-4, rtol=1e-4)
    (trace,) = sample_traces(model, tokenizer, [PROBLEM], max_new_tokens=3, progress=False)
    assert trace.prompt == PROBLEM.prompt


def test_export_writes_a_plain_folder_with_the_adapter_in_its_weights(adapter, tmp_path, capsys):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, ids, expected = adapter
    out = tmp_path / "plain"
    assert main(["export", str(folder), str(out)]) == 0
    assert "written" in capsys.readouterr().out
    plain = AutoModelForCausalLM.from_pretrained(out)
    torch.testing.assert_close(logits_of(plain, ids), expected, atol=1e-4, rtol=1e-4)
    words = AutoTokenizer.from_pretrained(out)(PROBLEM.prompt).input_ids
    assert words == ids[0].tolist()[: len(words)]
    record = json.loads((out / "record.json").read_text())
    assert record["base"] == "base"
    assert str(tmp_path) not in json.dumps(record)
    assert main(["export", str(folder), str(out)]) == 2
    assert "--replace" in capsys.readouterr().err


def damaged(folder, tmp_path, **changes):
    copy = shutil.copytree(folder, tmp_path / "copy", dirs_exist_ok=True)
    config = json.loads((copy / "adapter_config.json").read_text()) | changes
    (copy / "adapter_config.json").write_text(json.dumps(config))
    return copy


def test_wrong_adapters_name_the_cure(base, adapter, tmp_path):
    folder = adapter[0]
    with pytest.raises(ValueError, match=r"PROMPT_TUNING.*only LoRA"):
        load_model(damaged(folder, tmp_path, peft_type="PROMPT_TUNING"))
    with pytest.raises(ValueError, match=r"--model BASE --adapter"):
        load_model(damaged(folder, tmp_path, peft_type="LORA", base_model_name_or_path=None))
    with pytest.raises(FileNotFoundError, match="no model folder at /nowhere/base"):
        load_model(damaged(folder, tmp_path, base_model_name_or_path="/nowhere/base"))
    pickled = damaged(folder, tmp_path, base_model_name_or_path=str(base))
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    with pytest.raises(FileNotFoundError, match="pickles"):
        load_model(base, adapter=pickled)
    with pytest.raises(FileNotFoundError, match="no adapter folder"):
        load_model(base, adapter=tmp_path / "nothing")
    other = tmp_path / "other"
    export_model(other, *toy("gpt2", "gpt2"))
    with pytest.raises(ValueError, match=r"does not fit GPT2LMHeadModel.*trained beside"):
        load_model(other, adapter=folder)


@pytest.mark.parametrize("pair", [("qwen3", "qwen"), ("gpt2", "gpt2")])
def test_a_tokenizer_without_its_vocabulary_is_refused(pair, tmp_path):
    folder = export_model(tmp_path / "whole", *toy(*pair))
    assert load_safely(str(folder))[1]("Ana").input_ids
    (folder / "tokenizer.json").unlink()  # transformers then makes one of special tokens alone
    (folder / "vocab.txt").write_text("of another tokenizer")
    with pytest.raises(ValueError, match=r"knows no words.*tokenizer\.json.*missing"):
        load_safely(str(folder))


def test_bits_are_refused_before_anything_is_loaded(base, monkeypatch, capsys, tmp_path):
    def loading(*_, **__):
        raise AssertionError("something was loaded")

    for name in ("AutoConfig", "AutoTokenizer", "AutoModelForCausalLM"):
        monkeypatch.setattr(language_model, name, type(name, (), {"from_pretrained": loading}))
    with pytest.raises(ValueError, match="expected 4 or 8"):
        load_model(base, bits=3)
    monkeypatch.setattr(quantised, "is_bitsandbytes_available", lambda: False)
    with pytest.raises(RuntimeError, match=r"rg_helpers\[quantised\].*bfloat16"):
        load_model(base, bits=4, device="cuda")
    traces = tmp_path / "traces.jsonl"
    traces.write_text("{}")
    command = ["score", str(traces), "--model", str(base), "--out", str(tmp_path / "out")]
    assert main([*command, "--bits", "4"]) == 2
    assert "bitsandbytes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(quantised, "is_bitsandbytes_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="none is seen here"):
        load_model(base, bits=8)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(RuntimeError, match="--device cuda"):
        load_model(base, bits=8)


@pytest.mark.parametrize("bits", [4, 8])
def test_rounded_weights_attend_almost_as_the_whole_ones(base, adapter, bits, monkeypatch):
    pytest.importorskip("bitsandbytes")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":  # bitsandbytes has a slow way without a GPU, enough to test the loading
        monkeypatch.setattr(quantised, "_check_gpu", lambda *_: None)
    exact, tokenizer = load_model(base, adapter=adapter[0])
    model, _ = load_model(base, bits=bits, device=device, adapter=adapter[0])
    assert quantised.is_quantised(model)
    assert not quantised.is_quantised(exact)
    held = {type(module).__name__ for module in model.modules()}
    assert held & {"Linear4bit", "Linear8bitLt"}
    ids, mask, nodes = padded([gold_trace(PROBLEM, tokenizer)], "right")
    with torch.no_grad():
        expected = step_attention(exact, ids, mask, nodes).mass
        found = step_attention(model, ids.to(device), mask.to(device), nodes.to(device)).mass.cpu()
        alone = step_attention(load_model(base)[0], ids, mask, nodes).mass
    assert (found - expected)[:, 0].abs().mean() < 0.05
    assert (found - expected)[:, 0].abs().mean() < (found - alone)[:, 0].abs().mean()
    with pytest.raises(ValueError, match="without bits"):
        export_model(base.parent / "never", model, tokenizer)
