"""Graph features that have a gradient: the dense ones of `features`, and soft forms of counts.

A feature that follows edges (a longest path, a dead end) needs a threshold, and a threshold has no
gradient. Features that add weights up have one, and they are the same numbers here as in
`features.dag_metrics`, where the names agree. Of the counts, "nothing uses this node" has a soft
form: if every later step drew one source by its weights, the chance that none drew this node.
All lie between 0 and 1 (entropies are divided by the largest possible): none drowns another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rg_helpers.graph_loss.graph_batch import LEAST_MASS, GraphBatch

SOFT_FEATURES = {
    "row_entropy_normalised": "mean entropy of a step's shares",
    "answer_entropy_normalised": "entropy of the answer's shares",
    "strongest_source_mean": "mean share of a step's strongest source",
    "look_back_relative": "mean distance from a step to its sources over the nodes before it",
    "unused_premise_chance": "mean chance that no step draws a premise",
    "dead_end_chance": "mean chance that nothing later draws a step",
    "mass_on_premises": "mean share on premises",
    "mass_on_question": "mean share on the question",
    "mass_on_steps": "mean share on earlier written nodes",
    "mass_on_previous": "mean share on the node just before",
    "received_entropy_normalised": "entropy of the support that nodes give to steps",
    "flow_from_premises": "chance that a walk back from the answer ends in a premise",
    "flow_step_mean": "mean chance that such a walk passes a step",
}
CERTAIN = 1 - 1e-6  # a share above this counts as this much, so that log(1 - share) is finite
LEAST_SHARE = 1e-30  # the same for log(share)


def soft_features(
    rows: Tensor, batch: GraphBatch, names: Sequence[str] = tuple(SOFT_FEATURES)
) -> Tensor:
    """Return the features `names`, in that order: (batch, chosen, features), each in [0, 1].

    rows: (batch, chosen, nodes, nodes) shares as from `eligible_rows`, float32 or float64. A trace
    without the nodes that a feature is about (no premise, no step) has the value 0, as in
    `features`; padding changes nothing. Only what is asked for is worked out, and once. Raises
    `ValueError` for an unknown name.
    """
    unknown = [name for name in names if name not in SOFT_FEATURES]
    if unknown or not names:
        raise ValueError(f"soft features {unknown or 'empty'}: use {', '.join(SOFT_FEATURES)}")
    parts = _Parts(rows, batch)
    return torch.stack([_FEATURES[name](parts) for name in names], dim=-1)


def written_logs(batch: GraphBatch) -> Tensor:
    """Return the logarithm of each trace's number of written nodes, at least one: (batch,)."""
    return torch.log(batch.of_kind("step", "answer").sum(1).clamp(min=1).float())


def normalised_entropy(rows: Tensor, batch: GraphBatch) -> Tensor:
    """Return -sum_j p_ij log p_ij over log(eligible sources of i): (batch, chosen, nodes).

    A node with fewer than two earlier nodes has nothing to decide and counts as 0 (as in
    `features`). rows: (batch, chosen, nodes, nodes).
    """
    return _over_largest(_entropy(rows), batch.eligible.sum(-1)[:, None])


def look_back(rows: Tensor) -> Tensor:
    """Return sum_j p_ij (i - j) / i, how far back each node looks: (batch, chosen, nodes).

    rows: (batch, chosen, nodes, nodes). 1 / i if all goes to the node just before, 1 if all goes to
    the first node of the trace; node 0 has the value 0.
    """
    place = torch.arange(rows.shape[-1], device=rows.device, dtype=rows.dtype)
    distance = (place[:, None] - place).clamp(min=0) / place.clamp(min=1)[:, None]
    return (rows * distance).sum(-1)


def unused_chance(drawn: Tensor) -> Tensor:
    """Return the chance that no step draws each node, product over i of (1 - p_ij).

    drawn: (batch, chosen, nodes, nodes), the rows of steps and answers, all others zero; returned
    (batch, chosen, nodes). A node that nothing can draw (the answer, padding) has the value 1; read
    premises and steps alone.
    """
    return torch.exp(torch.log1p(-drawn.clamp(max=CERTAIN)).sum(-2))


def answer_places(batch: GraphBatch) -> Tensor:
    """Return each trace's answer, its last node of kind answer, else its last node: (batch,)."""
    place = torch.arange(batch.nodes, device=batch.kinds.device)
    answers, last = batch.of_kind("answer"), batch.is_node.sum(1) - 1
    found = torch.where(answers, place, -1).amax(1)
    return torch.where(answers.any(1), found, last)


