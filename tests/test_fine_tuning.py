"""Fine-tuning: what the loss counts, that it falls, that a seed fixes it, what is refused."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
import torch

from rg_helpers.fine_tuning import (
    FineTuning,
    epoch_batches,
    fine_tune,
    solution_example,
    solution_loss,
)
from rg_helpers.language_model import new_course_model
from rg_helpers.pretraining_data import IGNORED, Curriculum, collate, training_example
from rg_helpers.problems import FAMILIES, generate_problem
from rg_helpers.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def model():
    return new_course_model(0, hidden_size=32, layers=2, heads=2, intermediate_size=64).eval()


@pytest.fixture(scope="module")
def problems():
    return [generate_problem(f, i, operations=2, split="train") for f in FAMILIES for i in range(4)]


@pytest.fixture(scope="module")
def batch(tokenizer, problems):
    examples = [solution_example(tokenizer, problem) for problem in problems[2:7]]
    return examples, collate(examples, max(len(ids) for ids, _ in examples), 0)


def loss_by_hand(model, examples):
    """Average -log p over the solution tokens, one example at a time, without any padding."""
    total, count = 0.0, 0
    for ids, start in examples:
        log_p = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        for position in range(start, len(ids)):
            total = total - log_p[position - 1, ids[position]]
            count += 1
    return total / count


def test_loss_and_gradient_equal_a_hand_written_loop(model, batch):
    examples, (tokens, labels) = batch
    loss = solution_loss(model, tokens, labels)
    expected = loss_by_hand(model, examples)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    ours = torch.autograd.grad(loss, list(model.parameters()))
    theirs = torch.autograd.grad(expected, list(model.parameters()))
    for gradient, wanted in zip(ours, theirs):
        assert torch.allclose(gradient, wanted, atol=1e-6)
    assert max(float(gradient.abs().max()) for gradient in ours) > 1e-3


def test_loss_equals_that_of_transformers(model, batch):
    _, (tokens, labels) = batch
    expected = model(input_ids=tokens, labels=labels).loss
    assert solution_loss(model, tokens, labels).item() == pytest.approx(expected.item(), abs=1e-5)


def test_only_solution_tokens_count(model, batch):
    examples, (tokens, labels) = batch
    seen = {}
    handle = model.lm_head.register_forward_hook(
        lambda *a: a[2].retain_grad() or seen.update(o=a[2])
    )
    solution_loss(model, tokens, labels).backward()
    handle.remove()
    pulled = seen["o"].grad.abs().sum(-1) > 0
    for row, (ids, start) in enumerate(examples):
        wanted = [start - 1 <= position < len(ids) - 1 for position in range(tokens.shape[1])]
        assert pulled[row].tolist() == wanted
    model.zero_grad()


def test_padding_changes_nothing(model, batch):
    examples, (tokens, labels) = batch
    wider, wider_labels = collate(examples, tokens.shape[1] + 17, 3)
    loss = solution_loss(model, tokens, labels).item()
    assert solution_loss(model, wider, wider_labels).item() == pytest.approx(loss, abs=1e-6)


def test_a_batch_without_labels_is_refused(model, batch):
    _, (tokens, labels) = batch
    with pytest.raises(ValueError, match="no token of this batch is labelled"):
        solution_loss(model, tokens, torch.full_like(labels, IGNORED))


@pytest.mark.parametrize("family", FAMILIES)
def test_examples_are_those_of_pretraining(tokenizer, family):
    curriculum = Curriculum(families=(family,), weights=(1.0,), copying_share=0.0)
    for seed in range(20):
        ids, start = training_example(random.Random(seed), tokenizer, curriculum, 1.0)
        rng = random.Random(seed)
        rng.random()
        problem = generate_problem(
            rng.choices((family,))[0],
            rng.getrandbits(48),
            operations=rng.randint(1, curriculum.operations),
            distractors=rng.randint(0, curriculum.distractors),
            split="train",
        )
        assert solution_example(tokenizer, problem) == (ids, start)
        assert tokenizer.decode(ids[start:-1]).strip() == problem.solution


def test_loss_falls(model, tokenizer, problems):
    settings = FineTuning(steps=80, batch_size=6, learning_rate=5e-3)
    _, record = fine_tune(model, tokenizer, problems, settings, progress=False)
    assert sum(record.losses[-5:]) < 0.5 * sum(record.losses[:5])
    assert len(record.losses) == len(record.rates) == len(record.solution_tokens) == 80
    assert record.as_dict()["settings"]["batch_size"] == 6


def test_a_seed_fixes_the_run_and_the_given_model_is_left_alone(model, tokenizer, problems):
    before = [p.detach().clone() for p in model.parameters()]
    random_state = torch.random.get_rng_state()
    settings = FineTuning(steps=4, batch_size=4)
    tuned, record = fine_tune(model, tokenizer, problems, settings, progress=False)
    again, repeated = fine_tune(model, tokenizer, problems, settings, progress=False)
    _, other = fine_tune(model, tokenizer, problems, replace(settings, seed=1), progress=False)
    assert record.losses == repeated.losses != other.losses
    assert all(torch.equal(a, b) for a, b in zip(tuned.parameters(), again.parameters()))
    assert not all(torch.equal(a, b) for a, b in zip(tuned.parameters(), before))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before))
    assert torch.equal(random_state, torch.random.get_rng_state())
    assert not tuned.training


def test_in_place_trains_the_given_model(tokenizer, problems):
    model = new_course_model(0, hidden_size=32, layers=1, heads=2, intermediate_size=64)
    tuned, _ = fine_tune(
        model, tokenizer, problems, FineTuning(steps=1), in_place=True, progress=False
    )
    assert tuned is model


def test_evaluations_come_before_during_and_after(model, tokenizer, problems):
    modes = []
    settings = FineTuning(steps=5, batch_size=2)
    _, record = fine_tune(
        model,
        tokenizer,
        problems,
        settings,
        evaluate=lambda tuned, step: modes.append(tuned.training) or {"twice": 2 * step},
        evaluate_every=2,
        progress=False,
    )
    assert [dict(e) for e in record.evaluations] == [
        {"step": step, "twice": 2 * step} for step in (0, 2, 4, 5)
    ]
    assert modes == [False] * 4


def test_bf16_stays_close_to_float32(model, batch):
    _, (tokens, labels) = batch
    full = solution_loss(model, tokens, labels)
    short = solution_loss(model, tokens, labels, bf16=True)
    assert short.dtype == torch.float32
    assert short.item() == pytest.approx(full.item(), rel=0.02)


def test_learning_rate_rises_and_falls():
    settings = FineTuning(steps=10, learning_rate=1.0, warmup_share=0.2)
    rates = [settings.rate(step) for step in range(10)]
    assert rates[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert rates[-1] == pytest.approx(1 / 8)
    assert sorted(rates[2:], reverse=True) == rates[2:]
    assert FineTuning(warmup_share=0.0).rate(0) == FineTuning().learning_rate


def test_every_epoch_shows_each_example_once():
    lengths = [random.Random(i).randint(5, 90) for i in range(50)]
    batches = list(epoch_batches(lengths, steps=26, batch_size=4, seed=3))
    assert len(batches) == 26
    assert sorted(i for batch in batches[:13] for i in batch) == list(range(50))
    assert sorted(i for batch in batches[13:] for i in batch) == list(range(50))
    assert batches[:13] != batches[13:]
    assert batches == list(epoch_batches(lengths, steps=26, batch_size=4, seed=3))


def test_bad_input_is_refused_with_a_cure(model, tokenizer, problems):
    short = FineTuning(steps=1)
    with pytest.raises(ValueError, match="no problems to learn from"):
        fine_tune(model, tokenizer, [], short)
    test_problem = generate_problem("program", 0, split="test")
    with pytest.raises(ValueError, match="belongs to the test split"):
        fine_tune(model, tokenizer, [*problems, test_problem], short)
    with pytest.raises(ValueError, match="more than longest=20"):
        fine_tune(model, tokenizer, problems, replace(short, longest=20))
    with pytest.raises(ValueError, match="at least 1 step"):
        FineTuning(steps=0)
    with pytest.raises(ValueError, match="warmup_share"):
        FineTuning(warmup_share=1.0)


def test_an_example_beyond_the_positions_is_refused(tokenizer, problems):
    small = new_course_model(0, hidden_size=32, layers=1, heads=2, intermediate_size=64)
    small.config.max_position_embeddings = 40
    with pytest.raises(ValueError, match="takes at most 40 positions"):
        fine_tune(small, tokenizer, problems, FineTuning(steps=1))


def test_a_diverging_run_stops(model, tokenizer, problems):
    settings = FineTuning(steps=30, learning_rate=1e9, gradient_clip=math.inf, warmup_share=0.0)
    with pytest.raises(RuntimeError, match="start again with a learning rate below"):
        fine_tune(model, tokenizer, problems, settings, progress=False)
