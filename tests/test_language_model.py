"""Loading and saving: every wrong folder gets an error that names the cure."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import torch
from transformers import T5Config

from rg_helpers import language_model
from rg_helpers.language_model import course_config, load_model, new_course_model, save_model
from rg_helpers.tokenizer import build_tokenizer

TINY = {"hidden_size": 32, "layers": 2, "heads": 2, "intermediate_size": 64}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model = new_course_model(seed=3, **TINY)
    assert save_model(folder, model, build_tokenizer()) == folder
    return folder, model


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved[0], tmp_path / "copy")


def test_round_trip_in_bfloat16(saved):
    folder, model = saved
    loaded, tokenizer = load_model(folder)
    assert not loaded.training
    assert loaded.dtype == torch.float32
    expected = dict(model.named_parameters())
    found = dict(loaded.named_parameters())
    assert found.keys() == expected.keys()
    for name, weight in found.items():
        assert torch.equal(weight, expected[name].to(torch.bfloat16).float()), name
    assert next(model.parameters()).dtype == torch.float32, "saving leaves the model as it was"
    ids = tokenizer("Ana has 3 pens.", return_tensors="pt").input_ids
    assert loaded(ids).logits.shape == (1, 6, course_config().vocab_size)


def test_asked_dtype_is_given_and_float32_can_be_saved(saved, tmp_path):
    _, model = saved
    assert load_model(saved[0], dtype=torch.bfloat16)[0].dtype == torch.bfloat16
    folder = save_model(tmp_path / "exact", model, build_tokenizer(), dtype=torch.float32)
    loaded, _ = load_model(str(folder))
    for name, weight in loaded.named_parameters():
        assert torch.equal(weight, dict(model.named_parameters())[name])


def test_saving_over_an_old_checkpoint_replaces_it_and_leaves_nothing_else(copied):
    (copied / "record.json").write_text("{}")
    other = new_course_model(seed=9, **TINY)
    save_model(copied, other, build_tokenizer(), dtype=torch.float32)
    loaded, _ = load_model(copied)
    assert torch.equal(loaded.model.norm.weight, other.model.norm.weight)
    assert torch.equal(loaded.model.embed_tokens.weight, other.model.embed_tokens.weight)
    assert (copied / "record.json").is_file(), "files of others are left alone"
    assert os.listdir(copied.parent) == [copied.name], "no temporary folder stays behind"


def test_an_interrupted_save_leaves_the_old_weights(copied, monkeypatch):
    before = (copied / "model.safetensors").read_bytes()

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    tokenizer = build_tokenizer()
    monkeypatch.setattr(type(tokenizer), "save_pretrained", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_model(copied, new_course_model(seed=9, **TINY), tokenizer)
    assert (copied / "model.safetensors").read_bytes() == before
    assert os.listdir(copied.parent) == [copied.name]


def test_weights_take_their_place_last(copied, monkeypatch):
    moved = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (moved.append(str(b)), replace(a, b))[1])
    save_model(copied, new_course_model(seed=9, **TINY), build_tokenizer())
    assert moved[-1].endswith("model.safetensors")
    assert {"config.json", "tokenizer.json"} <= {os.path.basename(name) for name in moved[:-1]}


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "holds no config.json.*save_pretrained"),
        ("tokenizer_config.json", "holds no tokenizer_config.json"),
        ("model.safetensors", r"holds no weights \(\*.safetensors\)"),
    ],
)
def test_incomplete_folders_name_what_is_missing(copied, missing, message):
    (copied / missing).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        load_model(copied)


def test_missing_folder_and_missing_course_checkpoint(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no model folder at .*nowhere.*hub id"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no model folder at nowhere"):
        load_model("./nowhere")
    monkeypatch.setattr(language_model, "COURSE_FOLDER", tmp_path / "data" / "course_model")
    with pytest.raises(FileNotFoundError, match="rgh pretrain"):
        load_model()


def test_encoder_decoder_models_are_refused(copied):
    T5Config(d_model=16, d_ff=16, num_layers=1, num_heads=1, d_kv=8).save_pretrained(copied)
    with pytest.raises(ValueError, match=r"encoder-decoder model \(t5\).*causal language model"):
        load_model(copied)


@pytest.mark.parametrize("damage", ["cut", "text"])
def test_broken_weights_are_reported_as_such(copied, damage):
    weights = copied / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2] if damage == "cut" else b"not weights")
    with pytest.raises(ValueError, match="could not be loaded"):
        load_model(copied)


def test_broken_config_is_reported_as_such(copied):
    (copied / "config.json").write_text("{")
    with pytest.raises(ValueError, match="could not be loaded"):
        load_model(copied)
    (copied / "config.json").write_text(json.dumps({"model_type": "no_such_model"}))
    with pytest.raises(ValueError, match=r"could not be loaded.*no_such_model"):
        load_model(copied)


def test_tokenizer_without_padding_token_pads_with_the_end_token(copied):
    tokenizer = build_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(copied)
    _, loaded = load_model(copied)
    assert loaded.pad_token == loaded.eos_token == "</s>"


def test_new_models_are_seeded_and_of_the_size_promised():
    def first(seed: int) -> torch.Tensor:
        return new_course_model(seed, **TINY).model.embed_tokens.weight

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))
    with torch.device("meta"):
        model = new_course_model()
    weights = sum(p.numel() for p in model.parameters())
    assert 0.5e6 < weights < 5e6
    assert 2 * weights < 12e6, "the bfloat16 checkpoint has to stay below 12 MB"
    assert model.config.vocab_size >= len(build_tokenizer())