def answer_flow(drawn: Tensor, answer: Tensor) -> Tensor:
    """Return the chance that a walk back from the answer passes each node: (batch, chosen, nodes).

        f_answer = 1,   f_j = sum over written i of p_ij f_i

    solved as the triangular system (1 - P^T) f = e_answer, since text order is a topological order.
    drawn: (batch, chosen, nodes, nodes), the rows of steps and answers, all others zero; answer:
    (batch,), as from `answer_places`.
    """
    start = torch.nn.functional.one_hot(answer, drawn.shape[-1]).to(drawn.dtype)
    start = start[:, None, :, None].expand(*drawn.shape[:3], 1)
    # The diagonal is taken as one, and above it stand the chances to come from a later node.
    return torch.linalg.solve_triangular(
        -drawn.transpose(-1, -2), start, upper=True, unitriangular=True
    )[..., 0]


@dataclass(frozen=True, eq=False)
class _Parts:
    """What several features of one batch share, each worked out when first asked for."""

    rows: Tensor
    batch: GraphBatch

    @cached_property
    def drawn(self) -> Tensor:
        """The rows of steps and answers, all others zero: (batch, chosen, nodes, nodes)."""
        return self.rows * self.batch.is_target[:, None, :, None].to(self.rows.dtype)

    @cached_property
    def received(self) -> Tensor:
        """What each node gives to all steps together: (batch, chosen, nodes)."""
        return self.drawn.sum(-2)

    @cached_property
    def entropy(self) -> Tensor:
        return normalised_entropy(self.rows, self.batch)

    @cached_property
    def unused(self) -> Tensor:
        return unused_chance(self.drawn)

    @cached_property
    def answer(self) -> Tensor:
        return answer_places(self.batch)

    @cached_property
    def flow(self) -> Tensor:
        return answer_flow(self.drawn, self.answer)

    def mean(self, values: Tensor, nodes: Tensor) -> Tensor:
        """Average (batch, chosen, nodes) over nodes (batch, nodes): (batch, chosen); none: 0."""
        kept = (values * nodes[:, None].to(values.dtype)).sum(-1)
        return kept / nodes.sum(1, keepdim=True).clamp(min=1)

    def over_steps(self, values: Tensor) -> Tensor:
        return self.mean(values, self.batch.is_target)

    def over(self, kind: str, values: Tensor) -> Tensor:
        return self.mean(values, self.batch.of_kind(kind))

    def mass_on(self, *kinds: str) -> Tensor:
        on = (self.received * self.batch.of_kind(*kinds)[:, None].to(self.rows.dtype)).sum(-1)
        return on / self.batch.is_target.sum(1, keepdim=True).clamp(min=1)


def _answer_entropy(parts: _Parts) -> Tensor:
    where = parts.answer[:, None, None].expand(-1, parts.rows.shape[1], 1)
    return parts.entropy.gather(2, where)[..., 0]


def _mass_on_previous(parts: _Parts) -> Tensor:
    previous = torch.diagonal(parts.rows, -1, -2, -1)
    return parts.over_steps(torch.nn.functional.pad(previous, (1, 0)))


def _received_entropy(parts: _Parts) -> Tensor:
    received = parts.received
    shares = received / received.sum(-1, keepdim=True).clamp(min=LEAST_MASS)
    could = (parts.batch.eligible & parts.batch.is_target[:, :, None]).any(1).sum(-1)
    return _over_largest(_entropy(shares), could[:, None])


def _flow_from_premises(parts: _Parts) -> Tensor:
    premises = parts.batch.of_kind("premise")[:, None]
    return (parts.flow * premises.to(parts.flow.dtype)).sum(-1)


def _over_largest(entropy: Tensor, outcomes: Tensor) -> Tensor:
    """Divide an entropy by the logarithm of its number of outcomes; 0 for fewer than two."""
    largest = torch.log(outcomes.clamp(min=2).to(entropy.dtype))
    return entropy * (outcomes > 1).to(entropy.dtype) / largest


def _entropy(shares: Tensor) -> Tensor:
    """-sum p log p over the last axis; p = 0 adds nothing, and its gradient stays finite."""
    return -(shares * torch.log(shares.clamp(min=LEAST_SHARE))).sum(-1)


_FEATURES: dict[str, Callable[[_Parts], Tensor]] = {
    "row_entropy_normalised": lambda parts: parts.over_steps(parts.entropy),
    "answer_entropy_normalised": _answer_entropy,
    "strongest_source_mean": lambda parts: parts.over_steps(parts.rows.amax(-1)),
    "look_back_relative": lambda parts: parts.over_steps(look_back(parts.rows)),
    "unused_premise_chance": lambda parts: parts.over("premise", parts.unused),
    "dead_end_chance": lambda parts: parts.over("step", parts.unused),
    "mass_on_premises": lambda parts: parts.mass_on("premise"),
    "mass_on_question": lambda parts: parts.mass_on("question"),
    "mass_on_steps": lambda parts: parts.mass_on("step", "answer"),
    "mass_on_previous": _mass_on_previous,
    "received_entropy_normalised": _received_entropy,
    "flow_from_premises": _flow_from_premises,
    "flow_step_mean": lambda parts: parts.over("step", parts.flow),
}
