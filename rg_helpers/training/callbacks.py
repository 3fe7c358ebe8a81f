"""What happens beside the steps of a run: a bar that moves, and the caller's own measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from tqdm.auto import tqdm
from transformers.trainer_callback import TrainerCallback

if TYPE_CHECKING:
    from rg_helpers.training.trainer import GraphAwareTrainer


class Progress(TrainerCallback):
    """One bar for the run, silent where nobody watches (no terminal, or not the first process)."""

    def __init__(self, shown: bool = True) -> None:
        self.shown = shown
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        quiet = not (self.shown and state.is_world_process_zero)
        self.bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc="graph-aware training",
            disable=True if quiet else None,
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        shown = {k: f"{logs[k]:.3f}" for k in ("loss", "ce", "eval_ce") if k in (logs or {})}
        if shown and self.bar is not None:
            self.bar.set_postfix(shown, refresh=False)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.close()


class Watch(TrainerCallback):
    """Calls `evaluate(model, steps done)` before, during and after a run, and logs what it returns.

    The model is in evaluation mode meanwhile, and training does not notice: random states come
    back. What was measured before a kill stands in the checkpoint's log and is not measured again.
    """

    def __init__(
        self,
        trainer: GraphAwareTrainer,
        evaluate: Callable[[nn.Module, int], Mapping[str, Any]],
        every: int | None = None,
    ) -> None:
        self.trainer, self.evaluate, self.every = trainer, evaluate, every

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            self._look(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step = state.global_step
        if self.every and step % self.every == 0 and step < state.max_steps:
            self._look(step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        best = state.best_global_step if args.load_best_model_at_end else None
        self._look(best or state.global_step)

    def _look(self, step: int) -> None:
        model = self.trainer.model
        was_training = model.training
        devices = range(torch.cuda.device_count())
        with torch.random.fork_rng(devices=devices):
            model.eval()
            try:
                found = dict(self.evaluate(model, step))
            finally:
                model.train(was_training)
        self.trainer.state.log_history.append({"evaluated": found, "step": step})
