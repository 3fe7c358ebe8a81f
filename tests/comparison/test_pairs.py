"""The flat arrays hold exactly what the matrices hold, and rank as SciPy does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr
from written_samples import samples_of

from rg_helpers.comparison.agreement import Ranked, agreement, agreement_matrix, row_correlations
from rg_helpers.comparison.controls import rewired, square
from rg_helpers.comparison.pairs import Pairs
from rg_helpers.comparison.solutions import judged
from rg_helpers.edge_recovery import Candidates
from rg_helpers.graphs.controls import rewired_graph
from rg_helpers.graphs.step_graph import normalise_rows
from rg_helpers.problems import generate_problems


@pytest.fixture(scope="module")
def solutions():
    problems = generate_problems("arithmetic", 4, seed=5)
    traces = [trace for problem in problems for trace in samples_of(problem)]
    return judged(problems, traces)


@pytest.fixture(scope="module")
def traces(solutions):
    return [solution.trace for solution in solutions]


def matrices(traces, seed=0, heads=()):
    rng = np.random.default_rng(seed)
    sizes = [len(trace.nodes) for trace in traces]
    return [np.tril(rng.random((*heads, size, size)), -1).astype(np.float32) for size in sizes]


def test_every_pair_of_a_written_target_is_there_once(traces):
    pairs = Pairs.of(traces)
    expected = [
        (number, target, source)
        for number, trace in enumerate(traces)
        for target, kind in enumerate(trace.kinds)
        if kind in ("step", "answer")
        for source in range(target)
    ]
    found = zip(pairs.graphs, pairs.targets, pairs.sources, strict=True)
    assert [tuple(map(int, pair)) for pair in found] == expected


def test_read_normalise_and_square(traces):
    pairs, scores = Pairs.of(traces), matrices(traces, heads=(2, 3))
    flat = pairs.read(scores)
    assert flat.shape == (2, 3, len(pairs))
    back = square(pairs.normalised(flat)[1, 2], pairs)
    for trace, score, matrix in zip(traces, scores, back, strict=True):
        written = np.array([kind in ("step", "answer") for kind in trace.kinds])
        expected = normalise_rows(score[1, 2]) * written[:, None]
        assert np.allclose(matrix, expected, atol=1e-6)
    with pytest.raises(ValueError, match="expected"):
        pairs.read([scores[0][..., :-1, :-1], *scores[1:]])


def test_candidates_are_found_again(solutions, traces):
    pairs, chosen = Pairs.of(traces), [5, 1, 8]
    gold = [solutions[i].claimed() for i in chosen]
    candidates = Candidates.of(gold, ["a", "b", "c"])
    scores = matrices(traces)
    expected = candidates.scores([scores[i] for i in chosen])
    assert np.array_equal(pairs.read(scores)[pairs.where(candidates, chosen)], expected)


def test_rank_correlation_equals_scipy(traces):
    pairs = Pairs.of(traces)
    first, second = matrices(traces, 1), [np.round(m, 1) for m in matrices(traces, 2)]
    one, two = (Ranked.of(pairs.read(m), pairs, range(len(traces))) for m in (first, second))
    values, owners = row_correlations(one, two)
    expected = [
        spearmanr(a[target, :target], b[target, :target]).statistic
        for trace, a, b in zip(traces, first, second, strict=True)
        for target in range(len(trace.nodes) - len(trace.steps), len(trace.nodes))
    ]
    assert np.allclose(values, expected)
    assert owners.tolist() == pairs.row_graphs.tolist()
    matrix = agreement_matrix({"one": one, "two": two})
    assert matrix["one", "two"] == matrix["two", "one"] == pytest.approx(np.mean(expected))


def test_constant_rows_are_left_out_of_the_reference_and_count_zero_in_the_other(traces):
    pairs = Pairs.of(traces)
    everywhere = range(len(traces))
    full = Ranked.of(pairs.read(matrices(traces)), pairs, everywhere)
    silent = pairs.read(matrices(traces))
    silent[pairs.graphs == 0] = 0
    silent = Ranked.of(silent, pairs, everywhere)
    rows = np.bincount(pairs.row_graphs)
    assert len(row_correlations(full, silent)[0]) == rows[1:].sum()
    values, owners = row_correlations(silent, full)
    assert (values[owners == 0] == 0).all()
    assert np.allclose(values[owners > 0], 1)
    names = [str(index) for index in everywhere]
    found = agreement(silent, full, names, draws=50)
    assert found.value == pytest.approx(rows[1:].sum() / rows.sum())


def test_graphs_of_some_traces_are_compared_on_the_shared_ones(traces):
    pairs, scores = Pairs.of(traces), matrices(traces)
    some = (1, 4, 6)
    thin = Pairs.of([traces[i] for i in some])
    full = Ranked.of(pairs.read(scores), pairs, range(len(traces)))
    few = Ranked.of(thin.read([scores[i] for i in some]), thin, some)
    values, owners = row_correlations(full, few)
    assert np.allclose(values, 1)
    assert set(owners) == set(some)


def test_rewiring_keeps_the_sums_and_moves_the_weights(traces):
    pairs = Pairs.of(traces)
    weights = pairs.normalised(pairs.read(matrices(traces)))
    shuffled = rewired(weights, pairs)
    assert not np.allclose(shuffled, weights, atol=0.05)
    assert np.array_equal(shuffled, rewired(weights, pairs))
    assert not np.array_equal(shuffled, rewired(weights, pairs, seed=1))
    for before, after in zip(square(weights, pairs), square(shuffled, pairs), strict=True):
        assert np.allclose(before.sum(0), after.sum(0), atol=1e-4)
        assert np.allclose(before.sum(1), after.sum(1), atol=1e-4)
        assert (after >= 0).all()


def test_rewiring_forgets_as_much_as_that_of_one_graph(solutions, traces):
    """The share of gold edges' weight that stays in place is that of the slow, tested version."""
    pairs = Pairs.of(traces)
    gold = [solution.claimed() for solution in solutions]
    soft = [graph.weights + 0.02 * np.tril(np.ones_like(graph.weights), -1) for graph in gold]
    flat = pairs.normalised(pairs.read(soft))
    edges = pairs.read([graph.weights > 0 for graph in gold]) > 0
    written = [np.array([k in ("step", "answer") for k in graph.kinds]) for graph in gold]
    slow = [
        rewired_graph(replace(graph, weights=matrix), seed, "strength").weights * rows[:, None]
        for seed in range(3)
        for graph, matrix, rows in zip(gold, square(flat, pairs), written, strict=True)
    ]
    count = len(gold)
    slow = [pairs.read(slow[n * count : (n + 1) * count])[edges].sum() for n in range(3)]
    fast = [rewired(flat, pairs, seed)[edges].sum() for seed in range(3)]
    kept = float(flat[edges].sum())
    assert np.mean(fast) == pytest.approx(np.mean(slow), abs=0.03 * kept)
    longer = rewired(flat, pairs, rounds=1200)[edges].sum()
    assert np.mean(fast) == pytest.approx(longer, abs=0.04 * kept)
    assert np.mean(fast) < 0.5 * kept
