"""The reader: a tokenizer that loses nothing, batches and runs that resume, data kept apart."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
import torch
from gsm8k_lines import train_row

from rg_helpers import pretraining
from rg_helpers.datasets.reader import (
    ReaderRecipe,
    held_out,
    reader_batches,
    reader_text,
    reference_trace,
    train_reader,
)
from rg_helpers.datasets.reader_tokenizer import train_tokenizer
from rg_helpers.datasets.word_problems import problem_of
from rg_helpers.language_model import load_model

PROBLEMS = [problem_of(train_row(seed), seed) for seed in range(60)]
SEEN = [problem for problem in PROBLEMS if not held_out(problem)]
TEXTS = [reader_text(problem) for problem in SEEN]
RECIPE = ReaderRecipe(
    steps=6,
    copy_steps=2,
    copy_batch_tokens=256,
    batch_tokens=512,
    warmup_steps=2,
    entries=320,
    hidden_size=16,
    layers=1,
    heads=2,
    intermediate_size=32,
)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 400)


@pytest.mark.parametrize(
    "text",
    [TEXTS[0], "480 is\n\nnot  48.", "naïve — 12½ €, 漢字\tand 🦆", " leading and trailing "],
)
def test_any_text_decodes_to_itself(tokenizer, text):
    ids = tokenizer(text).input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids[1:]) == text


def test_every_digit_and_line_break_is_a_token_of_its_own(tokenizer):
    pieces = tokenizer.tokenize("There are 480 pens,\n1,234 in all.\n\n7")
    assert [piece.strip("Ġ") for piece in pieces if any(c.isdigit() for c in piece)] == list(
        "48012347"
    )
    assert pieces.count("Ċ") == 3
    assert len(tokenizer.tokenize(" pens")) == 1, "frequent words are one token"
    with pytest.raises(ValueError, match="at least 259 entries"):
        train_tokenizer(TEXTS, 100)
    with pytest.raises(ValueError, match="some text"):
        train_tokenizer([], 400)


def test_one_in_twenty_is_held_out_by_its_id_alone():
    many = [problem_of(train_row(seed)) for seed in range(2000)]
    share = sum(map(held_out, many)) / len(many)
    assert 0.03 < share < 0.07
    assert [held_out(problem) for problem in many] == [
        held_out(problem_of(train_row(seed), 7)) for seed in range(2000)
    ]


def test_a_reference_is_cut_by_line_as_the_reader_sees_it(tokenizer):
    trace = reference_trace(tokenizer, PROBLEMS[0])
    assert trace.kinds[-3:] == ("step", "step", "answer")
    text = reader_text(PROBLEMS[0])
    assert list(trace.token_ids) == [*tokenizer(text).input_ids, tokenizer.eos_token_id]
    assert tokenizer.decode(trace.token_ids[trace.prompt_tokens : -1]) == trace.solution


def test_batches_depend_on_seed_and_step_alone_and_hold_training_texts(tokenizer):
    whole = list(reader_batches(tokenizer, TEXTS, RECIPE, 0))
    assert len(whole) == RECIPE.copy_steps + RECIPE.steps
    for first in (1, 4):
        later = list(reader_batches(tokenizer, TEXTS, RECIPE, first))
        assert len(later) == len(whole) - first
        assert all(
            torch.equal(a, b) and torch.equal(x, y)
            for (a, x), (b, y) in zip(whole[first:], later, strict=True)
        )
    known = {(*tokenizer(text).input_ids, tokenizer.eos_token_id) for text in TEXTS}
    for tokens, labels in whole[RECIPE.copy_steps :]:
        for row, wanted in zip(tokens, labels, strict=True):
            real = int((row != tokenizer.pad_token_id).sum())
            assert tuple(row[:real].tolist()) in known
            assert wanted[1:real].tolist() == row[1:real].tolist()
            assert (wanted[real:] < 0).all()
            assert wanted[0] < 0
    other = next(reader_batches(tokenizer, TEXTS, replace(RECIPE, seed=1), RECIPE.copy_steps))
    assert not torch.equal(other[0], whole[RECIPE.copy_steps][0])


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    how = {"compile_model": False, "save_every": 3, "evaluate_every": 4}
    whole = train_reader(PROBLEMS, RECIPE, tmp_path / "whole", **how)
    former, calls = pretraining._loss, itertools.count()

    def dying(*arguments):
        if next(calls) == 5:
            raise Killed
        return former(*arguments)

    monkeypatch.setattr(pretraining, "_loss", dying)
    with pytest.raises(Killed):
        train_reader(PROBLEMS, RECIPE, tmp_path / "killed", **how)
    again = train_reader(PROBLEMS, RECIPE, tmp_path / "killed", **how)
    one, two = load_model(whole)[0].state_dict(), load_model(again)[0].state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)

    record = json.loads((again / "record.json").read_text())
    assert record["problems_read"] + record["problems_held_out"] == len(PROBLEMS)
    assert record["problems_read"] == len(SEEN)
    assert [entry["step"] for entry in record["log"] if "validation_loss" in entry] == [3, 7]
    model, loaded = load_model(again)
    assert loaded.tokenize(TEXTS[0]) == train_tokenizer(TEXTS, RECIPE.entries).tokenize(TEXTS[0])
    assert model.config.vocab_size == RECIPE.entries

    with pytest.raises(ValueError, match="on other texts"):
        train_reader(PROBLEMS[:30], RECIPE, tmp_path / "killed", **how)
    with pytest.raises(ValueError, match="another recipe"):
        train_reader(PROBLEMS, replace(RECIPE, steps=7), tmp_path / "killed", **how)


def test_nothing_to_train_on_and_impossible_sizes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="none is left"):
        train_reader([], RECIPE, tmp_path)
    with pytest.raises(ValueError, match="multiple of twice the heads"):
        ReaderRecipe(hidden_size=18, heads=4)
