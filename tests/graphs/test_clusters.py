"""Clusters of steps: planted groups, distances by hand, walks, saving, leaks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_models import ARCHITECTURES, tiny_model, tiny_traces

from rg_helpers.graphs.clusters import (
    StepClusters,
    assign_steps,
    cluster_graphs,
    cluster_scores,
    clusters_of,
    fit_clusters,
)
from rg_helpers.graphs.step_embeddings import step_embeddings
from rg_helpers.graphs.transitions import transition_graph

# Three groups far apart; the second coordinate has another unit, the third never varies.
CENTRES = np.array([[0.0, 0.0, 5.0], [10.0, 0.0, 5.0], [0.0, 1000.0, 5.0]])
SIZES = (30, 20, 10)


def planted(seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = np.repeat(np.arange(3), SIZES)
    noise = generator.normal(size=(len(truth), 3)) * [0.3, 30, 0]
    return CENTRES[truth] + noise, truth


def test_planted_groups_are_found_and_numbered_by_size():
    rows, truth = planted(0)
    fitted = clusters_of([rows[::2], rows[1::2]], 3)
    assert np.array_equal(fitted.assign(rows), truth)
    fresh, labels = planted(1)
    assert np.array_equal(fitted.assign(fresh), labels)
    assert fitted.steps == len(rows)


def test_coordinates_count_alike_whatever_their_unit():
    rows, truth = planted(0)
    scaled = rows * [100, 0.001, 1]
    assert np.array_equal(clusters_of([scaled], 3).assign(scaled), truth)
    standardised = clusters_of([rows], 3).standardise(rows)
    assert np.abs(standardised[:, :2].std(axis=0) - 1).max() < 1e-5
    assert np.abs(standardised.mean(axis=0)).max() < 1e-4


HAND = StepClusters(
    mean=np.array([1.0, 1.0]),
    scale=np.array([1.0, 2.0]),
    centroids=np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]),
    steps=9,
)


def test_the_nearest_centroid_in_standardised_units():
    rows = np.array([[1.0, 1.0], [3.0, 1.0], [2.0, 1.0], [1.0, 5.0], [1.0, 6.0]])
    naive = [
        int(np.argmin([np.linalg.norm((row - [1, 1]) / [1, 2] - c) for c in HAND.centroids]))
        for row in rows
    ]
    assert HAND.assign(rows).tolist() == naive == [0, 1, 0, 0, 2]
    assert HAND.distances[1, 2] == pytest.approx(5)
    assert HAND.spread == 4  # of 3, 4, 5


def encoder_of(places: dict[str, list[float]]):
    return lambda texts: np.array([places[text] for text in texts])


def walk(labels: list[int], premises: int = 3):
    """A trace with as many written nodes, and embeddings that lie on the centroids of HAND."""
    trace = tiny_traces(1, nodes=len(labels))[0]
    assert len(trace.nodes) == len(labels)
    places = HAND.centroids[labels] * HAND.scale + HAND.mean
    return trace, encoder_of(dict(zip(trace.texts, places.tolist(), strict=True)))


def test_scores_are_nearness_of_clusters_worked_out_by_hand():
    trace, encode = walk([0, 1, 2, 1, 1, 0])
    (score,) = cluster_scores(encode, [trace], HAND, progress=False)
    assert score.dtype == np.float32
    near = {0: 1, 3: np.exp(-3 / 4), 4: np.exp(-1), 5: np.exp(-5 / 4)}
    expected = [[], [3], [4, 5], [3, 0, 5], [3, 0, 5, 0], [0, 3, 4, 3, 3]]
    for target, row in enumerate(expected):
        for source, distance in enumerate(row):
            assert score[target, source] == pytest.approx(near[distance])
    assert not np.triu(score).any()
    (graph,) = cluster_graphs(encode, [trace], HAND, progress=False)
    assert graph.weights[5].sum() == pytest.approx(1)
    assert (graph.method, graph.choice) == (
        "cluster",
        "3 clusters of sentence embeddings, fitted on 9 steps",
    )


def test_a_walk_by_hand():
    # Three nodes of prompt, then the written path 1 1 0 2 1 0 0.
    trace, encode = walk([0, 0, 2, 1, 1, 0, 2, 1, 0, 0])
    (labels,) = assign_steps(encode, [trace], HAND, progress=False)
    graph = transition_graph(trace, labels, HAND)
    assert graph.path == (1, 1, 0, 2, 1, 0, 0)
    assert graph.counts == {(1, 1): 1, (1, 0): 2, (0, 2): 1, (2, 1): 1, (0, 0): 1}
    assert graph.distances[2, 1] == pytest.approx(5)
    assert graph.visits == {1: 3, 0: 3, 2: 1}
    assert (graph.loops, graph.revisits) == (2, 2)  # back to 1, back to 0
    assert graph.length == pytest.approx(0 + 3 + 4 + 5 + 3 + 0)
    drawn = graph.to_networkx()
    assert set(drawn.edges) == set(graph.counts)
    assert drawn.edges[1, 0] == {"count": 2, "distance": pytest.approx(3)}
    assert drawn.nodes[2]["visits"] == 1
    with pytest.raises(ValueError, match="9 labels"):
        transition_graph(trace, labels[1:], HAND)


def test_test_traces_do_not_move_what_was_fitted():
    model = tiny_model("qwen3")
    traces = tiny_traces(6)
    fitted = fit_clusters(model, traces[:4], 5, progress=False)
    before = fitted.centroids.copy()
    cluster_graphs(model, traces[4:], fitted, progress=False)
    again = fit_clusters(model, traces[:4], 5, progress=False)
    assert np.array_equal(before, fitted.centroids)
    assert np.array_equal(before, again.centroids), "same seed, same clusters"
    leaky = fit_clusters(model, traces, 5, progress=False)
    assert not np.allclose(leaky.mean, fitted.mean), "all data give another scaler"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name):
    model, traces = tiny_model(name).train(), tiny_traces(3)
    fitted = fit_clusters(model, traces, 4, progress=False)
    assert fitted.layer == 1
    scores = cluster_scores(model, traces, fitted, batch_size=2, progress=False)
    for trace, score in zip(traces, scores, strict=True):
        assert score.shape == (len(trace.nodes),) * 2
        assert np.isfinite(score).all()
        assert not np.triu(score).any()
        assert (score >= 0).all()
        assert score.max() > 0
    assert model.training
    (alone,) = cluster_scores(model, traces[1:2], fitted, progress=False)
    assert np.array_equal(alone, scores[1])


def test_clusters_survive_saving(tmp_path):
    rows, _ = planted(0)
    fitted = clusters_of([rows], 3, layer=2, pooling="last", seed=4)
    fitted.save(tmp_path / "clusters.json")
    read = StepClusters.load(tmp_path / "clusters")
    for name in ("mean", "scale", "centroids"):
        assert np.array_equal(getattr(read, name), getattr(fitted, name))
    assert (read.layer, read.pooling, read.steps, read.seed) == (2, "last", 60, 4)


def test_broken_files_name_the_cure(tmp_path):
    path = tmp_path / "clusters"
    with pytest.raises(FileNotFoundError, match="does not exist"):
        StepClusters.load(path)
    HAND.save(path)
    tensors = path.with_suffix(".safetensors")
    kept = tensors.read_bytes()
    tensors.write_bytes(kept[:-1] + b"?")
    with pytest.raises(ValueError, match="do not belong together"):
        StepClusters.load(path)
    tensors.write_bytes(kept)
    described = path.with_suffix(".json")
    described.write_text(json.dumps(json.loads(described.read_text()) | {"colour": "red"}))
    with pytest.raises(ValueError, match="fit the clusters again"):
        StepClusters.load(path)
    tensors.unlink()
    with pytest.raises(FileNotFoundError, match="missing"):
        StepClusters.load(path)


def test_impossible_fits_are_refused():
    rows, _ = planted(0)
    with pytest.raises(ValueError, match="no training traces"):
        clusters_of([], 3)
    with pytest.raises(ValueError, match="2 distinct steps"):
        clusters_of([np.repeat(rows[:2], 9, axis=0)], 3)
    with pytest.raises(ValueError, match="width 4"):
        HAND.assign(np.ones((2, 4)))
    with pytest.raises(ValueError, match="do not fit"):
        StepClusters(np.ones(2), np.ones(3), np.ones((4, 3)))


def test_embeddings_are_one_row_a_node():
    model, traces = tiny_model("llama"), tiny_traces(2)
    for trace, rows in zip(traces, step_embeddings(model, traces, progress=False), strict=True):
        assert rows.shape == (len(trace.nodes), 32)
