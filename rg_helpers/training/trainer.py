"""`GraphAwareTrainer`: cross-entropy plus graph terms on the attention of the same forward pass."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, TrainingArguments
from transformers.trainer_callback import TrainerCallback

from rg_helpers.graph_loss import GraphBatch
from rg_helpers.graph_loss.koleo import load_buffer, save_buffer
from rg_helpers.pretraining_data import IGNORED
from rg_helpers.step_attention import StepAttentionTap, tap_step_attention
from rg_helpers.step_attention.tap import layer_count, served_model
from rg_helpers.training.buffers import koleo_buffers, move_choices, pushed
from rg_helpers.training.checkpoint_trainer import WholeCheckpointTrainer
from rg_helpers.training.data import GraphCollator, GraphDataset
from rg_helpers.training.guard import GradientGuard, check_loss, check_run, check_tapped
from rg_helpers.training.identity import run_identity
from rg_helpers.training.loss import (
    WeightedTerm,
    spread_layers,
    tapped_layers,
    token_loss,
    trace_losses,
)
from rg_helpers.training.order import EpochOrder

LARGEST_LOSS = 1e4  # nats; above it a loss is taken for exploded


class GraphAwareTrainer(WholeCheckpointTrainer):
    """A transformers Trainer whose loss adds graph terms to the cross-entropy of the solution.

        loss = (sum over solution tokens of -log p) / tokens
               + sum over terms of weight * (sum over traces of the term) / traces

    Tokens and traces are counted over the whole optimiser step, all accumulated batches and all
    processes together, so that neither accumulation nor the number of processes changes the loss.
    The terms see the live step attention of the very forward pass that the cross-entropy comes
    from; where no term has a weight above 0, nothing is tapped, and losses and weights equal those
    of a plain Trainer bit for bit.

    Works with full fine-tuning and LoRA (`add_lora`), bf16, gradient checkpointing (non-reentrant,
    the default of transformers), and several processes through `accelerate launch` or `torchrun`.
    With FSDP, which no test here covers, wrap whole decoder layers
    (`transformer_layer_cls_to_wrap`). DataParallel and torch.compile hide the attention and are
    refused where there are terms.

    terms: `WeightedTerm`s; their values are logged under their names beside "ce", their weights
        under "weight_<name>"; evaluations report "eval_ce" and "eval_<name>", averaged over the
        tokens and traces of the whole data set, and terms of weight 0 too.
    largest: a cross-entropy or a weighted term above this stops the run, naming the batch.

    Raises `ValueError` on construction for a model whose attention cannot be tapped, a term that
    needs graphs where the data have none, and traces that the model cannot take; `RuntimeError`
    naming step and traces for a loss or gradient that is not finite or has exploded, before
    anything is updated or saved.
    """

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments,
        train_dataset: GraphDataset,
        *,
        terms: Sequence[WeightedTerm] = (),
        eval_dataset: GraphDataset | dict[str, GraphDataset] | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        largest: float = LARGEST_LOSS,
        callbacks: Sequence[TrainerCallback] = (),
        **options: Any,
    ) -> None:
        self.terms = tuple(terms)
        self.largest = largest
        evaluated = eval_dataset.values() if isinstance(eval_dataset, dict) else [eval_dataset]
        check_run(model, args, self.terms, train_dataset, [d for d in evaluated if d is not None])
        args = copy.copy(args)
        args.remove_unused_columns = False  # graphs are no argument of the model's forward pass
        pad = getattr(processing_class, "pad_token_id", None)
        options.setdefault(
            "data_collator",
            GraphCollator(0 if pad is None else pad, weighted=train_dataset.is_weighted),
        )
        super().__init__(
            model,
            args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            callbacks=[GradientGuard(self), *callbacks],
            **options,
        )
        self.model_accepts_loss_kwargs = True  # counts the step's tokens; the loss divides by them
        self.step_traces: tuple[str, ...] = ()
        self._layers = layer_count(served_model(model)) if self.terms else 0
        self._buffers = koleo_buffers(self.terms)
        move_choices(self.terms, self.args.device)
        self._tap: StepAttentionTap | None = None
        self._step_count: Tensor | None = None
        self._stepping = False
        self._parts: dict[str, Tensor] = {}
        self._part_steps: dict[str, list[int]] = {}
        self._evaluated: list[Tensor] | None = None
        self._evaluated_rows: Tensor | None = None
        if self.terms and not self._is_sharded():
            self._probe()

    def identity(self) -> dict[str, Any]:
        return run_identity(
            self.model, self.args, self.terms, self.train_dataset.fingerprint(), self._step_size()
        )

    def save_more(self, folder: Path) -> None:
        for name, buffer in self._buffers.items():
            save_buffer(folder / f"{name}_{self.args.process_index}.safetensors", buffer)

    def load_more(self, folder: Path) -> None:
        for name in self._buffers:
            file = folder / f"{name}_{self.args.process_index}.safetensors"
            self._buffers[name] = load_buffer(file)

    # ---- one step -----------------------------------------------------------------------------

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        # Backward runs in here too: gradient checkpointing needs the tap once more.
        self._stepping = True
        try:
            with self._tapping(model, inputs, self._active()):
                return super().training_step(model, inputs, num_items_in_batch)
        finally:
            self._stepping = False

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """Return the loss of one batch as `GraphCollator` makes it; see the class for the formula.

        num_items_in_batch: labelled tokens of the whole optimiser step; None = of this batch.
        """
        terms = self._active()
        if terms and self._tap is None:
            with self._tapping(model, inputs, terms):
                return self.compute_loss(model, inputs, return_outputs, num_items_in_batch)
        outputs = model(input_ids=inputs["input_ids"], use_cache=False)
        labels, graph = inputs["labels"], inputs["graph"].to(inputs["labels"].device)
        weights = inputs.get("weights") if self._evaluated is None else None
        tokens = num_items_in_batch
        if tokens is None:
            tokens = (labels[:, 1:] != IGNORED).sum()
        parts = {"ce": token_loss(outputs.logits, labels, weights) / tokens}
        try:
            values = self._term_values(terms, graph)
        except ValueError as error:  # names the traces
            raise RuntimeError(
                f"step {self.state.global_step}: {error}; saved checkpoints are older and sound"
            ) from error
        traces = self._step_count if self._stepping and self._step_count is not None else len(graph)
        for term in terms:
            value = values[term.name]
            parts[term.name] = (value if weights is None else value * weights).sum() / traces
        step = self.state.global_step
        strengths = {term.name: term.weight_at(step) for term in terms}
        check_loss(parts, strengths, outputs.logits, labels, graph, step, self.largest)
        loss = parts["ce"]
        for name, strength in strengths.items():
            if strength:
                loss = loss + strength * parts[name]
        if self._evaluated is not None:
            columns = [trace_losses(outputs.logits, labels), (labels[:, 1:] != IGNORED).sum(1)]
            columns += [values[term.name] for term in self.terms]
            self._evaluated_rows = torch.stack([column.float() for column in columns], 1)
        elif self._stepping:
            self._note(parts)
            if self.args.average_tokens_across_devices:
                # Gradients are averaged over processes, but the counts already cover all of them.
                loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, Any]:
        samples, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.step_traces = tuple(name for s in samples for name in s["graph"].trace_ids)
        count = torch.tensor(float(len(self.step_traces)), device=device)
        if self.args.average_tokens_across_devices and self.args.world_size > 1:
            count = self.accelerator.gather(count).sum()
        self._step_count = count
        return samples, items

    def _active(self) -> list[WeightedTerm]:
        if self._evaluated is not None:
            return list(self.terms)
        return [term for term in self.terms if term.weight_at(self.state.global_step) > 0]

    @contextlib.contextmanager
    def _tapping(
        self, model: nn.Module, inputs: dict[str, Any], terms: Sequence[WeightedTerm]
    ) -> Iterator[None]:
        if not terms or self._tap is not None:
            yield
            return
        layers = tapped_layers(terms, self._layers)
        ids, nodes = inputs["node_ids"], inputs["graph"].nodes
        with tap_step_attention(model, ids, nodes, layers) as tap:
            self._tap = tap
            try:
                yield
            finally:
                self._tap = None

    def _term_values(self, terms: Sequence[WeightedTerm], graph: GraphBatch) -> dict[str, Tensor]:
        """Return every term's loss per trace, float32 (batch,)."""
        if not terms:
            return {}
        attention = spread_layers(self._tap.by_layer, self._layers)
        values = {}
        for term in terms:
            buffer = self._buffers.get(term.name)
            if buffer is None:
                values[term.name] = term.term(attention, graph)
                continue
            # Only training reads and fills the buffer: validation must not see what came before.
            seen = buffer if self._stepping else None
            values[term.name] = term.term(attention, graph, buffer=seen)
            if self._stepping:
                self._buffers[term.name] = pushed(buffer, term, attention, graph)
        return values

    def _probe(self) -> None:
        """Run the shortest two traces with every term once, before anything is trained."""
        shortest = sorted(self.train_dataset, key=len)[:2]
        batch = self._prepare_inputs(self.data_collator(shortest))
        devices = [self.args.device] if self.args.device.type == "cuda" else []
        was_training = self.model.training
        with torch.random.fork_rng(devices=devices):
            self.model.train()
            try:
                with self._tapping(self.model, batch, self.terms):
                    self.model(input_ids=batch["input_ids"], use_cache=False)
                    check_tapped(self.model, self._tap.by_layer, self.terms, self._layers)
                    values = self._term_values(self.terms, batch["graph"].to(self.args.device))
            finally:
                self.model.train(was_training)
        for name, value in values.items():
            if value.shape != (len(shortest),) or not value.requires_grad:
                raise ValueError(
                    f"the graph term {name} gave shape {tuple(value.shape)} "
                    f"{'with' if value.requires_grad else 'without'} a gradient: expected one loss "
                    "for each trace, computed from the attention with torch operations; and some "
                    "weight that the attention depends on must be trained"
                )

    # ---- logs and evaluation ------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs.update(self._drained())
        super().log(logs, start_time)

    def _note(self, parts: dict[str, Tensor]) -> None:
        for name, value in parts.items():
            value = value.detach()
            self._parts[name] = self._parts[name] + value if name in self._parts else value
            steps = self._part_steps.setdefault(name, [])
            if steps[-1:] != [self.state.global_step]:
                steps.append(self.state.global_step)

    def _drained(self) -> dict[str, float]:
        """Return each part's mean over the steps since the last log in which it was active."""
        if not self._parts:
            return {}
        names = sorted(self._parts)
        sums = torch.stack([self._parts[name].float() for name in names])
        sums = self.accelerator.reduce(sums, reduction="sum")
        if not self.args.average_tokens_across_devices:
            sums = sums / self.accelerator.num_processes
        means = {
            name: total / len(self._part_steps[name])
            for name, total in zip(names, sums.tolist(), strict=True)
        }
        last = {name: steps[-1] for name, steps in self._part_steps.items()}
        for term in self.terms:
            if term.name in means:
                means[f"weight_{term.name}"] = term.weight_at(last[term.name])
        self._parts, self._part_steps = {}, {}
        return means

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        if self._evaluated is None:  # called by hand, outside of `evaluate`
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        result = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        rows = self._evaluated_rows
        if self.accelerator.num_processes > 1:
            rows = self.accelerator.gather_for_metrics(rows)
        self._evaluated.append(rows.cpu())
        return result

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any):
        self._evaluated = []
        try:
            output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
            rows = torch.cat(self._evaluated).double()
        finally:
            self._evaluated, self._evaluated_rows = None, None
        metrics = {"ce": float(rows[:, 0].sum() / rows[:, 1].sum())}
        metrics["loss"] = metrics["ce"]
        for place, term in enumerate(self.terms, start=2):
            metrics[term.name] = float(rows[:, place].mean())
            metrics["loss"] += term.weight_at(self.state.global_step) * metrics[term.name]
        output.metrics.update({f"{metric_key_prefix}_{k}": v for k, v in metrics.items()})
        return output

    # ---- data ---------------------------------------------------------------------------------

    def _step_size(self) -> int:
        """Return the examples of one optimiser step, over all processes."""
        parts = self.args.gradient_accumulation_steps * self.args.world_size
        return self.args.train_batch_size * parts

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler | None:
        train_dataset = self.train_dataset if train_dataset is None else train_dataset
        if getattr(self.args, "train_sampling_strategy", "random") != "random":
            return super()._get_train_sampler(train_dataset)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return EpochOrder(train_dataset.lengths, self._step_size(), seed)
