"""Plain cross-entropy fine-tuning on written solutions: what every graph loss is compared with."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch.nn import functional
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from rg_helpers.pretraining_data import IGNORED, collate
from rg_helpers.problems import Problem
from rg_helpers.traces import check_positions, trace_from_text

Example = tuple[list[int], int]  # token ids, and the index of the first token of the solution


@dataclass(frozen=True)
class FineTuning:
    """Everything that determines a fine-tuning run, apart from the model and the problems.

    The learning rate rises over `warmup_share` of the steps and then falls linearly to zero.
    `longest` is the largest number of tokens an example may have (`None`: what the model takes).
    """

    steps: int = 200
    batch_size: int = 8
    learning_rate: float = 3e-4
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    gradient_clip: float = 1.0
    bf16: bool = False
    longest: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or not self.learning_rate > 0:
            raise ValueError(
                f"steps={self.steps}, batch_size={self.batch_size}, learning_rate="
                f"{self.learning_rate}: expected at least 1 step, 1 example a batch and a "
                "learning rate above 0"
            )
        if not 0 <= self.warmup_share < 1:
            raise ValueError(f"warmup_share={self.warmup_share}: expected a share from 0 to < 1")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step (0-based)."""
        warmup = int(self.warmup_share * self.steps)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        return self.learning_rate * (self.steps - step) / (self.steps - warmup)


@dataclass(frozen=True)
class FineTuningRecord:
    """What happened in a run: one entry a step in `losses`, `rates` and `solution_tokens`.

    `losses` are means over the solution tokens of the step's batch, in nats; `evaluations` are
    what the caller's `evaluate` returned, each with its "step" (the number of steps done).
    """

    settings: FineTuning
    losses: tuple[float, ...]
    rates: tuple[float, ...]
    solution_tokens: tuple[int, ...]
    evaluations: tuple[Mapping[str, Any], ...] = field(default=())
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


def solution_example(tokenizer: PreTrainedTokenizerFast, problem: Problem) -> Example:
    """Return BOS + prompt + solution + EOS as token ids, and where the solution starts.

    The ids are those of `traces.trace_from_text`, so that a model is trained on exactly the token
    sequence that its graphs are drawn from later.
    """
    trace = trace_from_text(
        tokenizer,
        problem.prompt,
        problem.solution,
        family=problem.family,
        separator=problem.separator,
    )
    return list(trace.token_ids), trace.prompt_tokens


def solution_loss(
    model: PreTrainedModel, tokens: torch.Tensor, labels: torch.Tensor, bf16: bool = False
) -> torch.Tensor:
    """Return the mean cross-entropy, in nats, of the labelled tokens given those before them.

    `tokens` and `labels` are (batch, tokens) int64, right-padded; a label of -100 leaves its token
    out. No attention mask is needed: padding stands right of every real token, where a causal
    model does not look. Returns a float32 scalar with a gradient; raises `ValueError` if nothing
    is labelled (the mean would be NaN).
    """
    targets = labels[:, 1:]
    if not (targets != IGNORED).any():
        raise ValueError(
            "no token of this batch is labelled, so there is nothing to learn from: give examples "
            "with a solution, and labels that are not all -100"
        )
    with torch.autocast(tokens.device.type, dtype=torch.bfloat16, enabled=bf16):
        logits = model(input_ids=tokens, use_cache=False).logits
    # Position t predicts token t + 1.
    return functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED
    )


def epoch_batches(
    lengths: Sequence[int], steps: int, batch_size: int, seed: int = 0
) -> Iterator[list[int]]:
    """Yield the example indices of every step's batch: epoch after epoch, each example once.

    Within groups of eight batches examples of similar length go together, which saves padding;
    the order of the batches stays random.
    """
    rng = random.Random(f"fine-tuning|{seed}")
    done = 0
    while done < steps:
        order = list(range(len(lengths)))
        rng.shuffle(order)
        group = 8 * batch_size
        batches = []
        for first in range(0, len(order), group):
            alike = sorted(order[first : first + group], key=lambda index: lengths[index])
            batches += [alike[i : i + batch_size] for i in range(0, len(alike), batch_size)]
        rng.shuffle(batches)
        for batch in batches[: steps - done]:
            yield batch
            done += 1


