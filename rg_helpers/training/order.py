"""The order in which examples are shown: fixed by seed and epoch, so that a run can resume."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

BATCHES_A_GROUP = 8  # among so many batches examples of similar length go together


class EpochOrder(Sampler[int]):
    """Every example once an epoch, batches of similar length, the batches in random order.

    lengths: tokens of every example. batch: examples of one optimiser step, over all processes and
    accumulated batches: however a step is cut into processes and parts, it sees the same examples.
    Those of a last batch that is not full stand at the end.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int = 0) -> None:
        if batch < 1:
            raise ValueError(f"batch={batch}: expected at least one example a step")
        self.lengths = list(lengths)
        self.batch = batch
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (0-based) whose order the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"graph-aware training|{self.seed}|{self.epoch}")
        order = list(range(len(self.lengths)))
        rng.shuffle(order)
        rest = order[len(order) - len(order) % self.batch :]
        group = BATCHES_A_GROUP * self.batch
        batches = []
        for first in range(0, len(order) - len(rest), group):
            alike = order[first : min(first + group, len(order) - len(rest))]
            alike.sort(key=lambda index: self.lengths[index])
            batches += [alike[i : i + self.batch] for i in range(0, len(alike), self.batch)]
        rng.shuffle(batches)
        for chosen in batches:
            rng.shuffle(chosen)  # else the first process would always get the shorter ones
            yield from chosen
        yield from rest
