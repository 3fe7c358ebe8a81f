"""The recipe: resumed runs equal uninterrupted ones, batches depend on seed and step alone."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections import Counter
from dataclasses import asdict, replace

import pytest
import torch

from rg_helpers import pretraining
from rg_helpers.language_model import load_model
from rg_helpers.pretraining import RECIPES, learning_rate_at, pretrain
from rg_helpers.pretraining_data import (
    IGNORED,
    Curriculum,
    recitation,
    repeated_sequence,
    training_batches,
    training_example,
)
from rg_helpers.problems import FAMILIES
from rg_helpers.tokenizer import build_tokenizer

TOKENIZER = build_tokenizer()
RECIPE = replace(RECIPES["smoke"], steps=14, copy_steps=4, batch_tokens=768)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def losses(monkeypatch):
    """The loss of every step that is taken, and a switch that kills the run at one of them."""
    seen: list[float] = []
    kill_at: list[int] = []
    former = pretraining._loss

    def recorded(*arguments):
        if kill_at and len(seen) == kill_at[0]:
            raise Killed
        loss = former(*arguments)
        seen.append(loss.item())
        return loss

    monkeypatch.setattr(pretraining, "_loss", recorded)
    return seen, kill_at


def weights(folder) -> dict[str, torch.Tensor]:
    return dict(load_model(folder)[0].named_parameters())


@pytest.mark.parametrize("kill_at", [3, 11, 17])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, losses, kill_at):
    seen, kill = losses
    pretrain(RECIPE, tmp_path / "whole", compile_model=False, save_every=100)
    uninterrupted = list(seen)
    assert len(uninterrupted) == RECIPE.copy_steps + RECIPE.steps
    assert uninterrupted[-1] < uninterrupted[0]

    seen.clear()
    kill.append(kill_at)
    with pytest.raises(Killed):
        pretrain(RECIPE, tmp_path / "killed", compile_model=False, save_every=2)
    assert not (tmp_path / "killed" / "config.json").exists(), "unfinished runs show no model"
    kill.clear()
    seen.clear()
    pretrain(RECIPE, tmp_path / "killed", compile_model=False, save_every=2)
    assert seen == uninterrupted[kill_at - kill_at % 2 :], "the same losses from the saved step"
    resumed, whole = weights(tmp_path / "killed"), weights(tmp_path / "whole")
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    record, other = (
        json.loads((tmp_path / name / "record.json").read_text()) for name in ("killed", "whole")
    )
    assert record["tokens"] == other["tokens"] > 0
    assert [e["loss"] for e in record["log"]] == [e["loss"] for e in other["log"]]


def test_the_finished_folder_holds_model_record_and_one_state(tmp_path, losses):
    seen, _ = losses
    pretrain(RECIPE, tmp_path, compile_model=False, save_every=3, profile="smoke")
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["recipe"] == json.loads(json.dumps(asdict(RECIPE)))
    assert record["provenance"]["profile"] == "smoke"
    assert record["log"][-1]["loss"] == pytest.approx(seen[-1], abs=1e-4)
    assert record["parameters"] == sum(p.numel() for p in weights(tmp_path).values())
    assert len(list((tmp_path / "state").glob("*.safetensors"))) == 1
    assert not list(tmp_path.rglob("*.pt"))
    assert not list(tmp_path.rglob("*.pkl"))
    taken = len(seen)
    pretrain(RECIPE, tmp_path, compile_model=False)
    assert len(seen) == taken, "a finished run takes no further step"


def test_another_recipe_in_the_same_folder_is_refused(tmp_path):
    pretrain(replace(RECIPE, steps=2), tmp_path, compile_model=False)
    with pytest.raises(ValueError, match="another recipe: choose another output folder"):
        pretrain(replace(RECIPE, steps=3), tmp_path, compile_model=False)


@pytest.mark.parametrize("damage", ["no tensors", "no recipe", "no json"])
def test_a_damaged_state_names_the_cure(tmp_path, damage):
    pretrain(replace(RECIPE, steps=2), tmp_path, compile_model=False)
    state = tmp_path / "state" / "state.json"
    if damage == "no tensors":
        next((tmp_path / "state").glob("*.safetensors")).write_bytes(b"cut")
    else:
        state.write_text("{}" if damage == "no recipe" else "{")
    with pytest.raises(ValueError, match="delete"):
        pretrain(replace(RECIPE, steps=2), tmp_path, compile_model=False)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_it_is_saved(tmp_path, monkeypatch, bad):
    former, calls = pretraining._loss, itertools.count()

    def broken(*arguments):
        return former(*arguments) * (bad if next(calls) >= 7 else 1.0)

    monkeypatch.setattr(pretraining, "_loss", broken)
    with pytest.raises(RuntimeError, match=r"loss is (nan|inf) at step .*lower the learning rate"):
        pretrain(RECIPE, tmp_path, compile_model=False, save_every=3)
    monkeypatch.setattr(pretraining, "_loss", former)
    saved = json.loads((tmp_path / "state" / "state.json").read_text())
    assert saved["step"] <= 7, "the state on disk is from before the loss went wrong"
    pretrain(RECIPE, tmp_path, compile_model=False, save_every=3)
    assert all(torch.isfinite(w).all() for w in weights(tmp_path).values())


def test_evaluation_is_called_logged_and_leaves_training_mode_on(tmp_path):
    modes = []

    def evaluate(model, step):
        modes.append(model.training)
        return {"accuracy": 0.5}

    pretrain(RECIPE, tmp_path, compile_model=False, evaluate=evaluate, evaluate_every=5)
    log = json.loads((tmp_path / "record.json").read_text())["log"]
    assert [e["step"] for e in log if "accuracy" in e] == [9, 14]
    assert modes == [False, False]


def batches(first: int, seed: int = 1, steps: int = 70) -> list:
    drawn = training_batches(TOKENIZER, Curriculum(), steps, 512, seed, first_step=first)
    return list(drawn)


def test_batches_depend_on_seed_and_step_alone():
    whole = batches(0)
    assert len(whole) == 70
    for first in (1, 31, 32, 50, 69, 70):
        tail = batches(first)
        assert len(tail) == 70 - first
        for (tokens, labels), (others, other_labels) in zip(whole[first:], tail, strict=True):
            assert torch.equal(tokens, others)
            assert torch.equal(labels, other_labels)
    assert not torch.equal(whole[0][0][0, :50], batches(0, seed=2)[0][0][0, :50])


def test_batches_keep_their_size_and_padding():
    for tokens, labels in batches(0):
        assert tokens.dtype == labels.dtype == torch.int64
        assert tokens.shape == labels.shape
        assert tokens.shape[1] % 64 == 0
        assert 0.5 * 512 < tokens.numel() <= 512
        padding = tokens == TOKENIZER.pad_token_id
        assert (labels[padding] == IGNORED).all()
        assert not (padding[:, :-1] & ~padding[:, 1:]).any(), "padding stands on the right"
        assert (tokens[:, 0] == TOKENIZER.bos_token_id).all()


def test_the_loss_counts_solution_tokens_and_the_end_alone():
    rng = random.Random(4)
    curriculum = Curriculum(copying_share=0.0)
    for _ in range(150):
        ids, start = training_example(rng, TOKENIZER, curriculum, 1.0)
        asked, learnt = ids[:start], ids[start:]
        assert learnt[-1] == TOKENIZER.eos_token_id
        prompt = TOKENIZER.decode(asked, skip_special_tokens=True)
        assert prompt.rstrip("\n").endswith("?"), "the loss starts right after the question"
        solution = TOKENIZER.decode(learnt, skip_special_tokens=True)
        assert solution.split("The answer is")[1].strip().endswith(".")
        assert "?" not in solution


def test_repeated_sequences_repeat_and_only_the_copies_are_learnt():
    rng = random.Random(0)
    for _ in range(100):
        ids, start = repeated_sequence(rng, len(TOKENIZER), TOKENIZER.bos_token_id)
        period = start - 2
        assert len(ids) == 1 + 2 * period
        assert ids[start:] == ids[2 : 1 + period], "all but the copy's first token are learnt"
        assert ids[0] == TOKENIZER.bos_token_id
        assert min(ids[1:]) > TOKENIZER.bos_token_id
        assert max(ids) < len(TOKENIZER)


def test_a_recitation_restates_every_premise_once():
    rng = random.Random(0)
    for _ in range(50):
        ids, start = recitation(rng, TOKENIZER, Curriculum(), progress=0.5)
        given = TOKENIZER.decode(ids[:start], skip_special_tokens=True)
        again = TOKENIZER.decode(ids[start:], skip_special_tokens=True)
        assert sorted(given.split()) == sorted(again.split())
        assert ids[-1] == TOKENIZER.eos_token_id


def test_the_curriculum_grows_to_its_largest_and_no_further():
    curriculum = Curriculum(operations=8, start_operations=2, grown_by=0.5)
    grown = [curriculum.largest(step / 1000) for step in range(1001)]
    assert grown[0] == 2
    assert grown == sorted(grown)
    assert set(grown) == set(range(2, 9)), "every size has its turn"
    assert grown.index(8) <= 500
    rng = random.Random(1)
    lengths = [
        [len(training_example(rng, TOKENIZER, curriculum, progress)[0]) for _ in range(200)]
        for progress in (0.0, 1.0)
    ]
    assert sum(lengths[1]) > 1.3 * sum(lengths[0])


def test_all_families_take_part_and_no_test_problem_does(monkeypatch):
    drawn = []
    former = pretraining.training_batches.__globals__["generate_problem"]

    def recorded(*arguments, **options):
        drawn.append(former(*arguments, **options))
        return drawn[-1]

    monkeypatch.setattr("rg_helpers.pretraining_data.generate_problem", recorded)
    rng = random.Random(2)
    curriculum = Curriculum(copying_share=0.0)
    for _ in range(600):
        training_example(rng, TOKENIZER, curriculum, 0.5)
    assert {p.split for p in drawn} == {"train"}
    shares = Counter(p.family for p in drawn)
    assert set(shares) == set(FAMILIES)
    for family, weight in zip(curriculum.families, curriculum.weights):
        error = math.sqrt(weight * (1 - weight) / 600)
        assert abs(shares[family] / 600 - weight) < 4 * error, "families come by their weights"


def test_a_weight_is_asked_for_every_family():
    with pytest.raises(ValueError, match=r"3 weights for the families .*: give one a family"):
        Curriculum(families=("program",))


def test_learning_rate_rises_stays_and_falls():
    recipe = replace(RECIPE, steps=1000, warmup_steps=100, decay_share=0.3, learning_rate=1e-3)
    rates = [learning_rate_at(recipe, step) for step in range(1000)]
    assert rates[:100] == sorted(rates[:100])
    assert rates[99:700] == [1e-3] * 601
    assert rates[700:] == sorted(rates[700:], reverse=True)
    assert 0 < rates[-1] < 1e-5
