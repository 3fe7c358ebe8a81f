"""Wrong answers to the exercises of notebook 04."""

from __future__ import annotations

import torch
from planted import rejected


def _belongs_to(spans, tokens):
    belongs = [-1] * tokens
    for node, (first, end) in enumerate(spans):
        belongs[first:end] = [node] * (end - first)
    return belongs


@rejected(1, "the node each token belongs TO")
def not_shifted(spans, tokens):
    """Explains the token that is read instead of the one that is written."""
    return _belongs_to(spans, tokens)


@rejected(1, "<s> predicts the first token of node 0")
def shifted_the_other_way(spans, tokens):
    """Shifts to the right: every position writes the token before it."""
    return [-1, *_belongs_to(spans, tokens)[:-1]]


@rejected(1, "nothing wraps round")
def rolled(spans, tokens):
    """Rolls the list, so that the last position writes the first token."""
    belongs = _belongs_to(spans, tokens)
    return [*belongs[1:], belongs[0]]


@rejected(1, "after node 1 comes a separator")
def next_node_for_separators(spans, tokens):
    """Lets a separator's position count for the node that comes next."""
    writes, following = [-1] * tokens, -1
    belongs = _belongs_to(spans, tokens)
    for position in range(tokens - 2, -1, -1):
        if belongs[position + 1] != -1:
            following = belongs[position + 1]
        writes[position] = following
    return writes


@rejected(2, "the heads cancelled")
def mean_then_positive(A, dA):
    """Averages first: heads that disagree cancel."""
    return (A * dA).mean(0).clamp(min=0)


@rejected(2, "heads were added up")
def positive_then_sum(A, dA):
    """Adds heads up."""
    return (A * dA).clamp(min=0).sum(0)


@rejected(2, "harm counts as help")
def absolute_values(A, dA):
    """Takes absolute values for positive parts."""
    return (A * dA).abs().mean(0)


@rejected(2, "is A in the product?")
def gradient_alone(A, dA):
    """Forgets the attention itself."""
    return dA.clamp(min=0).mean(0)


def _gradient(f, place):
    place = place.detach().clone().requires_grad_()
    return torch.autograd.grad(f(place), place)[0]


@rejected(3, "which is flat there")
def gradient_times_input(f, x, baseline, points):
    """Takes the gradient at x alone."""
    return _gradient(f, x) * (x - baseline)


@rejected(3, "midpoints")
def ends_of_the_pieces(f, x, baseline, points):
    """Takes the gradient at the end of every piece."""
    places = (baseline + (n + 1) / points * (x - baseline) for n in range(points))
    return sum(_gradient(f, place) for place in places) / points * (x - baseline)


@rejected(3, "multiply by x - baseline")
def times_x(f, x, baseline, points):
    """Multiplies by x, right only where the baseline is zero."""
    places = (baseline + (n + 0.5) / points * (x - baseline) for n in range(points))
    return sum(_gradient(f, place) for place in places) / points * x
