"""A Trainer whose checkpoints are whole or absent, hold no pickle, and know their run."""

from __future__ import annotations

import shutil
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import TrainOutput

from rg_helpers.training.folders import partial_folder, publish, quiet_bars
from rg_helpers.training.identity import (
    checkpoint_of_this_run,
    checkpoints,
    write_identity,
)
from rg_helpers.training.state_files import (
    load_optimizer,
    load_random_state,
    save_optimizer,
    save_random_state,
)


class WholeCheckpointTrainer(Trainer):
    """Writes `checkpoint-<step>` folders that appear only when they are whole.

    transformers writes a checkpoint in place, so that a kill leaves half of one under the newest
    name, and resumes from it without asking which run it came from. Here a checkpoint is written
    under another name and renamed, holds safetensors and JSON, and is continued only by the run it
    belongs to (same model, data, terms and settings), with the same losses as if never interrupted.
    Sharded states (FSDP, DeepSpeed) keep the format of those libraries.
    """

    seconds_before = 0.0  # of training that an interrupted run had done
    _identity: dict[str, Any] | None = None
    _started = 0.0

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return what must agree for a checkpoint to be continued."""

    def train(
        self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any
    ) -> TrainOutput:
        """Train; `resume_from_checkpoint`: True = from the newest in the folder, if there is any.

        Raises `ValueError` before the first step where a folder holds checkpoints and is not to be
        resumed (they would be overwritten), and where a checkpoint is damaged or of another run.
        """
        newest = next(reversed(checkpoints(self.args.output_dir)), None)
        if not resume_from_checkpoint:
            if newest is not None and _saves(self.args):
                raise ValueError(
                    f"{self.args.output_dir} holds {newest.name} of an earlier run, which would be "
                    "overwritten: pass resume_from_checkpoint=True, or choose another folder"
                )
            chosen = None
        else:
            chosen = newest if resume_from_checkpoint is True else resume_from_checkpoint
        self._identity = self.identity()
        if chosen is not None:
            kept = checkpoint_of_this_run(chosen, self._identity)
            self.seconds_before = float(kept.get("seconds", 0.0))
            self.load_more(Path(chosen))
        self._started = time.perf_counter()
        output = super().train(None if chosen is None else str(chosen), *args, **kwargs)
        self.seconds_before = self.seconds()
        self._started = 0.0
        return output

    def save_more(self, folder: Path) -> None:
        """Write what else this process must remember into a checkpoint; nothing by default."""

    def load_more(self, folder: Path) -> None:
        """Read what `save_more` wrote."""

    def seconds(self) -> float:
        """Return the seconds of training so far, interrupted parts included."""
        running = time.perf_counter() - self._started if self._started else 0.0
        return self.seconds_before + running

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self.store_flos()
        folder = Path(self._get_output_dir(trial=trial))
        target = folder / f"checkpoint-{self.state.global_step}"
        partial = partial_folder(target)
        if self.args.should_save:
            shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
        self.accelerator.wait_for_everyone()
        try:
            self.save_model(str(partial), _internal_call=True)
            partial.mkdir(parents=True, exist_ok=True)
            if not self.args.save_only_model:
                self._save_optimizer_and_scheduler(str(partial))
                self._save_scaler(str(partial))
                self._save_rng_state(str(partial))
                self.save_more(partial)
            self.accelerator.wait_for_everyone()
            self._note_best(folder)
            if self.args.should_save:
                self._note_callbacks()
                self.state.save_to_json(str(partial / TRAINER_STATE_NAME))
                write_identity(partial, self._identity or self.identity(), seconds=self.seconds())
                publish(partial, target)
                self._drop_old_checkpoints(folder)
        except (OSError, SafetensorError) as error:
            raise OSError(
                getattr(error, "errno", None),
                f"could not write {target} ({error}): free some disk space, then "
                "train again with resume_from_checkpoint=True; earlier checkpoints are untouched",
            ) from error
        finally:
            if self.args.should_save:
                shutil.rmtree(partial, ignore_errors=True)
        self.accelerator.wait_for_everyone()

    def _note_best(self, folder: Path) -> None:
        if self.state.best_global_step:
            best = folder / f"checkpoint-{self.state.best_global_step}"
            if self.state.best_global_step == self.state.global_step or best.is_dir():
                self.state.best_model_checkpoint = str(best)

    def _note_callbacks(self) -> None:
        for callback in [*self.callback_handler.callbacks, self.control]:
            if isinstance(callback, ExportableState):
                self.state.stateful_callbacks[type(callback).__name__] = callback.state()

    def _drop_old_checkpoints(self, folder: Path) -> None:
        limit = self.args.save_total_limit
        if limit is None or limit < 1:
            return
        numbered = checkpoints(folder)
        best = self.state.best_model_checkpoint
        for old in numbered[: len(numbered) - limit]:
            if best is None or old.resolve() != Path(best).resolve():
                shutil.rmtree(old, ignore_errors=True)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        with quiet_bars():
            super()._save(output_dir, state_dict)
        # A pickle of what record.json says in the open.
        (Path(output_dir or self.args.output_dir) / TRAINING_ARGS_NAME).unlink(missing_ok=True)

    def _is_sharded(self) -> bool:
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self._is_sharded():
            super()._save_optimizer_and_scheduler(output_dir)
        elif self.args.should_save:
            schedule = self.lr_scheduler.state_dict()
            save_optimizer(Path(output_dir), self.optimizer.state_dict(), schedule)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        loaded = None if checkpoint is None else load_optimizer(Path(checkpoint))
        if loaded is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        self.optimizer.load_state_dict(loaded[0])
        self.lr_scheduler.load_state_dict(loaded[1])

    def _save_rng_state(self, output_dir: str) -> None:
        save_random_state(Path(output_dir), self.args.process_index)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_random_state(Path(checkpoint), self.args.process_index)


def _saves(arguments: Any) -> bool:
    return getattr(arguments.save_strategy, "value", arguments.save_strategy) != "no"
