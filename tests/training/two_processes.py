"""A short run for `test_two_processes.py`, in as many processes as it is started in.

    accelerate launch --multi_gpu --num_processes 2 two_processes.py FOLDER BATCH_SIZE

(without a GPU `--multi_gpu` only means that several processes are started; `--cpu` starts one).

Writes FOLDER/record.json from the first process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from rg_helpers.graph_loss import graph_term
from rg_helpers.language_model import new_course_model
from rg_helpers.problems import generate_problem
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.training import GraphDataset, TrainingSettings, WeightedTerm, train_with_graphs


def run(folder: str, batch_size: int) -> None:
    """Train on problems whose lengths differ, and look at an odd number of others."""
    torch.set_num_threads(1)
    tokenizer = build_tokenizer()
    model = new_course_model(0, hidden_size=32, layers=2, heads=2, intermediate_size=64)
    problems = [
        generate_problem("arithmetic", seed, operations=1 + seed % 3, distractors=0, split="train")
        for seed in range(31)
    ]
    _, record = train_with_graphs(
        model,
        tokenizer,
        GraphDataset.of_problems(problems[:24], tokenizer),
        [WeightedTerm(graph_term("alignment", heads="all"), 0.7)],
        TrainingSettings(
            steps=5,
            batch_size=batch_size,
            accumulation=2,
            learning_rate=5e-3,
            cpu=True,
            log_every=1,
            evaluate_every=5,
            save_every=4,
        ),
        folder=Path(folder) / "run",
        validation=GraphDataset.of_problems(problems[24:], tokenizer),
        progress=False,
    )
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        described = {**record.as_dict(), "backend": None}
        if torch.distributed.is_initialized():
            described["backend"] = torch.distributed.get_backend()
            described["processes"] = torch.distributed.get_world_size()
        (Path(folder) / "record.json").write_text(json.dumps(described))


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]))
