"""The recipe of the course model: cross-entropy alone, so that its graphs are natural."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn import functional
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from rg_helpers.artefacts import atomic_path, provenance, read_json, write_json
from rg_helpers.language_model import new_course_model, save_model
from rg_helpers.pretraining_data import (
    IGNORED,
    Curriculum,
    copying_example,
    training_batches,
)
from rg_helpers.tokenizer import build_tokenizer


@dataclass(frozen=True)
class TrainingRecipe:
    """Optimizer, schedule and shape of a model that first learns to copy, then reads texts.

    `steps` come after `copy_steps`; batches hold about so many tokens. The learning rate rises over
    `warmup_steps` and falls to zero over the last `decay_share` of the steps.
    """

    steps: int = 8000
    copy_steps: int = 1200
    copy_batch_tokens: int = 3072
    batch_tokens: int = 4096
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    decay_share: float = 0.3
    weight_decay: float = 0.05
    gradient_clip: float = 1.0
    seed: int = 0
    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    intermediate_size: int = 384

    def new_model(self, tokenizer: PreTrainedTokenizerFast | None = None) -> PreTrainedModel:
        """Return the untrained model, with seeded weights (default: the course's tokenizer)."""
        return new_course_model(
            self.seed,
            tokenizer=tokenizer,
            hidden_size=self.hidden_size,
            layers=self.layers,
            heads=self.heads,
            intermediate_size=self.intermediate_size,
        )


@dataclass(frozen=True)
class PretrainingRecipe(TrainingRecipe):
    """Everything that determines the course model; written beside its weights."""

    curriculum: Curriculum = field(default_factory=Curriculum)


RECIPES: dict[str, PretrainingRecipe] = {
    "smoke": PretrainingRecipe(
        steps=24,
        copy_steps=8,
        copy_batch_tokens=512,
        batch_tokens=1024,
        warmup_steps=4,
        hidden_size=32,
        layers=2,
        heads=2,
        intermediate_size=64,
        curriculum=Curriculum(operations=3),
    ),
    "cpu": PretrainingRecipe(),
    "gpu": PretrainingRecipe(steps=24_000, batch_tokens=32_768),
}


LOG_EVERY = 25  # steps


def learning_rate_at(recipe: TrainingRecipe, step: int) -> float:
    """Return the learning rate of a step: linear warm-up, constant, then linear decay to zero."""
    decay_steps = max(1, int(recipe.decay_share * recipe.steps))
    rise = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    fall = min(1.0, (recipe.steps - step) / decay_steps)
    return recipe.learning_rate * rise * fall


def pretrain(
    recipe: PretrainingRecipe,
    folder: str | Path,
    device: str = "cpu",
    compile_model: bool = True,
    save_every: int = 250,
    evaluate: Callable[[PreTrainedModel, int], dict[str, float]] | None = None,
    evaluate_every: int = 750,
    profile: str | None = None,
) -> Path:
    """Train the course model into `folder`, resuming what an interrupted run left there.

    Raises what `train_model` raises.
    """
    tokenizer = build_tokenizer()
    model = recipe.new_model().to(device)
    return train_model(
        recipe,
        model,
        tokenizer,
        lambda first: _all_batches(recipe, tokenizer, first),
        folder,
        compile_model=compile_model,
        save_every=save_every,
        evaluate=evaluate,
        evaluate_every=evaluate_every,
        about={
            "loss": "cross-entropy on the solution tokens alone",
            "provenance": provenance("rgh pretrain", recipe.seed, profile),
        },
    )


def train_model(
    recipe: TrainingRecipe,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    batches: Callable[[int], Iterator[tuple[torch.Tensor, torch.Tensor]]],
    folder: str | Path,
    *,
    compile_model: bool = True,
    save_every: int = 250,
    evaluate: Callable[[PreTrainedModel, int], dict[str, float]] | None = None,
    evaluate_every: int = 750,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Train any model by the recipe's optimizer and schedule; an interrupted run is resumed.

    `batches(first)` yields the (tokens, labels) of every step from `first` on, both (batch, width)
    int64. The run's state (weights and AdamW moments as safetensors, the step, the log) lies in
    `folder/state` and takes its place atomically; the finished model is a plain Hugging Face
    folder with `record.json`, which holds `about` too, beside the weights. Raises `ValueError` when
    the folder holds the state of another recipe and `RuntimeError` when the loss is no longer
    finite.
    """
    folder = Path(folder)
    device = model.device
    optimizer = _new_optimizer(recipe, model)
    state = _resume(folder / "state", recipe, model, optimizer)
    loss_of = _loss
    if compile_model:
        loss_of = torch.compile(_loss, dynamic=False)
        torch._dynamo.config.recompile_limit = 64  # one graph for each shape of batch

    total = recipe.copy_steps + recipe.steps
    bar = tqdm(total=total, initial=state["step"], desc="pretraining", disable=None)
    started = time.perf_counter() - state["seconds"]
    model.train()
    for tokens, labels in batches(state["step"]):
        step = state["step"]
        for group in optimizer.param_groups:
            group["lr"] = _rate_of_run(recipe, step)
        loss = loss_of(model, tokens.to(device), labels.to(device))
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state["step"] = step + 1
        state["tokens"] += int((tokens != tokenizer.pad_token_id).sum())
        state["seconds"] = time.perf_counter() - started
        bar.update()
        is_logged = step % LOG_EVERY == 0 or step + 1 == total
        is_saved = (step + 1) % save_every == 0 or step + 1 == total
        if is_logged or is_saved:
            value = _finite(loss, norm, recipe, step)
            bar.set_postfix(loss=f"{value:.3f}")
        if is_logged:
            entry = {"step": step, "loss": round(value, 4), "seconds": round(state["seconds"], 1)}
            state["log"].append(entry)
        if evaluate and step > recipe.copy_steps and (step + 1) % evaluate_every == 0:
            model.eval()
            state["log"].append({"step": step, **evaluate(model, step)})
            model.train()
            tqdm.write(json.dumps(state["log"][-1]))
        if is_saved:
            _save_state(folder / "state", recipe, model, optimizer, state)
    bar.close()
    save_model(folder, model.eval(), tokenizer)
    record = {
        "recipe": asdict(recipe),
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens": state["tokens"],
        "seconds": round(state["seconds"], 1),
        "log": state["log"],
        **(about or {}),
    }
    write_json(folder / "record.json", record)
    return folder


def _new_optimizer(recipe: TrainingRecipe, model: PreTrainedModel) -> torch.optim.AdamW:
    """AdamW whose weight decay pulls on matrices only; norms and their scales are left alone."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95), fused=True)


def _rate_of_run(recipe: TrainingRecipe, step: int) -> float:
    """The learning rate of a step counted over both phases; the copy phase has its own warm-up."""
    if step < recipe.copy_steps:
        return recipe.learning_rate * min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    return learning_rate_at(recipe, step - recipe.copy_steps)


def _finite(loss: torch.Tensor, norm: torch.Tensor, recipe: TrainingRecipe, step: int) -> float:
    """Return the loss; raise `RuntimeError` before a broken model overwrites a sound state."""
    value, norm_value = loss.item(), norm.item()
    if not (math.isfinite(value) and math.isfinite(norm_value)):
        raise RuntimeError(
            f"the loss is {value} at step {step} (gradient norm {norm_value}): the saved state is "
            f"older and sound; lower the learning rate ({recipe.learning_rate}) in the recipe and "
            "start again in another folder, or resume it to see whether it happens again"
        )
    return value


def _loss(model: PreTrainedModel, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    with torch.autocast(tokens.device.type, dtype=torch.bfloat16):
        logits = model(input_ids=tokens, use_cache=False).logits
    return functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORED
    )


def _all_batches(
    recipe: PretrainingRecipe, tokenizer: PreTrainedTokenizerFast, first: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    yield from training_batches(
        tokenizer,
        recipe.curriculum,
        recipe.copy_steps,
        recipe.copy_batch_tokens,
        recipe.seed,
        first,
        example=copying_example,
    )
    yield from training_batches(
        tokenizer,
        recipe.curriculum,
        recipe.steps,
        recipe.batch_tokens,
        recipe.seed,
        max(0, first - recipe.copy_steps),
    )


def _save_state(
    folder: Path,
    recipe: TrainingRecipe,
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
) -> None:
    names = {id(p): name for name, p in model.named_parameters()}
    tensors = {f"weights/{name}": p.detach() for name, p in model.named_parameters()}
    for parameter, moments in optimizer.state.items():
        for key, value in moments.items():
            tensors[f"{key}/{names[id(parameter)]}"] = torch.as_tensor(value)
    # The step is part of the file name, so weights and counters can never be of two steps.
    tensor_file = f"step_{state['step']:07d}.safetensors"
    with atomic_path(folder / tensor_file) as partial:
        save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, partial)
    write_json(folder / "state.json", {"recipe": asdict(recipe), "file": tensor_file, **state})
    for old in folder.glob("step_*.safetensors"):
        if old.name != tensor_file:
            old.unlink()


def _resume(
    folder: Path,
    recipe: TrainingRecipe,
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
) -> dict[str, Any]:
    """Load what an earlier run saved into model and optimizer; return its counters and log."""
    fresh = {"step": 0, "tokens": 0, "seconds": 0.0, "log": []}
    if not (folder / "state.json").is_file():
        return fresh
    saved = read_json(folder / "state.json")
    if not {"recipe", "file", *fresh} <= saved.keys():
        raise ValueError(f"{folder}/state.json is incomplete: delete {folder} to start again")
    if saved["recipe"] != json.loads(json.dumps(asdict(recipe))):
        raise ValueError(
            f"{folder} holds a run with another recipe: choose another output folder, or delete "
            "that one to start again"
        )
    try:
        tensors = load_file(folder / saved["file"])
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{folder / saved['file']} cannot be read ({error}): delete {folder} to start again"
        ) from error
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            parameter.copy_(tensors[f"weights/{name}"])
        moments = ("step", "exp_avg", "exp_avg_sq")
        optimizer.state[parameter] = {
            key: tensors[f"{key}/{name}"].to(parameter.device if key != "step" else "cpu")
            for key in moments
        }
    return {key: saved[key] for key in fresh}
