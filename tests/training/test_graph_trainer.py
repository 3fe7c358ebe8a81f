"""The loss is what it says, costs nothing when off, and does not depend on how a step is cut."""

from __future__ import annotations

import pytest
import torch
import transformers
from tiny_models import tiny_model
from training_toys import (
    alignment_by_hand,
    course_toy,
    cross_entropy_by_hand,
    logged,
    random_graph_data,
    toy_data,
    toy_settings,
    toy_terms,
    toy_trainer,
    weights_of,
)

from rg_helpers.graph_loss import graph_term
from rg_helpers.graph_loss.koleo import KoLeoBuffer
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.training import GraphDataset, WeightedTerm, train_with_graphs
from rg_helpers.training import trainer as trainer_module


def plain_run(folder, data, model):
    """The same run by transformers' own Trainer, which knows nothing of graphs."""
    ours = toy_trainer(folder, course_toy(), data)
    arguments = toy_settings().arguments(folder)
    arguments.remove_unused_columns = False

    class Plain(transformers.Trainer):
        def _get_train_sampler(self, train_dataset=None):
            return ours._get_train_sampler()

    def collate(examples):
        batch = ours.data_collator(examples)
        return {name: batch[name] for name in ("input_ids", "labels")}

    plain = Plain(model, arguments, data_collator=collate, train_dataset=data)
    plain.remove_callback(transformers.PrinterCallback)
    plain.train()
    return plain


def test_weight_zero_equals_a_plain_trainer_bit_for_bit_and_opens_no_tap(tmp_path, monkeypatch):
    data, model = toy_data(), course_toy()
    plain = plain_run(tmp_path / "plain", data, model)
    off = toy_trainer(tmp_path / "off", course_toy(), data, toy_terms(0.0))

    def no_tap(*args, **kwargs):
        raise AssertionError("a tap was opened although no term has a weight")

    monkeypatch.setattr(trainer_module, "tap_step_attention", no_tap)
    off.train()
    assert logged(off, "loss", "grad_norm") == logged(plain, "loss", "grad_norm")
    assert all(torch.equal(a, b) for a, b in zip(off.model.parameters(), model.parameters()))


def test_a_weight_above_zero_changes_the_weights_and_lowers_the_term(tmp_path):
    data = toy_data()
    plain, record = train_with_graphs(
        course_toy(), build_tokenizer(), data, toy_terms(0.0), toy_settings(), validation=data
    )
    pulled, other = train_with_graphs(
        course_toy(),
        build_tokenizer(),
        data,
        toy_terms(2.0),
        toy_settings(steps=12),
        validation=data,
    )
    assert not all(torch.equal(a, b) for a, b in zip(plain.parameters(), pulled.parameters()))
    values = [row["alignment"] for row in other.log]
    assert sum(values[-3:]) < 0.8 * sum(values[:3])
    assert all("alignment" not in row for row in record.log)


def test_loss_and_gradient_equal_eager_attention_and_plain_loops(tmp_path):
    data, traces, _ = random_graph_data()
    model = tiny_model("qwen3").train()
    pad_free = [cross_entropy_by_hand(model, trace) for trace in traces]
    ce = sum(total for total, _ in pad_free) / sum(count for _, count in pad_free)
    graph = sum(alignment_by_hand(model, traces, data)) / len(traces)
    wanted = torch.autograd.grad(ce + 0.7 * graph, list(model.parameters()))
    trainer = toy_trainer(tmp_path, model, data, toy_terms(0.7), save_every=None)
    loss = trainer.compute_loss(model, trainer.data_collator(list(data)))
    assert loss.item() == pytest.approx((ce + 0.7 * graph).item(), rel=1e-5)
    assert 0.7 * graph.item() > 0.1
    ours = torch.autograd.grad(loss, list(model.parameters()))
    scale = max(float(gradient.abs().max()) for gradient in wanted)
    for gradient, expected in zip(ours, wanted):
        torch.testing.assert_close(gradient, expected, atol=1e-5 * scale, rtol=1e-4)


