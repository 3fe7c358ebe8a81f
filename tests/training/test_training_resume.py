"""A killed run goes on as if nothing had happened; what was saved is whole and never worse."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest
import torch
from training_toys import (
    HEADS,
    course_toy,
    logged,
    toy_data,
    toy_settings,
    toy_terms,
    toy_trainer,
    weights_of,
)
from transformers.trainer_callback import TrainerCallback

from rg_helpers.graph_loss import graph_term
from rg_helpers.graph_loss.koleo import KoLeoBuffer
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.training import WeightedTerm, add_lora, train_with_graphs
from rg_helpers.training import state_files as state_files_module

# Two and a half epochs, accumulated steps, dropout and a term with a memory: all that a resumed
# run could get wrong.
CUT = {"steps": 10, "batch_size": 2, "accumulation": 2, "save_every": 3}


def cut_terms():
    return [
        *toy_terms(0.7, start=2),
        WeightedTerm(graph_term("koleo", buffer=KoLeoBuffer.empty(12)), 0.05),
    ]


class KilledAt(TrainerCallback):
    """Kills the process, as a power cut or the out-of-memory killer would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def killed_in_a_child(run) -> None:
    """Run in a forked process that must die by SIGKILL."""
    child = os.fork()
    if child == 0:
        try:
            run()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child ended by itself"
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_a_killed_run_goes_on_with_the_losses_of_an_uninterrupted_one(tmp_path):
    data = toy_data(16)
    whole = toy_trainer(tmp_path / "whole", course_toy(dropout=0.2), data, cut_terms(), **CUT)
    whole.train()

    def interrupted(callbacks=()):
        model = course_toy(dropout=0.2)
        return toy_trainer(tmp_path / "cut", model, data, cut_terms(), callbacks, **CUT)

    killed_in_a_child(lambda: interrupted([KilledAt(8)]).train())
    saved = sorted(path.name for path in (tmp_path / "cut").iterdir())
    assert saved == ["checkpoint-3", "checkpoint-6"]
    # A kill in the middle of writing leaves a folder that is not taken for a checkpoint.
    (tmp_path / "cut" / ".checkpoint-9.partial").mkdir()
    (tmp_path / "cut" / ".checkpoint-9.partial" / "model.safetensors").write_bytes(b"half")
    second = interrupted()
    second.train(resume_from_checkpoint=True)
    names = ("step", "loss", "ce", "koleo", "grad_norm", "learning_rate")
    assert logged(second, *names) == logged(whole, *names)
    assert len(logged(whole, "step")) == 10
    assert all(torch.equal(a, b) for a, b in zip(weights_of(second.model), weights_of(whole.model)))
    assert not list((tmp_path / "cut").glob(".*"))
    assert second.seconds() > 0

    # Dropout was at work, or the random states would not have been put to the test.
    still = toy_trainer(tmp_path / "still", course_toy(), data, cut_terms(), **CUT)
    still.train()
    assert logged(still, "loss") != logged(whole, "loss")


def test_checkpoints_hold_tensors_and_json_and_old_ones_go(tmp_path):
    trainer = toy_trainer(tmp_path, terms=toy_terms(), steps=6, save_every=1, keep_checkpoints=2)
    trainer.train()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-5", "checkpoint-6"]
    suffixes = {path.suffix for path in (tmp_path / "checkpoint-6").iterdir()}
    assert suffixes == {".safetensors", ".json"}


