"""LoRA trains its own matrices alone; what is exported generates without our code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_toys import course_toy, toy_data, toy_settings, toy_terms, toy_trainer, weights_of

from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.training import add_lora, export_model, train_with_graphs

GENERATE = """
import json, sys
sys.modules["rg_helpers"] = None  # importing it would fail
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, prompt = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
ids = tokenizer(prompt, return_tensors="pt").input_ids
written = model.generate(ids, max_new_tokens=12, do_sample=False)
print(json.dumps({"ids": ids[0].tolist(), "written": written[0].tolist(),
                  "cache": model.config.use_cache, "dtype": str(model.dtype)}))
"""


def generated(model, ids: list[int]) -> list[int]:
    with torch.no_grad():
        return model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)[0].tolist()


@pytest.fixture(scope="module")
def lora_run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        import transformers.trainer

        patch.setattr(transformers.trainer, "is_datasets_available", lambda: False)
        folder = tmp_path_factory.mktemp("lora")
        model = add_lora(course_toy(), rank=4)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        tuned, record = train_with_graphs(
            model,
            build_tokenizer(),
            toy_data(),
            toy_terms(3.0),
            toy_settings(steps=10, learning_rate=3e-2, recompute=True),
            folder=folder,
            in_place=True,
            progress=False,
        )
    return folder, tuned, before, record


def test_lora_moves_its_matrices_and_nothing_else(lora_run):
    _, tuned, before, record = lora_run
    moved = {n for n, p in tuned.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {name for name in before if "lora_" in name}
    assert any("q_proj" in name for name in moved)
    values = [row["alignment"] for row in record.log]
    assert sum(values[-3:]) < 0.9 * sum(values[:3])
    assert record.run["model"]["trained_weights"] < 0.3 * record.run["model"]["weights"]


def test_the_exported_folder_generates_the_same_without_our_code(lora_run):
    folder, tuned, _, _ = lora_run
    exported = folder / "model"
    prompt = "Gus has 4 pens."
    done = subprocess.run(
        [sys.executable, "-c", GENERATE, str(exported), prompt],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd="/",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["written"] == generated(tuned, result["ids"])
    assert len(result["written"]) > len(result["ids"])
    assert result["cache"] is True
    assert result["dtype"] == "torch.float32"
    text = "".join(f.read_text() for f in exported.glob("*.json") if f.name != "record.json")
    assert "rg_helpers" not in text
    assert {f.suffix for f in exported.iterdir()} == {".json", ".safetensors"}


def test_exporting_merges_a_copy_and_keeps_the_logits(lora_run, tmp_path):
    _, tuned, _, _ = lora_run
    before = weights_of(tuned)
    export_model(tmp_path / "m", tuned, build_tokenizer(), dtype=torch.float64)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(tuned), before))
    from rg_helpers.language_model import load_model

    merged, _ = load_model(tmp_path / "m", dtype=torch.float64)
    ids = toy_data(1)[0].input_ids[None]
    with torch.no_grad():
        torch.testing.assert_close(
            merged(ids).logits.float(), tuned.eval()(ids).logits, atol=1e-4, rtol=1e-4
        )
    assert not any("lora" in name for name, _ in merged.named_parameters())


def test_lora_resumes_with_the_same_losses(tmp_path):
    changes = {"steps": 6, "save_every": 2, "learning_rate": 1e-2}

    def trainer(folder):
        return toy_trainer(folder, add_lora(course_toy(), rank=2), terms=toy_terms(), **changes)

    whole = trainer(tmp_path / "a")
    whole.train()
    second = trainer(tmp_path / "b")
    second.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-4"))
    assert second._initial_global_step == 4
    rows = [
        [row["loss"] for row in run.state.log_history if "loss" in row] for run in (whole, second)
    ]
    assert rows[0] == rows[1]
    assert all(torch.equal(a, b) for a, b in zip(weights_of(whole.model), weights_of(second.model)))


def test_an_existing_folder_is_replaced_only_on_request_and_only_by_a_whole_one(
    tmp_path, monkeypatch
):
    target, tokenizer = tmp_path / "m", build_tokenizer()
    export_model(target, course_toy(0), tokenizer, {"number": 1})
    with pytest.raises(FileExistsError, match="replace=True"):
        export_model(target, course_toy(1), tokenizer)

    def broken(folder):
        raise OSError(28, "No space left on device")

    second = course_toy(1)
    monkeypatch.setattr(tokenizer, "save_pretrained", broken)
    with pytest.raises(OSError, match="what was there before is untouched"):
        export_model(target, second, tokenizer, {"number": 2}, replace=True)
    assert json.loads((target / "record.json").read_text()) == {"number": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    monkeypatch.undo()
    export_model(target, second, tokenizer, {"number": 2}, replace=True)
    assert json.loads((target / "record.json").read_text()) == {"number": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert Path(target / "model.safetensors").is_file()