def test_accumulation_gives_the_losses_of_whole_batches(tmp_path):
    data = toy_data(24)
    runs = [
        toy_trainer(tmp_path / f"{size}", course_toy(), data, toy_terms(), **cut)
        for size, cut in enumerate(
            [
                {"batch_size": 8},
                {"batch_size": 4, "accumulation": 2},
                {"batch_size": 2, "accumulation": 4},
            ]
        )
    ]
    for run in runs:
        run.train()
    names = ("loss", "ce", "alignment", "grad_norm")
    whole = torch.tensor(logged(runs[0], *names))
    for parts in runs[1:]:
        torch.testing.assert_close(torch.tensor(logged(parts, *names)), whole, atol=2e-4, rtol=2e-4)
        for a, b in zip(parts.model.parameters(), runs[0].model.parameters()):
            torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_the_mean_of_the_parts_means_would_have_been_another_loss(tmp_path):
    # Otherwise the test above could not tell the right normalisation from the classic mistake.
    data = toy_data(24)
    trainer = toy_trainer(tmp_path, data=data, terms=toy_terms())
    order = list(trainer._get_train_sampler())[:8]
    examples = [data[index] for index in order]
    halves = [trainer.data_collator(half) for half in (examples[:4], examples[4:])]
    means = [trainer.compute_loss(trainer.model, half).item() for half in halves]
    whole = trainer.compute_loss(trainer.model, trainer.data_collator(examples)).item()
    assert abs(sum(means) / 2 - whole) > 1e-3


def one_gradient(tmp_path, data, **changes):
    trainer = toy_trainer(tmp_path, data=data, terms=changes.pop("terms", toy_terms()), **changes)
    if changes.get("recompute"):
        trainer.model.activation_checkpointing_enable({"use_reentrant": False})
    trainer.create_optimizer()
    trainer.model, trainer.optimizer = trainer.accelerator.prepare(trainer.model, trainer.optimizer)
    trainer.current_gradient_accumulation_steps = 1
    batch = trainer.data_collator([data[index] for index in range(6)])
    trainer.training_step(trainer.model, batch)
    return [parameter.grad.clone() for parameter in trainer.model.parameters()]


def test_recomputed_layers_give_the_same_gradient(tmp_path):
    data = toy_data()
    kept = one_gradient(tmp_path, data)
    recomputed = one_gradient(tmp_path, data, recompute=True)
    without = one_gradient(tmp_path, data, recompute=True, terms=())
    for a, b in zip(kept, recomputed):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
    moved = max(float((a - b).abs().max()) for a, b in zip(recomputed, without))
    assert moved > 1e-3  # the graph term's part is not lost on the way


def test_recomputing_really_runs_the_layers_again(tmp_path):
    calls = []
    for recompute in (False, True):
        trainer = toy_trainer(tmp_path / str(recompute), terms=toy_terms(), recompute=recompute)
        first = trainer.model.model.layers[0].self_attn
        seen = []
        handle = first.q_proj.register_forward_hook(lambda *a, seen=seen: seen.append(1))
        trainer.train()
        handle.remove()
        calls.append(len(seen))
    assert calls[1] == 2 * calls[0]


def test_bf16_stays_close_to_float32(tmp_path):
    data = toy_data()
    full = toy_trainer(tmp_path / "a", course_toy(), data, toy_terms())
    short = toy_trainer(tmp_path / "b", course_toy(), data, toy_terms(), bf16=True, recompute=True)
    full.train()
    short.train()
    names = ("ce", "alignment")
    a, b = torch.tensor(logged(full, *names)), torch.tensor(logged(short, *names))
    torch.testing.assert_close(a, b, rtol=0.05, atol=0.02)
    assert not torch.equal(a, b)
    assert next(short.model.parameters()).dtype == torch.float32


def test_logs_add_up_and_a_term_holds_only_in_its_window(tmp_path):
    terms = [
        *toy_terms(0.7, start=1, stop=3),
        WeightedTerm(graph_term("koleo"), 0.1, name="spread"),
    ]
    trainer = toy_trainer(tmp_path, terms=terms, steps=4)
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    for step, row in enumerate(rows):
        assert ("alignment" in row) == (step in (1, 2))
        total = row["ce"] + 0.1 * row["spread"] + 0.7 * row.get("alignment", 0.0)
        assert row["loss"] == pytest.approx(total, rel=1e-5)
        assert row["weight_spread"] == 0.1


def test_logs_average_over_the_steps_between(tmp_path):
    each = toy_trainer(tmp_path / "1", course_toy(), terms=toy_terms())
    pairs = toy_trainer(tmp_path / "2", course_toy(), terms=toy_terms(), log_every=2)
    each.train()
    pairs.train()
    single = torch.tensor(logged(each, "loss", "ce", "alignment"))
    torch.testing.assert_close(
        torch.tensor(logged(pairs, "loss", "ce", "alignment")), single.view(2, 2, 3).mean(1)
    )


