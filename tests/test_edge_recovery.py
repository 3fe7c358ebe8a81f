"""Edge recovery: planted heads are found, hand-worked scores exact, nothing fitted on test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from rg_helpers.edge_recovery import (
    METRICS,
    Candidates,
    GraphSet,
    auroc,
    best_heads,
    best_threshold,
    compare_with_controls,
    differences,
    head_table,
    measure_recovery,
)
from rg_helpers.graphs.gold import gold_graph
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.problems import generate_problems
from rg_helpers.statistics import cluster_weights

KINDS = ("premise", "premise", "question", "step", "step", "answer")


def toy(edges) -> StepGraph:
    weights = np.zeros((6, 6))
    for source, target in edges:
        weights[target, source] = 1
    return StepGraph(normalise_rows(weights), KINDS, ("x",) * 6, "toy")


TOY = toy([(0, 3), (1, 4), (3, 4), (4, 5)])


def planted(seed: int, count: int, split: str) -> GraphSet:
    """Gold graphs with six made-up heads: (1, 2) sees gold through noise, the others nothing."""
    generator = np.random.default_rng(seed)
    problems = generate_problems("arithmetic", count, split=split, seed=seed)
    gold = [gold_graph(problem) for problem in problems]
    masses = []
    for graph in gold:
        mass = generator.random((2, 3, len(graph), len(graph))).astype(np.float32)
        mass[1, 2] += 2 * (graph.weights > 0) * generator.random(graph.weights.shape)
        masses.append(mass / mass.sum(axis=-1, keepdims=True))
    return GraphSet(gold, masses, [problem.problem_id for problem in problems])


@pytest.fixture(scope="module")
def sets() -> tuple[GraphSet, GraphSet]:
    return planted(0, 30, "validation"), planted(1, 60, "test")


@pytest.fixture(scope="module")
def compared(sets):
    return compare_with_controls(*sets, draws=400)


def test_candidates_by_hand():
    candidates = Candidates.of([TOY, TOY], ["one", "two"])
    # targets 3, 4, 5 have 3, 4, 5 earlier nodes each
    assert len(candidates.labels) == 2 * (3 + 4 + 5)
    assert candidates.labels.sum() == 2 * 4
    assert candidates.base_rate == pytest.approx(4 / 12)
    assert candidates.problems == 2
    assert np.bincount(candidates.clusters).tolist() == [12, 12]
    assert np.bincount(candidates.rows).tolist() == [3, 4, 5, 3, 4, 5]
    assert (~candidates.from_prompt).sum() == 2 * (0 + 1 + 2)
    assert (candidates.sources < candidates.targets).all()
    pairs = list(zip(candidates.sources, candidates.targets, candidates.labels, strict=True))
    assert {(int(s), int(t)) for s, t, label in pairs if label} == set(TOY.edges)


def test_scores_are_read_from_the_right_entries():
    other = toy([(1, 3), (1, 4), (4, 5)])
    candidates = Candidates.of([TOY, other], ["one", "two"])
    coded = [np.arange(36.0).reshape(6, 6), 100 + np.arange(36.0).reshape(6, 6)]
    expected = candidates.graphs * 100 + candidates.targets * 6 + candidates.sources
    assert np.array_equal(candidates.scores(coded), expected)
    stacked = [np.stack([matrix, -matrix])[None] for matrix in coded]
    assert np.array_equal(candidates.scores(stacked)[0, 1], -expected)
    with pytest.raises(ValueError, match="3 weight matrices for 2"):
        candidates.scores([*coded, coded[0]])


def test_targets_without_known_parents_are_left_out():
    candidates = Candidates.of([toy([(0, 3), (4, 5)])], ["one"])
    assert set(candidates.targets.tolist()) == {3, 5}
    with pytest.raises(ValueError, match="no candidate edge"):
        Candidates.of([toy([])], ["one"])
    with pytest.raises(ValueError, match="2 problem ids"):
        Candidates.of([TOY], ["one", "two"])


def test_threshold_and_auroc_by_hand():
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.6, 0.1])
    labels = np.array([1, 0, 1, 1, 0, 0], dtype=bool)
    # from the top: F1 = 2/4, 2/5, 4/6, (both 0.6 together) 6/8, 6/9
    assert best_threshold(scores, labels) == 0.6
    # of 9 (edge, other) pairs: 0.9 wins 3, 0.7 wins 2, 0.6 wins 1 and ties 1
    assert auroc(scores, labels) == pytest.approx(6.5 / 9)
    with pytest.raises(ValueError, match="both classes"):
        auroc(scores, np.ones(6, dtype=bool))


@pytest.mark.parametrize("seed", range(5))
def test_threshold_is_the_best_of_all(seed):
    generator = np.random.default_rng(seed)
    labels = generator.random(80) < 0.3
    scores = np.round(generator.random(80) + 0.3 * labels, 1)
    found = f1_score(labels, scores >= best_threshold(scores, labels))
    assert found == max(f1_score(labels, scores >= least) for least in np.unique(scores))


def test_metrics_equal_scikit_learn(sets):
    _, test = sets
    candidates, scores = test.candidates, test.heads[1, 2]
    weights = cluster_weights(candidates.problems, 50)
    found = measure_recovery(scores, candidates, 0.15, weights, "toy")
    labels = candidates.labels
    assert found.auroc.value == pytest.approx(roc_auc_score(labels, scores))
    assert found.ap.value == pytest.approx(average_precision_score(labels, scores), abs=1e-6)
    assert found.f1.value == pytest.approx(f1_score(labels, scores >= 0.15))
    given = candidates.from_prompt
    assert found.prompt_auroc.value == pytest.approx(roc_auc_score(labels[given], scores[given]))
    assert found.step_auroc.value == pytest.approx(roc_auc_score(labels[~given], scores[~given]))
    rows = [candidates.rows == row for row in np.unique(candidates.rows)]
    rows = [row for row in rows if not labels[row].all()]
    by_row = np.mean([roc_auc_score(labels[row], scores[row]) for row in rows])
    assert found.row_auroc.value == pytest.approx(by_row)


def test_perfect_and_opposite_graphs():
    gold = [TOY, toy([(1, 3), (0, 4), (3, 4), (4, 5)])]
    candidates = Candidates.of(gold, ["one", "two"])
    weights = cluster_weights(2, 20)
    perfect = candidates.scores([graph.weights for graph in gold])
    found = measure_recovery(perfect, candidates, 0.1, weights, "gold")
    assert [getattr(found, name).value for name in METRICS] == [1] * 7
    assert measure_recovery(-perfect, candidates, 0, weights, "").auroc.value == 0
    swapped = candidates.scores([gold[1].weights, gold[0].weights])
    assert measure_recovery(swapped, candidates, 0.1, weights, "").prompt_auroc.value < 0.5


def test_scores_by_position_alone_cannot_win_at_matched_positions(sets):
    _, test = sets
    candidates = test.candidates
    share = np.bincount(candidates.position, candidates.labels) / np.bincount(candidates.position)
    weights = cluster_weights(candidates.problems, 20)
    known = measure_recovery(share[candidates.position], candidates, 0.5, weights, "positions")
    assert known.matched_auroc.value == 0.5
    assert known.auroc.value > 0.7
    seen = measure_recovery(test.heads[1, 2], candidates, 0.5, weights, "planted head")
    assert seen.matched_auroc.value > 0.7


def test_the_planted_head_is_chosen_and_beats_the_controls(sets, compared):
    assert best_heads(sets[0]) == [(1, 2)]
    assert compared["attention"].choice.startswith("layer 1 head 2")
    values = {name: recovery.auroc.value for name, recovery in compared.items()}
    assert max(values, key=values.get) == "attention"
    assert 0.45 < values["random"] < 0.6
    assert values["attention_mean"] < values["attention"]
    assert values["rewired"] < values["attention"] - 0.1


def test_heads_that_see_different_edges_are_combined():
    """Head (0, 1) sees edges from the prompt, head (1, 0) those from steps; others see nothing."""
    fit = planted(3, 30, "validation")
    masses = []
    for graph, mass in zip(fit.gold, fit.masses, strict=True):
        mass, edge = mass.copy(), graph.weights > 0
        mass[1, 2] = mass[0, 0]
        given = np.array(graph.kinds) == "premise"
        mass[0, 1] += edge & given
        mass[1, 0] += edge & ~given
        masses.append(mass)
    fit = replace(fit, masses=masses)
    assert set(best_heads(fit, most=2)) == {(0, 1), (1, 0)}
    assert len(best_heads(fit, most=1)) == 1
    assert len(best_heads(fit, most=9)) < 6


def test_differences_are_paired_and_corrected(compared):
    gaps = differences(compared)
    assert set(gaps) == set(compared) - {"attention"}
    gap = gaps["random"]
    assert gap["value"] == pytest.approx(
        compared["attention"].auroc.value - compared["random"].auroc.value
    )
    assert gap["low"] > 0
    assert gap["p_holm"] >= (compared["attention"].auroc.minus(compared["random"].auroc)).p_value()


def test_results_are_plain_and_repeat(sets, compared):
    again = compare_with_controls(*sets, draws=400)
    for name, recovery in compared.items():
        plain = recovery.as_dict()
        assert plain == again[name].as_dict()
        assert set(METRICS) < set(plain)
        assert plain["auroc"]["low"] <= plain["auroc"]["value"] <= plain["auroc"]["high"]
        assert plain["auroc"]["n"] == 60


def test_choices_do_not_look_at_the_test_problems(sets, compared):
    """Planting the signal in another head of the test set alone must not change the choice."""
    fit, test = sets
    moved = replace(test, masses=[mass[:, ::-1] for mass in test.masses])
    found = compare_with_controls(fit, moved, draws=50)
    assert found["attention"].choice == compared["attention"].choice
    assert found["attention"].threshold == compared["attention"].threshold
    assert found["attention"].auroc.value < 0.65
    with pytest.raises(ValueError, match="other problems than those measured"):
        compare_with_controls(fit, fit, draws=50)


def test_head_table_agrees_with_scikit_learn(sets):
    fit, test = sets
    table = head_table(fit, test, draws=100)
    labels = test.candidates.labels
    for layer in range(2):
        for head in range(3):
            scores = test.heads[layer, head]
            assert table["auroc"][layer][head] == pytest.approx(roc_auc_score(labels, scores))
            expected = average_precision_score(labels, scores)
            assert table["ap"][layer][head] == pytest.approx(expected, abs=1e-6)
            least = best_threshold(fit.heads[layer, head], fit.candidates.labels)
            assert table["f1"][layer][head] == pytest.approx(f1_score(labels, scores >= least))
            assert table["auroc_low"][layer][head] < table["auroc"][layer][head]


def test_positions_alone_cannot_show_in_the_row_auroc_of_a_constant_score(sets):
    """A score that only knows whether the source is a premise is chance within each kind."""
    _, test = sets
    candidates = test.candidates
    weights = cluster_weights(candidates.problems, 20)
    constant = candidates.from_prompt.astype(float)
    found = measure_recovery(constant, candidates, 0.5, weights, "kind only")
    assert found.prompt_auroc.value == found.step_auroc.value == 0.5
    assert found.auroc.value != 0.5
