"""Bad input is refused before training starts; what breaks later is named and does no harm."""

from __future__ import annotations

import sys

import pytest
import torch
import transformers
from tiny_models import VOCABULARY, tiny_model, tiny_traces
from training_toys import (
    HEADS,
    course_toy,
    random_graph_data,
    toy_data,
    toy_settings,
    toy_terms,
    toy_trainer,
    weights_of,
)

from rg_helpers.graph_loss import graph_term
from rg_helpers.training import (
    GraphAwareTrainer,
    GraphDataset,
    TrainingSettings,
    WeightedTerm,
    add_lora,
)


def test_models_whose_attention_cannot_be_tapped_are_refused(tmp_path):
    data = GraphDataset(tiny_traces(3))
    term = [WeightedTerm(graph_term("koleo"), 1.0)]
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2}
    mamba = transformers.MambaForCausalLM(transformers.MambaConfig(**sizes, state_size=4))
    with pytest.raises(ValueError, match="no softmax attention"):
        toy_trainer(tmp_path, mamba, data, term)
    codegen = transformers.CodeGenForCausalLM(
        transformers.CodeGenConfig(
            vocab_size=VOCABULARY, n_embd=32, n_layer=1, n_head=4, rotary_dim=4
        )
    )
    with pytest.raises(ValueError, match="AttentionInterface"):
        toy_trainer(tmp_path, codegen, data, term)
    toy_trainer(tmp_path, codegen, data)  # plain cross-entropy needs no tap


def test_terms_that_do_not_fit_data_or_model_are_refused(tmp_path):
    bare = GraphDataset(tiny_traces(3))
    model = tiny_model("llama")
    with pytest.raises(ValueError, match="needs a target graph"):
        toy_trainer(tmp_path, model, bare, toy_terms())
    data, _, _ = random_graph_data()
    with pytest.raises(ValueError, match="needs a target graph"):
        toy_trainer(tmp_path, model, data, toy_terms(), validation=bare)
    term = WeightedTerm(graph_term("alignment", heads=((7, 0),)), 1.0)
    with pytest.raises(ValueError, match="reads layer 7"):
        toy_trainer(tmp_path, model, data, [term])
    term = WeightedTerm(graph_term("alignment", heads=((1, 9),)), 1.0)
    with pytest.raises(ValueError, match="layer 1 head 9 does not exist"):
        toy_trainer(tmp_path, model, data, [term])
    with pytest.raises(ValueError, match="give each its own"):
        toy_trainer(tmp_path, model, data, [*toy_terms(), *toy_terms()])
    with pytest.raises(ValueError, match="weight=-1"):
        toy_terms(-1.0)
    with pytest.raises(ValueError, match="expected letters"):
        WeightedTerm(lambda attention, batch: attention.mean((1, 2, 3, 4)), 1.0)
    with pytest.raises(ValueError, match="0 <= start < stop"):
        toy_terms(1.0, start=3, stop=3)
    with pytest.raises(ValueError, match="give a GraphDataset"):
        toy_trainer(tmp_path, model, tiny_traces(3), toy_terms())


def test_a_term_without_a_gradient_is_refused(tmp_path):
    """The original study's mistake: graph and score come from detached arrays."""
    data, _, _ = random_graph_data()
    inner = graph_term("alignment", heads=HEADS)

    def dead(attention, batch):
        return torch.from_numpy(inner(attention, batch).detach().numpy())

    with pytest.raises(ValueError, match="without a gradient"):
        toy_trainer(tmp_path, tiny_model("llama"), data, [WeightedTerm(dead, 1.0)])
    mean = WeightedTerm(lambda attention, batch: inner(attention, batch).mean(), 1.0, name="m")
    with pytest.raises(ValueError, match="one loss for each trace"):
        toy_trainer(tmp_path, tiny_model("llama"), data, [mean])
    frozen = tiny_model("llama").requires_grad_(False)
    with pytest.raises(ValueError, match="no weight of the model is trained"):
        toy_trainer(tmp_path, frozen, data, toy_terms())


def test_what_would_be_ignored_or_hidden_is_refused(tmp_path):
    arguments = toy_settings().arguments(tmp_path)
    arguments.label_smoothing_factor = 0.1
    with pytest.raises(ValueError, match=r"label_smoothing_factor=0\.1"):
        GraphAwareTrainer(course_toy(), arguments, toy_data())
    arguments.label_smoothing_factor = 0.0
    arguments.torch_compile = True
    with pytest.raises(ValueError, match="torch_compile=False"):
        GraphAwareTrainer(course_toy(), arguments, toy_data(), terms=toy_terms())


def test_settings_that_cannot_work_are_refused(tmp_path):
    with pytest.raises(ValueError, match="steps=0"):
        TrainingSettings(steps=0)
    with pytest.raises(ValueError, match="learning_rate"):
        TrainingSettings(learning_rate=0.0)
    with pytest.raises(ValueError, match="set evaluate_every"):
        TrainingSettings(patience=1)
    with pytest.raises(ValueError, match="no multiple"):
        TrainingSettings(patience=1, evaluate_every=4, save_every=6)
    with pytest.raises(ValueError, match="needs validation data"):
        TrainingSettings(patience=1, evaluate_every=4).arguments(tmp_path)


def test_a_loss_that_is_not_finite_names_the_batch_and_changes_nothing(tmp_path):
    model, data = course_toy(), toy_data(8)
    trainer = toy_trainer(tmp_path, model, data, toy_terms(), batch_size=4)
    with torch.no_grad():
        model.model.norm.weight[0] = torch.nan
    before = weights_of(model)
    order = list(trainer._get_train_sampler())[:4]
    with pytest.raises(RuntimeError, match="step 0: ce = nan is not finite") as caught:
        trainer.train()
    assert all(data[index].trace_id in str(caught.value) for index in order)
    for now, then in zip(weights_of(model), before):
        assert torch.equal(now.nan_to_num(), then.nan_to_num())


def test_attention_that_is_not_finite_names_the_term(tmp_path):
    model, data = course_toy(), toy_data(8)
    trainer = toy_trainer(tmp_path, model, data, toy_terms())
    with torch.no_grad():
        model.model.layers[0].self_attn.q_proj.weight[0, 0] = torch.nan
    with pytest.raises(RuntimeError, match="step 0: the graph term alignment is not finite for tr"):
        trainer.train()


def test_an_exploding_term_is_stopped(tmp_path):
    inner = graph_term("alignment", heads=HEADS)
    calls = []

    def growing(attention, batch):
        calls.append(1)
        return inner(attention, batch) * 10.0 ** len(calls)

    trainer = toy_trainer(tmp_path, terms=[WeightedTerm(growing, 1.0)], largest=1e3, steps=9)
    with pytest.raises(RuntimeError, match=r"step \d: growing = .* is above 1000 in the batch of"):
        trainer.train()
    assert 1 < len(calls) < 6


def test_a_broken_gradient_is_stopped_before_the_update(tmp_path):
    inner = graph_term("alignment", heads=HEADS)

    def edge(attention, batch):
        value = inner(attention, batch)
        return value + torch.sqrt((value - value.detach()).clamp(min=0))  # value 0, slope infinite

    model = course_toy()
    before = weights_of(model)
    trainer = toy_trainer(tmp_path, model, terms=[WeightedTerm(edge, 1.0)])
    with pytest.raises(RuntimeError, match="step 0: the gradient is not finite in the batch of"):
        trainer.train()
    assert all(torch.equal(a, b) for a, b in zip(weights_of(model), before))


def test_lora_without_peft_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match="pip install peft"):
        add_lora(course_toy())