def test_weights_count_like_showing_an_example_more_often(tmp_path):
    data, traces, graphs = random_graph_data()
    model = tiny_model("llama").train()
    weighted = GraphDataset(traces, graphs, weights=[2.0, 1.0, 0.0])
    repeated = GraphDataset([traces[0], traces[0], traces[1]], [graphs[0], graphs[0], graphs[1]])
    losses = []
    for chosen in (weighted, repeated):
        trainer = toy_trainer(tmp_path, model, chosen, toy_terms(0.5))
        batch = trainer.data_collator(list(chosen))
        tokens = torch.tensor(10.0)  # not to be weighted: it says how large the step is
        losses.append(trainer.compute_loss(model, batch, num_items_in_batch=tokens).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    plain = toy_trainer(tmp_path, model, data, toy_terms(0.5))
    batch = plain.data_collator(list(data))
    unweighted = plain.compute_loss(model, batch, num_items_in_batch=torch.tensor(10.0)).item()
    assert abs(unweighted - losses[0]) > 1e-3


def test_evaluation_is_exact_and_reports_terms_of_weight_zero(tmp_path):
    data, traces, _ = random_graph_data()
    model = tiny_model("qwen3")
    trainer = toy_trainer(tmp_path, model, data, toy_terms(0.0), batch_size=1, validation=data)
    metrics = trainer.evaluate()
    parts = [cross_entropy_by_hand(model, trace) for trace in traces]
    ce = sum(total for total, _ in parts) / sum(count for _, count in parts)
    graph = sum(alignment_by_hand(model, traces, data)) / len(traces)
    assert metrics["eval_ce"] == pytest.approx(ce.item(), rel=1e-5)
    assert metrics["eval_alignment"] == pytest.approx(graph.item(), rel=1e-4)
    assert metrics["eval_loss"] == metrics["eval_ce"]


def test_a_buffer_is_filled_by_training_and_left_alone_by_evaluation(tmp_path):
    data = toy_data()
    terms = [WeightedTerm(graph_term("koleo", buffer=KoLeoBuffer.empty(10)), 0.1)]
    trainer = toy_trainer(tmp_path, data=data, terms=terms, validation=data, batch_size=4)
    before = trainer.evaluate()["eval_koleo"]
    trainer.train()
    assert len(trainer._buffers["koleo"].problem_ids) == 10
    held = trainer._buffers["koleo"]
    trainer.evaluate()
    assert trainer._buffers["koleo"] is held
    # In evaluation the loss depends on the batch alone: a full buffer changes nothing.
    fresh = toy_trainer(tmp_path, data=data, terms=terms, validation=data, batch_size=4)
    fresh._buffers["koleo"] = held
    assert fresh.evaluate()["eval_koleo"] == before


def test_only_the_layers_that_a_term_reads_are_tapped(tmp_path):
    data = toy_data()
    trainer = toy_trainer(tmp_path, data=data)
    seen = {}
    layers = {
        "second": WeightedTerm(graph_term("alignment", heads=((1, 0),)), 1.0),
        "all": WeightedTerm(graph_term("alignment", heads="all"), 1.0),
    }
    for name, term in layers.items():
        trainer = toy_trainer(tmp_path, data=data, terms=[term])
        batch = trainer.data_collator(list(data)[:3])
        with trainer._tapping(trainer.model, batch, trainer.terms):
            trainer.model(input_ids=batch["input_ids"])
            seen[name] = sorted(trainer._tap.by_layer)
    assert seen == {"second": [1], "all": [0, 1]}


def test_the_model_is_left_as_it_came(tmp_path):
    model = course_toy().eval()
    before, state = weights_of(model), torch.random.get_rng_state()
    cache = model.config.use_cache
    tuned, _ = train_with_graphs(
        model, build_tokenizer(), toy_data(), toy_terms(), toy_settings(steps=2), progress=False
    )
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before))
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.config.use_cache == tuned.config.use_cache == cache
    assert not tuned.training
    assert tuned.config._attn_implementation == "sdpa"
    own, _ = train_with_graphs(
        model,
        build_tokenizer(),
        toy_data(),
        toy_terms(),
        toy_settings(steps=2),
        in_place=True,
        progress=False,
    )
    assert own is model
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), tuned.parameters()))
