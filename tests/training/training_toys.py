"""Small runs for the tests: models of random weights, problems of a few tokens, few steps."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from tiny_models import tiny_traces
from torch import Tensor

from rg_helpers.graph_loss import graph_term
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.language_model import new_course_model
from rg_helpers.problems import generate_problem
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.training import GraphAwareTrainer, GraphDataset, TrainingSettings, WeightedTerm

SIZES = {"hidden_size": 32, "layers": 2, "heads": 2, "intermediate_size": 64}
HEADS = ((0, 1), (1, 0))


def course_toy(seed: int = 0, dropout: float = 0.0) -> transformers.PreTrainedModel:
    """A course model of two layers and two heads, sharpened so that attention is not uniform."""
    state = torch.random.get_rng_state()
    model = new_course_model(seed, **SIZES)
    torch.random.set_rng_state(state)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3.0)
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = dropout
    return model


def toy_problems(count: int = 16, family: str = "arithmetic") -> list:
    """Training problems of one to three operations: their lengths differ much."""
    return [
        generate_problem(family, seed, operations=1 + seed % 3, distractors=0, split="train")
        for seed in range(count)
    ]


def toy_data(count: int = 16, **options: Any) -> GraphDataset:
    return GraphDataset.of_problems(toy_problems(count), build_tokenizer(), **options)


def toy_settings(**changes: Any) -> TrainingSettings:
    usual = {"steps": 4, "batch_size": 4, "learning_rate": 5e-3, "log_every": 1, "cpu": True}
    return TrainingSettings(**{**usual, **changes})


def toy_terms(weight: float = 0.7, **options: Any) -> list[WeightedTerm]:
    return [WeightedTerm(graph_term("alignment", heads=HEADS), weight, **options)]


def toy_trainer(folder, model=None, data=None, terms=(), callbacks=(), **changes: Any):
    """A trainer that prints nothing; `changes` go into the settings."""
    validation = changes.pop("validation", None)
    largest = {"largest": changes.pop("largest")} if "largest" in changes else {}
    trainer = GraphAwareTrainer(
        course_toy() if model is None else model,
        toy_settings(**changes).arguments(folder, validated=validation is not None),
        toy_data() if data is None else data,
        terms=terms,
        eval_dataset=validation,
        processing_class=build_tokenizer(),
        callbacks=list(callbacks),
        **largest,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def logged(trainer, *names: str) -> list:
    """What was logged under the names, one row a step."""
    rows = [row for row in trainer.state.log_history if "loss" in row]
    return [tuple(row[name] for name in names) if len(names) > 1 else row[names[0]] for row in rows]


def weights_of(model) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def random_graph_data(count: int = 3) -> tuple[GraphDataset, list, list]:
    """Traces of random tokens for `tiny_model`s, with random target graphs."""
    generator = torch.Generator().manual_seed(3)
    traces = tiny_traces(count)
    graphs = []
    for trace in traces:
        nodes = len(trace.nodes)
        weights = (torch.rand(nodes, nodes, generator=generator) < 0.4).float()
        weights[:, 0] = 1.0  # every step follows from something
        weights[:3] = 0.0  # premises and question follow from nothing
        rows = normalise_rows(weights.numpy())
        graphs.append(StepGraph(rows, trace.kinds, trace.texts, "random", "", trace.trace_id))
    return GraphDataset(traces, graphs), traces, graphs


def alignment_by_hand(model, traces, data, heads=HEADS) -> list[Tensor]:
    """-log mass on the parents, from eager attention and plain loops: one scalar a trace."""
    model.set_attn_implementation("eager")
    losses = []
    for trace, example in zip(traces, data, strict=True):
        outputs = model(torch.tensor([trace.token_ids]), output_attentions=True, use_cache=False)
        total, rows = torch.zeros(()), 0
        for layer, head in heads:
            attention = outputs.attentions[layer][0, head]
            for target, node in enumerate(trace.nodes):
                parents = [j for j in range(target) if example.gold[target, j] > 0]
                if not parents:
                    continue
                given = [
                    attention[node.start : node.end, source.start : source.end].sum(1).mean()
                    for source in trace.nodes[:target]
                ]
                share = sum(given[j] for j in parents) / sum(given)
                total, rows = total - torch.log(share), rows + 1
        losses.append(total / rows)
    model.set_attn_implementation("sdpa")
    return losses


def cross_entropy_by_hand(model, trace) -> tuple[Tensor, int]:
    """Summed -log p of the solution tokens of one trace, and how many there are."""
    logits = model(torch.tensor([trace.token_ids]), use_cache=False).logits[0]
    log_p = logits.log_softmax(-1)
    places = range(trace.prompt_tokens, len(trace))
    return -sum(log_p[place - 1, trace.token_ids[place]] for place in places), len(places)
