"""Wrong answers to the exercises of notebook 03."""

from __future__ import annotations

import numpy as np
import torch
from planted import rejected

from rg_helpers.edge_recovery import auroc


def _membership(node_of_token, nodes):
    ids = torch.as_tensor(node_of_token)
    return (ids[:, None] == torch.arange(nodes)).float()


@rejected(1, "sum sources")
def means_on_both_sides(attention, node_of_token, nodes):
    """Averages over the source's tokens too, so that long sentences count less."""
    C = _membership(node_of_token, nodes)
    means = C.T / C.sum(0).clamp(min=1)[:, None]
    return means @ attention @ means.T


@rejected(1, "average targets")
def sums_on_both_sides(attention, node_of_token, nodes):
    """Sums over the target's tokens too, so that long steps spend more than one."""
    C = _membership(node_of_token, nodes)
    return C.T @ attention @ C


@rejected(1, "-1 wraps round")
def index_with_minus_one(attention, node_of_token, nodes):
    """Fills the membership matrix by index, where -1 means the last node."""
    C = torch.zeros(len(node_of_token), nodes)
    C[range(len(node_of_token)), node_of_token] = 1.0
    return (C.T / C.sum(0).clamp(min=1)[:, None]) @ attention @ C


@rejected(1, "do not divide by zero")
def empty_nodes_divide(attention, node_of_token, nodes):
    """Divides by the size of a node that has no token."""
    C = _membership(node_of_token, nodes)
    return (C.T / C.sum(0)[:, None]) @ attention @ C


def _scaled(matrix, k=-1):
    kept = np.tril(matrix, k=k)
    sums = kept.sum(-1, keepdims=True)
    return np.divide(kept, sums, out=np.zeros_like(kept), where=sums > 0)


@rejected(2, "averaged before scaling")
def average_then_scale(mass):
    """Averages raw heads, so that a head counts by how little it sinks."""
    return _scaled(mass.mean(0))


@rejected(2, "pulls the row below one")
def scale_then_average(mass):
    """Lets a head that looks nowhere count as a head that looks at nothing."""
    return _scaled(mass).mean(0)


@rejected(2, "drop the diagonal")
def with_the_diagonal(mass):
    """Keeps what a node gives itself as if it were an edge."""
    return _scaled(_scaled(mass, k=0).mean(0), k=0)


def _every_other_problem(problem_of_pair):
    return np.isin(problem_of_pair, sorted(set(problem_of_pair))[::2])


@rejected(3, "measured where it was chosen")
def best_on_all(scores, labels, problem_of_pair):
    """Reports the best head where it was found to be the best."""
    values = [auroc(row, labels) for row in scores]
    return int(np.argmax(values)), max(values)


@rejected(3, "put on both sides")
def pairs_split(scores, labels, problem_of_pair):
    """Splits pairs, not problems: a pair's twin stands on the other side."""
    first = np.arange(len(labels)) % 2 == 0
    head = int(np.argmax([auroc(row[first], labels[first]) for row in scores]))
    return head, auroc(scores[head][~first], labels[~first])


@rejected(3, "never flip the sign")
def farthest_from_one_half(scores, labels, problem_of_pair):
    """Chooses the head that is farthest from one half, on whichever side."""
    first = _every_other_problem(problem_of_pair)
    values = [abs(auroc(row[first], labels[first]) - 0.5) for row in scores]
    head = int(np.argmax(values))
    return head, auroc(scores[head][~first], labels[~first])


@rejected(3, "turned round")
def better_of_both_signs(scores, labels, problem_of_pair):
    """Chooses well, and then turns the value round if it falls below one half."""
    first = _every_other_problem(problem_of_pair)
    head = int(np.argmax([auroc(row[first], labels[first]) for row in scores]))
    value = auroc(scores[head][~first], labels[~first])
    return head, max(value, 1 - value)
