"""Wrong answers to the exercises of notebook 09."""

from __future__ import annotations

import numpy as np
import torch
from planted import notebook, rejected

from rg_helpers.graph_loss import graph_term
from rg_helpers.graphs.step_graph import normalise_rows


def _gradients(loss, weights):
    found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]


@rejected(1, "Compare gradients")
def difference_of_losses(total, plain, weights):
    """Compares the losses' values."""
    return abs(total.item() - plain.item())


@rejected(1, "largest of the differences")
def norm_of_the_difference(total, plain, weights):
    """Takes the norm of all differences for the largest."""
    both = zip(_gradients(total, weights), _gradients(plain, weights), strict=True)
    return float(sum(((one - other) ** 2).sum() for one, other in both)) ** 0.5


@rejected(1, "drop no sign before abs()")
def largest_with_its_sign(total, plain, weights):
    """Takes the largest difference, not the largest absolute one."""
    both = zip(_gradients(total, weights), _gradients(plain, weights), strict=True)
    return max((one - other).max().item() for one, other in both)


@rejected(1, "it leaves .grad alone")
def with_backward(total, plain, weights):
    """Calls backward(), which adds to what an optimiser will read."""
    found = []
    for loss in (total, plain):
        for weight in weights:
            weight.grad = None
        loss.backward(retain_graph=True)
        found.append([torch.zeros_like(w) if w.grad is None else w.grad for w in weights])
    return max((a - b).abs().max().item() for a, b in zip(*found, strict=True))


def _loss(model, strength, score_of):
    tap_step_attention = notebook.tap_step_attention
    with tap_step_attention(model, notebook.node_ids, notebook.layout.nodes) as tap:
        logits = model(input_ids=notebook.tokens, use_cache=False).logits
    score = score_of(tap.mass())
    return notebook.cross_entropy(logits, notebook.labels) + strength * score


def _entropy(mass, heads=((0, 0),)):
    return graph_term("entropy_only", heads=heads)(mass, notebook.layout)


@rejected(2, "still dead")
def detached(model, strength):
    """Takes the attention out of the graph of gradients."""
    mean = (1, 2)
    return _loss(
        model, strength, lambda mass: _entropy(mass.detach().mean(mean, keepdim=True)).mean()
    )


@rejected(2, "average layers and heads first")
def one_head(model, strength):
    """Scores the first head alone where the study averaged all."""
    return _loss(model, strength, lambda mass: _entropy(mass).mean())


@rejected(2, "a loss is one number")
def one_score_a_trace(model, strength):
    """Returns one total a trace."""
    return _loss(model, strength, lambda mass: _entropy(mass.mean((1, 2), keepdim=True)))


@rejected(2, "still dead")
def by_way_of_numpy(model, strength):
    """Normalises with the arrays' helper, which no gradient passes."""

    def score(mass):
        mean = mass.mean((1, 2), keepdim=True).detach().numpy()
        return _entropy(torch.from_numpy(normalise_rows(mean))).mean()

    return _loss(model, strength, score)


@rejected(3, "shuffle rows[i, :i] only")
def whole_rows_permuted(gold, written, seed):
    """Permutes whole rows: steps are asked to look ahead."""
    rows, rng = gold.copy(), np.random.default_rng(seed)
    for i in written:
        rows[i] = rng.permutation(rows[i])
    return rows


@rejected(3, "draw again")
def by_chance_the_truth(gold, written, seed):
    """Permutes once and takes what comes, the true row among it."""
    rows, rng = gold.copy(), np.random.default_rng(seed)
    for i in written:
        rows[i, :i] = rng.permutation(rows[i, :i])
    return rows


@rejected(3, "work on a copy")
def gold_overwritten(gold, written, seed):
    """Shuffles the gold rows themselves."""
    rng = np.random.default_rng(seed)
    for i in written:
        before = gold[i].copy()
        while np.array_equal(gold[i], before) and len(set(before[:i].tolist())) > 1:
            gold[i, :i] = rng.permutation(before[:i])
    return gold


@rejected(3, "has other weights than gold")
def softer_rows(gold, written, seed):
    """Spreads every row over all earlier nodes: an easier target than the true one."""
    rows, rng = gold.copy(), np.random.default_rng(seed)
    for i in written:
        drawn = rng.random(i)
        rows[i, :i] = drawn / drawn.sum()
    return rows


@rejected(4, "do not normalise the rows")
def share_for_mass(mass, gold):
    """Normalises rows, so that dust counts as much as a look."""
    share = mass / mass.sum(-1, keepdim=True).clamp(min=1e-12)
    return (share * (gold > 0)).sum(-1)[gold.sum(-1) > 0].mean()


@rejected(4, "leave them out of the mean")
def rows_without_a_target(mass, gold):
    """Averages over all rows, premises' rows among them."""
    return (mass * (gold > 0)).sum(-1).mean()


@rejected(4, "gold says who they are, not how much")
def weighed_by_gold(mass, gold):
    """Weighs the mass by the target's shares."""
    return (mass * gold).sum(-1)[gold.sum(-1) > 0].mean()
