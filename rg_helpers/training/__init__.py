r"""Graph-aware training: a transformers Trainer whose loss adds graph terms to cross-entropy.

    data = GraphDataset.of_problems(problems, tokenizer)
    terms = [WeightedTerm(graph_term("alignment", heads=((1, 0),)), weight=0.1)]
    tuned, record = train_with_graphs(model, tokenizer, data, terms, TrainingSettings(steps=300))

Several processes see a step's examples in parts; batch_size counts per process:

    accelerate launch --multi_gpu --num_processes 4 --mixed_precision bf16 train.py
    accelerate launch --multi_gpu --num_processes 2 train.py    # on a CPU, over gloo

Where the weights of a model do not fit on one GPU, use GraphAwareTrainer itself with FSDP, whole
decoder layers wrapped, and write the result with `trainer.save_model` (not covered by our tests):

    accelerate launch --use_fsdp --fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP \
        --fsdp_transformer_layer_cls_to_wrap Qwen2DecoderLayer \
        --fsdp_state_dict_type FULL_STATE_DICT --num_processes 4 train.py
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
