"""One function for a whole run: train, resume, stop early, export, and say what happened."""

from __future__ import annotations

import contextlib
import copy
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast, PrinterCallback
from transformers.trainer_callback import EarlyStoppingCallback, TrainerCallback

from rg_helpers.artefacts import provenance, read_json
from rg_helpers.language_model import load_model
from rg_helpers.training.callbacks import Progress, Watch
from rg_helpers.training.data import GraphDataset
from rg_helpers.training.export import RECORD, export_model
from rg_helpers.training.folders import quiet_bars
from rg_helpers.training.identity import check_same_run
from rg_helpers.training.loss import WeightedTerm
from rg_helpers.training.settings import TrainingSettings
from rg_helpers.training.trainer import GraphAwareTrainer

MODEL = "model"  # folder of the exported model within the folder of a run


@dataclass(frozen=True)
class TrainingRecord:
    """What happened in a run.

    run: model, data, terms and settings in the form that tells runs apart. log: one mapping for
    every `log_every` steps with "step", "loss", "ce", every active term and its weight.
    validations: one for each evaluation of validation data, "step" and "eval_..."; evaluations:
    what the caller's `evaluate` returned, with "step". steps: done. best_step: of the model that
    was gone back to, None without `patience`. seconds: of training, evaluations and interrupted
    parts included.
    """

    settings: Mapping[str, Any]
    run: Mapping[str, Any]
    log: tuple[Mapping[str, Any], ...]
    validations: tuple[Mapping[str, Any], ...]
    evaluations: tuple[Mapping[str, Any], ...]
    steps: int
    stopped_early: bool
    best_step: int | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)

    @staticmethod
    def of(fields: Mapping[str, Any]) -> TrainingRecord:
        """Return the record that `as_dict` described; other keys are left out."""
        known = {name: fields[name] for name in TrainingRecord.__dataclass_fields__}
        for name in ("log", "validations", "evaluations"):
            known[name] = tuple(known[name])
        return TrainingRecord(**known)


def train_with_graphs(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerFast,
    data: GraphDataset,
    terms: Sequence[WeightedTerm] = (),
    settings: TrainingSettings | None = None,
    *,
    folder: str | Path | None = None,
    validation: GraphDataset | None = None,
    evaluate: Callable[[nn.Module, int], Mapping[str, Any]] | None = None,
    look_every: int | None = None,
    in_place: bool = False,
    progress: bool = True,
) -> tuple[nn.Module, TrainingRecord]:
    """Train a copy of the model on cross-entropy plus graph terms; return it with its record.

    folder: where checkpoints and, at the end, `model/` (a plain Hugging Face folder with
        `record.json`) are written. A run that was killed goes on from its newest checkpoint with
        the losses it would have had; a run that was finished is read back. None: nothing is kept.
    validation: data that `settings.evaluate_every` and `settings.patience` look at.
    evaluate: gets the model in evaluation mode and the number of steps done, before the first step,
        every `look_every` steps and after the last.
    in_place: train the given model (LoRA matrices of `add_lora` included) instead of a copy.

    The global random states are left alone. Raises as `GraphAwareTrainer` does, and `ValueError`
    for a folder that holds another run.
    """
    settings = settings or TrainingSettings()
    tuned = model if in_place else copy.deepcopy(model)
    with contextlib.ExitStack() as stack:
        stack.enter_context(own_random_states())
        stack.enter_context(former_state(tuned))
        if folder is None:
            if settings.patience is not None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
                raise ValueError("several processes need one folder to keep the best model in")
            kept, output = False, Path(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            kept, output = True, Path(folder)
        trainer = GraphAwareTrainer(
            tuned,
            settings.arguments(output, validated=validation is not None),
            data,
            terms=terms,
            eval_dataset=validation,
            processing_class=tokenizer,
            callbacks=_callbacks(settings, progress),
        )
        trainer.remove_callback(PrinterCallback)
        if trainer._is_sharded():
            raise ValueError(
                "sharded weights (FSDP, DeepSpeed) cannot be exported from here: use "
                "GraphAwareTrainer itself, and trainer.save_model with full state dicts"
            )
        finished = output / MODEL / RECORD
        if finished.is_file():
            return _read_back(finished, trainer, tuned)
        if kept and (output / MODEL).exists():
            raise ValueError(
                f"{output / MODEL} exists and holds no {RECORD} of a finished run: choose another "
                "folder, or move that one away"
            )
        if evaluate is not None:
            trainer.add_callback(Watch(trainer, evaluate, look_every))
        trainer.train(resume_from_checkpoint=True)
        record = _record(trainer, settings)
        trainer.accelerator.wait_for_everyone()  # the others may still read the best checkpoint
        if kept and trainer.is_world_process_zero():
            described = {
                **record.as_dict(),
                "provenance": provenance("rg_helpers.training.train_with_graphs", settings.seed),
            }
            export_model(output / MODEL, tuned, tokenizer, described)
            _drop_checkpoints(output)
        trainer.accelerator.wait_for_everyone()
        return tuned, record


def _callbacks(settings: TrainingSettings, progress: bool) -> list[TrainerCallback]:
    callbacks: list[TrainerCallback] = [Progress(progress)]
    if settings.patience is not None:
        callbacks.append(EarlyStoppingCallback(settings.patience))
    return callbacks


def _record(trainer: GraphAwareTrainer, settings: TrainingSettings) -> TrainingRecord:
    history = trainer.state.log_history
    best = trainer.state.best_global_step if settings.patience is not None else None
    return TrainingRecord(
        settings.as_dict(),
        trainer.identity(),
        tuple(row for row in history if "loss" in row),
        tuple(row for row in history if "eval_ce" in row),
        tuple({"step": row["step"], **row["evaluated"]} for row in history if "evaluated" in row),
        trainer.state.global_step,
        trainer.state.global_step < settings.steps,
        best,
        trainer.seconds(),
    )


def _read_back(
    file: Path, trainer: GraphAwareTrainer, model: nn.Module
) -> tuple[nn.Module, TrainingRecord]:
    """Return a run that was finished before: its exported model and its record."""
    fields = read_json(file)
    check_same_run(fields["run"], trainer.identity(), file.parent)
    if trainer.is_world_process_zero():
        _drop_checkpoints(file.parent.parent)
    parameter = next(model.parameters())
    with quiet_bars():
        trained, _ = load_model(file.parent, dtype=parameter.dtype, device=parameter.device)
    return trained, TrainingRecord.of(fields)


def _drop_checkpoints(folder: Path) -> None:
    """Delete what a finished run no longer needs: its model has been exported."""
    for old in folder.glob("checkpoint-*"):
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def own_random_states() -> Iterator[None]:
    """Give the block random numbers of its own: Python's, NumPy's and torch's states come back."""
    python, numbers = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numbers)


@contextlib.contextmanager
def former_state(model: nn.Module) -> Iterator[None]:
    """Put back what a Trainer changes about a model beside its weights: mode and cache setting."""
    was_training = model.training
    use_cache = getattr(model.config, "use_cache", None)
    try:
        yield
    finally:
        model.train(was_training)
        if use_cache is not None:
            model.config.use_cache = use_cache