@pytest.fixture(scope="module")
def interrupted_folder(tmp_path_factory):
    """A run of four steps with checkpoints, to be copied and spoilt."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        import transformers.trainer

        patch.setattr(transformers.trainer, "is_datasets_available", lambda: False)
        toy_trainer(folder, terms=toy_terms(), save_every=2).train()
    return folder


def resumed(folder, model=None, data=None, terms=None, **changes):
    trainer = toy_trainer(
        folder, model, data, toy_terms() if terms is None else terms, save_every=2, **changes
    )
    return trainer.train(resume_from_checkpoint=True)


def test_a_checkpoint_of_another_run_is_refused_by_name(interrupted_folder, tmp_path):
    folder = interrupted_folder
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    with pytest.raises(ValueError, match=r"model\.trained_weights.*load the model"):
        resumed(folder, add_lora(course_toy(), rank=2))
    with pytest.raises(ValueError, match=r"its data is .* give the same traces"):
        resumed(folder, data=toy_data(8))
    with pytest.raises(ValueError, match=r"terms\[0\]\.weight is 0\.7, here it is 0\.1"):
        resumed(folder, terms=toy_terms(0.1))
    term = WeightedTerm(graph_term("alignment", heads=HEADS, form="kl"), 0.7)
    with pytest.raises(ValueError, match=r"choices\.form is None, here it is 'kl'"):
        resumed(folder, terms=[term])
    with pytest.raises(ValueError, match=r"settings\.learning_rate"):
        resumed(folder, learning_rate=1e-3)
    with pytest.raises(ValueError, match="would be overwritten"):
        toy_trainer(folder, terms=toy_terms(), save_every=2).train()
    with pytest.raises(FileNotFoundError, match="no checkpoint of a graph-aware run"):
        toy_trainer(tmp_path, terms=toy_terms()).train(resume_from_checkpoint=str(tmp_path))
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_lora_on_another_base_is_refused(tmp_path):
    changes = {"steps": 2, "save_every": 1, "learning_rate": 1e-2}
    first = toy_trainer(tmp_path, add_lora(course_toy(0), rank=2), terms=toy_terms(), **changes)
    first.train()
    other = toy_trainer(tmp_path, add_lora(course_toy(1), rank=2), terms=toy_terms(), **changes)
    with pytest.raises(ValueError, match=r"model\.frozen"):
        other.train(resume_from_checkpoint=True)


def test_a_damaged_checkpoint_is_refused(interrupted_folder, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(interrupted_folder, folder)
    weights = folder / "checkpoint-4" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"delete .*checkpoint-4 and continue from an earlier"):
        resumed(folder)
    shutil.rmtree(folder / "checkpoint-4")
    assert resumed(folder).global_step == 4


def test_a_full_disk_leaves_earlier_checkpoints_alone(tmp_path, monkeypatch):
    calls = []

    def full(tensors, path):
        calls.append(path)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        original(tensors, path)

    original = state_files_module.save_file
    monkeypatch.setattr(state_files_module, "save_file", full)
    trainer = toy_trainer(tmp_path, terms=toy_terms(), save_every=2)
    with pytest.raises(OSError, match="free some disk space"):
        trainer.train()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]
    monkeypatch.setattr(state_files_module, "save_file", original)
    assert resumed(tmp_path).global_step == 4


def test_a_whole_run_is_exported_read_back_and_not_overwritten(tmp_path):
    data, looks = toy_data(), []

    def look(model, step):
        looks.append((step, model.training))
        return {"doubled": 2 * step}

    def run(terms):
        return train_with_graphs(
            course_toy(),
            build_tokenizer(),
            data,
            terms,
            toy_settings(save_every=2),
            folder=tmp_path,
            evaluate=look,
            look_every=2,
            progress=False,
        )

    (tmp_path / "model").mkdir()
    with pytest.raises(ValueError, match=r"holds no record\.json"):
        run(toy_terms())
    assert not looks, "found out only after training"
    (tmp_path / "model").rmdir()
    tuned, record = run(toy_terms())
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert looks == [(0, False), (2, False), (4, False)]
    assert record.evaluations[1] == {"step": 2, "doubled": 4}
    written = json.loads((tmp_path / "model" / "record.json").read_text())
    assert written["run"]["terms"][0]["weight"] == 0.7
    assert written["provenance"]["seed"] == 0
    assert len(written["log"]) == 4
    again, same = run(toy_terms())
    assert len(looks) == 3, "a finished run was run again"
    assert same == record
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), tuned.parameters()))
    with pytest.raises(ValueError, match="belongs to another run"):
        run(toy_terms(0.2))
    assert json.loads((tmp_path / "model" / "record.json").read_text()) == written


def test_early_stopping_goes_back_to_the_best_model(tmp_path):
    # Validation on other problems gets worse soon at this learning rate.
    data, validation = toy_data(4), toy_data(12)
    settings = toy_settings(
        steps=40, learning_rate=0.05, warmup_share=0.0, evaluate_every=2, patience=2
    )
    tuned, record = train_with_graphs(
        course_toy(),
        build_tokenizer(),
        data,
        toy_terms(),
        settings,
        folder=tmp_path,
        validation=validation,
        progress=False,
    )
    values = {row["step"]: row["eval_ce"] for row in record.validations}
    assert record.stopped_early
    assert record.steps < 40
    assert record.best_step == min(values, key=values.get) == record.steps - 4
    checked = toy_trainer(tmp_path / "c", tuned, data, toy_terms(), validation=validation)
    assert checked.evaluate()["eval_ce"] == pytest.approx(values[record.best_step], rel=1e-6)
