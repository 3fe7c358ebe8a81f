"""Corrections: by hand on small masses; planted sinks and recency are found and taken out."""

from __future__ import annotations

import numpy as np
import pytest

from rg_helpers.edge_recovery import GraphSet
from rg_helpers.graphs.corrections import (
    ExpectedAttention,
    correction_effects,
    drop_nodes,
    drop_outside,
    minimum_gap,
    outside_share,
    recency_share,
    sink_nodes,
)
from rg_helpers.graphs.gold import gold_graph
from rg_helpers.graphs.step_graph import normalise_rows
from rg_helpers.problems import generate_problems

MASS = np.array([[0.2, 0, 0, 0], [0.4, 0.1, 0, 0], [0.1, 0.3, 0.2, 0], [0.1, 0, 0.3, 0.4]])


def test_shares_by_hand():
    assert outside_share(MASS) == pytest.approx(1 - (0.2 + 0.5 + 0.6 + 0.8) / 4)
    # Row 2: 0.3 of 0.4 is one back; row 3: 0.3 of 0.4. Row 1 has no farther source.
    assert recency_share(MASS) == pytest.approx(0.75)
    assert recency_share(MASS, gap=2) == pytest.approx(0.75)  # row 3 alone: 0.3 of 0.4
    assert recency_share(np.stack([MASS, 2 * MASS])).tolist() == pytest.approx([0.75, 0.75])
    assert np.isnan(recency_share(np.zeros((4, 4))))


def test_dropping_by_hand():
    assert drop_outside(MASS)[3] == pytest.approx([0.25, 0, 0.75, 0])
    assert drop_nodes(MASS, [0, 9])[:, 0].tolist() == [0, 0, 0, 0]
    assert drop_nodes(MASS, [0])[3] == pytest.approx([0, 0, 0.3, 0.4])
    assert MASS[3, 0] == 0.1
    assert minimum_gap(MASS, 2)[3] == pytest.approx([0.1, 0, 0, 0])
    with pytest.raises(ValueError, match="gap"):
        minimum_gap(MASS, 0)


def decaying(nodes: int, generator: np.random.Generator) -> np.ndarray:
    """Masses (2, 2, nodes, nodes) that know nothing but distance, each head with its own decay."""
    rows, columns = np.indices((nodes, nodes))
    decay = np.array([[0.5, 1.0], [1.5, 2.0]])[:, :, None, None]
    noise = generator.uniform(0.9, 1.1, (2, 2, nodes, nodes))
    return np.where(columns < rows, np.exp(-decay * (rows - columns)), 0.3) * noise


def test_dividing_by_distance_leaves_no_recency():
    generator = np.random.default_rng(0)
    masses = [decaying(nodes, generator) for nodes in (6, 9, 12) * 20]
    expected = ExpectedAttention.fit(masses, prior=0)
    assert expected.table.shape == (2, 2, 11)
    assert expected.table[0, 1, 2] == pytest.approx(np.exp(-3), rel=0.02)
    divided = expected.divide(masses[1])
    below = np.tril_indices(9, k=-1)
    assert np.abs(divided[..., below[0], below[1]] - 1).max() < 0.2
    assert not np.triu(divided).any()
    assert expected.divide(decaying(20, generator)).shape == (2, 2, 20, 20)
    with pytest.raises(ValueError, match="same layers"):
        expected.divide(masses[0][0])


def test_rare_distances_are_drawn_to_the_mean():
    mass = np.zeros((3, 3))
    mass[1, 0], mass[2, 1], mass[2, 0] = 1, 1, 4
    assert ExpectedAttention.fit([mass], prior=0).table.tolist() == [1, 4]
    assert ExpectedAttention.fit([mass], prior=1).table == pytest.approx([4 / 3, 3])


def test_planted_sinks_are_found():
    generator = np.random.default_rng(1)
    masses = []
    for nodes in (8, 10, 12):
        mass = generator.uniform(0.5, 1, (2, 2, nodes, nodes))
        mass[..., 2] *= 40
        masses.append(mass)
    assert sink_nodes(masses) == (2,)
    assert sink_nodes([np.ones((2, 2, 9, 9))]) == ()
    # Recency alone is no sink, however steep.
    assert sink_nodes([decaying(nodes, generator) for nodes in (12, 15, 18)]) == ()
    with pytest.raises(ValueError, match="training traces"):
        sink_nodes([])


def test_effects_show_what_a_planted_confound_costs():
    """Gold edges under strong recency: dividing by distance must bring them out again."""
    generator = np.random.default_rng(2)

    def planted(seed: int) -> GraphSet:
        problems = generate_problems("arithmetic", 12, seed=seed)
        gold = [gold_graph(problem) for problem in problems]
        masses = []
        for graph in gold:
            masses.append(decaying(len(graph), generator) * (1 + 2 * (graph.weights > 0)))
        return GraphSet(gold, masses, [problem.problem_id for problem in problems])

    rows = {row["correction"]: row for row in correction_effects(planted(1), planted(2))}
    assert rows["divide by distance"]["auroc"] > rows["none"]["auroc"] + 0.03
    assert rows["divide by distance"]["recency_share"] < rows["none"]["recency_share"]
    assert rows["gap of 2"]["recency_share"] == 0
    assert len(rows) == 5
    assert normalise_rows(MASS).shape == MASS.shape
