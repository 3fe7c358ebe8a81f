"""Wrong answers to the exercises of notebook 05."""

from __future__ import annotations

import numpy as np
from planted import rejected
from scipy.special import log_softmax


def _alignment(K, L):
    norms = np.linalg.norm(K) * np.linalg.norm(L)
    return float((K * L).sum() / norms) if norms > 1e-9 else 0.0


def _centring(width):
    return np.eye(width) - np.ones((width, width)) / width


@rejected(1, "centre over FEATURES")
def centred_over_tokens(X, Y):
    """Centres states over tokens, which is right where tokens are the examples."""
    X, Y = X - X.mean(0), Y - Y.mean(0)
    return _alignment(X.T @ X, Y.T @ Y)


@rejected(1, "normalised?")
def not_normalised(X, Y):
    """Returns the inner product of the kernels, which grows with their size."""
    H = _centring(X.shape[1])
    return float(((H @ X.T @ X @ H) * (H @ Y.T @ Y @ H)).sum())


@rejected(1, "a zero kernel: return 0")
def zero_divided_by_zero(X, Y):
    """Divides by the norm of a kernel that is zero."""
    H = _centring(X.shape[1])
    K, L = H @ X.T @ X @ H, H @ Y.T @ Y @ H
    return (K * L).sum() / (np.linalg.norm(K) * np.linalg.norm(L))


@rejected(2, "must still see each other")
def column_cut_for_all(spans, source, tokens):
    """Cuts the node for its own tokens as well."""
    start, end = spans[source]
    mask = np.tri(tokens, dtype=bool)
    mask[:, start:end] = False
    return mask


@rejected(2, "the separator still sees the node")
def cut_for_later_nodes_only(spans, source, tokens):
    """Cuts the node for later nodes; separators between them carry it on."""
    start, end = spans[source]
    mask = np.tri(tokens, dtype=bool)
    for first, last in spans[source + 1 :]:
        mask[first:last, start:end] = False
    return mask


@rejected(2, "start from a causal mask")
def not_causal(spans, source, tokens):
    """Starts from a mask of ones."""
    start, end = spans[source]
    mask = np.ones((tokens, tokens), dtype=bool)
    mask[end:, start:end] = False
    return mask


@rejected(3, "predicted at position t - 1")
def positions_of_the_tokens(base, cut, start, end):
    """Reads the predictions at the tokens, which are those of the next ones."""
    log_p, log_q = log_softmax(base, 1), log_softmax(cut, 1)
    return float((np.exp(log_p) * (log_p - log_q)).sum(1)[start:end].mean())


@rejected(3, "weigh by the base run")
def reversed_divergence(base, cut, start, end):
    """Weighs the differences by the run with the cut."""
    log_p, log_q = log_softmax(base, 1), log_softmax(cut, 1)
    return float((np.exp(log_q) * (log_q - log_p)).sum(1)[start - 1 : end - 1].mean())


@rejected(3, "take the mean over its tokens")
def summed_over_the_step(base, cut, start, end):
    """Adds up over the step's tokens: long steps have large effects."""
    log_p, log_q = log_softmax(base, 1), log_softmax(cut, 1)
    return float((np.exp(log_p) * (log_p - log_q)).sum(1)[start - 1 : end - 1].sum())


@rejected(3, "normalise first")
def logits_as_they_are(base, cut, start, end):
    """Takes differences of logits for differences of log-probabilities."""
    difference = np.exp(log_softmax(base, 1)) * (np.asarray(base) - np.asarray(cut))
    return float(difference.sum(1)[start - 1 : end - 1].mean())