def fine_tune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    settings: FineTuning | None = None,
    *,
    evaluate: Callable[[PreTrainedModel, int], Mapping[str, Any]] | None = None,
    evaluate_every: int | None = None,
    in_place: bool = False,
    progress: bool = True,
) -> tuple[PreTrainedModel, FineTuningRecord]:
    """Fine-tune a copy of `model` on the problems' own solutions; return it with its record.

    The loss is `solution_loss`, the optimiser AdamW (Loshchilov and Hutter 2019, arXiv
    1711.05101) with weight decay on matrices only and clipped gradients. The given model is left
    as it was unless `in_place`; the global random state is left alone in any case. `evaluate`
    gets the model in evaluation mode and the number of steps done, before the first step, every
    `evaluate_every` steps, and after the last.

    Raises `ValueError` for no problems, problems outside the training split, or examples longer
    than `settings.longest` or the model's positions; `RuntimeError` when the loss is not finite.
    """
    settings = settings or FineTuning()
    examples = _examples(model, tokenizer, problems, settings)
    lengths = [len(ids) for ids, _ in examples]
    tuned = model if in_place else copy.deepcopy(model)
    was_training = tuned.training
    optimizer = _optimizer(tuned, settings)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    losses, counts, evaluations = [], [], []
    started = time.perf_counter()

    def look(step: int) -> None:
        if evaluate is not None:
            tuned.eval()
            evaluations.append({"step": step, **evaluate(tuned, step)})
            tuned.train()

    devices = [tuned.device] if tuned.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(settings.seed)  # dropout, in models that have it
        tuned.train()
        look(0)
        bar = tqdm(
            epoch_batches(lengths, settings.steps, settings.batch_size, settings.seed),
            total=settings.steps,
            desc="fine-tuning",
            disable=None if progress else True,
        )
        for step, batch in enumerate(bar):
            width = max(lengths[index] for index in batch)
            tokens, labels = collate([examples[index] for index in batch], width, pad)
            for group in optimizer.param_groups:
                group["lr"] = settings.rate(step)
            loss = solution_loss(
                tuned, tokens.to(tuned.device), labels.to(tuned.device), settings.bf16
            )
            losses.append(loss.item())
            if not losses[-1] < float("inf"):
                raise RuntimeError(
                    f"the loss is {losses[-1]} at step {step}: start again with a learning rate "
                    f"below {settings.learning_rate:g}"
                )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(tuned.parameters(), settings.gradient_clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            counts.append(int((labels != IGNORED).sum()))
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
            if evaluate_every and (step + 1) % evaluate_every == 0 and step + 1 < settings.steps:
                look(step + 1)
        look(settings.steps)
    tuned.train(was_training)
    record = FineTuningRecord(
        settings,
        tuple(losses),
        tuple(settings.rate(step) for step in range(settings.steps)),
        tuple(counts),
        tuple(evaluations),
        time.perf_counter() - started,
    )
    return tuned, record


def _examples(model, tokenizer, problems: Sequence[Problem], settings: FineTuning) -> list[Example]:
    if not problems:
        raise ValueError("there are no problems to learn from: give at least one training problem")
    outside = next((p for p in problems if p.split != "train"), None)
    if outside is not None:
        raise ValueError(
            f"problem {outside.problem_id} belongs to the {outside.split} split: training on it "
            'would spoil every later measurement; generate problems with split="train"'
        )
    examples = [solution_example(tokenizer, problem) for problem in problems]
    longest = max(range(len(examples)), key=lambda index: len(examples[index][0]))
    tokens = len(examples[longest][0])
    if settings.longest is not None and tokens > settings.longest:
        raise ValueError(
            f"problem {problems[longest].problem_id} takes {tokens} tokens, more than longest="
            f"{settings.longest}: leave it out, or raise `longest`"
        )
    check_positions(model, tokens, f"problem {problems[longest].problem_id} with its solution")
    return examples


def _optimizer(model: PreTrainedModel, settings: FineTuning) -> torch.optim.AdamW:
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas)
