"""`TrainingSettings`: what determines a run apart from model, data and terms, in a few words."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

# Newer transformers have a new name for it, and warn about the old one.
_CHECKPOINTING = (
    "activation_checkpointing"
    if any(f.name == "activation_checkpointing" for f in fields(TrainingArguments))
    else "gradient_checkpointing"
)


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a graph-aware run; `arguments` turns them into transformers' own.

    steps: optimiser steps. batch_size: traces a process sees at a time; `accumulation` of them make
    a step. The learning rate rises over `warmup_share` of the steps, then falls linearly to zero.
    recompute: gradient checkpointing, less memory for more time. cpu: stay on it although there is
    an accelerator, which otherwise the model is moved to. log_every, evaluate_every,
    save_every: in steps; None = never (evaluations) or only as `patience` needs (checkpoints).
    patience: stop when so many evaluations in a row were no better, and go back to the best.
    metric: what "better" (lower) is measured by: "ce", "loss" or the name of a term, on the
    validation data.
    """

    steps: int = 200
    batch_size: int = 8
    accumulation: int = 1
    learning_rate: float = 3e-4
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    gradient_clip: float = 1.0
    bf16: bool = False
    recompute: bool = False
    cpu: bool = False
    seed: int = 0
    log_every: int = 10
    evaluate_every: int | None = None
    save_every: int | None = None
    keep_checkpoints: int = 2
    patience: int | None = None
    metric: str = "ce"

    def __post_init__(self) -> None:
        counted = ("steps", "batch_size", "accumulation", "log_every", "keep_checkpoints")
        optional = ("evaluate_every", "save_every", "patience")
        for name in (*counted, *(n for n in optional if getattr(self, n) is not None)):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least 1")
        if not 0 < self.learning_rate < math.inf or not 0 <= self.warmup_share < 1:
            raise ValueError(
                f"learning_rate={self.learning_rate}, warmup_share={self.warmup_share}: expected a "
                "rate above 0 and a share from 0 to < 1"
            )
        if self.patience is not None:
            if self.evaluate_every is None:
                raise ValueError("patience counts evaluations: set evaluate_every as well")
            if self.save_every is not None and self.save_every % self.evaluate_every:
                raise ValueError(
                    f"save_every={self.save_every} is no multiple of evaluate_every="
                    f"{self.evaluate_every}: the best model could not be gone back to"
                )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return {**asdict(self), "betas": list(self.betas)}

    def arguments(self, folder: str | Path, validated: bool = False) -> TrainingArguments:
        """Return transformers' arguments for a run in `folder`; `validated`: there are such data.

        On a machine without an accelerator the CPU is used, with gloo between processes.
        """
        if self.patience is not None and not validated:
            raise ValueError("patience needs validation data: give a data set to evaluate on")
        evaluating = validated and self.evaluate_every is not None
        saving = self.save_every or (self.evaluate_every if self.patience is not None else None)
        accelerated = torch.cuda.is_available() or torch.backends.mps.is_available()
        return TrainingArguments(
            output_dir=str(folder),
            max_steps=self.steps,
            per_device_train_batch_size=self.batch_size,
            per_device_eval_batch_size=2 * self.batch_size,
            gradient_accumulation_steps=self.accumulation,
            learning_rate=self.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=int(self.warmup_share * self.steps),
            weight_decay=self.weight_decay,
            adam_beta1=self.betas[0],
            adam_beta2=self.betas[1],
            max_grad_norm=self.gradient_clip,
            bf16=self.bf16,
            seed=self.seed,
            use_cpu=self.cpu or not accelerated,
            logging_strategy="steps",
            logging_steps=self.log_every,
            logging_nan_inf_filter=False,  # a loss that is not finite stops the run instead
            eval_strategy="steps" if evaluating else "no",
            eval_steps=self.evaluate_every if evaluating else None,
            save_strategy="no" if saving is None else "steps",
            save_steps=saving or 500,
            save_total_limit=self.keep_checkpoints,
            load_best_model_at_end=self.patience is not None,
            metric_for_best_model=f"eval_{self.metric}" if self.patience is not None else None,
            greater_is_better=False if self.patience is not None else None,
            ddp_find_unused_parameters=False,
            dataloader_pin_memory=torch.cuda.is_available() and not self.cpu,
            report_to="none",
            disable_tqdm=True,
            **{_CHECKPOINTING: self.recompute},
            **{f"{_CHECKPOINTING}_kwargs": {"use_reentrant": False} if self.recompute else None},
        )
