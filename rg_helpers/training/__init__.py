"""Graph-aware training: a transformers Trainer whose loss adds graph terms to cross-entropy.

    data = GraphDataset.of_problems(problems, tokenizer)
    terms = [WeightedTerm(graph_term("alignment", heads=((1, 0),)), weight=0.1)]
    tuned, record = train_with_graphs(model, tokenizer, data, terms, TrainingSettings(steps=300))

Several processes: start the script with `accelerate launch --multi_gpu --num_processes N script.py`
(on a CPU too, with TrainingSettings(cpu=True)) or with `torchrun`; batch_size counts per process.
With FSDP (`accelerate config`) use GraphAwareTrainer
itself, name the decoder layer to wrap, and gather full weights with `trainer.save_model`.
"""

from __future__ import annotations

from rg_helpers.training.data import Example, GraphCollator, GraphDataset
from rg_helpers.training.export import export_model
from rg_helpers.training.lora import add_lora
from rg_helpers.training.loss import WeightedTerm
from rg_helpers.training.run import TrainingRecord, train_with_graphs
from rg_helpers.training.settings import TrainingSettings
from rg_helpers.training.trainer import GraphAwareTrainer

__all__ = [
    "Example",
    "GraphAwareTrainer",
    "GraphCollator",
    "GraphDataset",
    "TrainingRecord",
    "TrainingSettings",
    "WeightedTerm",
    "add_lora",
    "export_model",
    "train_with_graphs",
]
