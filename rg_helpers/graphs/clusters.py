"""Cluster graphs: steps sorted into kinds by their embeddings, and traces as walks over the kinds.

Steps are standardised and clustered by k-means, as in Topology of Reasoning (2025, arXiv
2506.05744), and a trace becomes the graph of the clusters it visits. Scaler and centroids are
fitted on *training* traces alone and then kept: fitted on all data, the clusters have seen the
traces that they are later judged on.

Two graphs come out. `transitions.transition_graph` is the walk: nodes are clusters, edges are moves
from one written step to the next. `cluster_graphs` are `StepGraph`s over the trace's own steps,
beside the other methods: an earlier step is a source as far as its cluster is near,

    score[i, j] = exp(-|c(i) - c(j)| / spread)   for j before i,

with c(i) the centroid of step i's cluster and `spread` the median distance between two centroids:
1 within a cluster. Such an edge says "a step of the same sort", which is not "follows from".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from rg_helpers.artefacts import atomic_path, read_json, sha256_of, write_json
from rg_helpers.graphs.step_embeddings import (
    Encoder,
    is_language_model,
    middle_layer,
    step_embeddings,
)
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.graphs.step_states import Pooling
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CLUSTERS = 16
STARTS = 10


@dataclass(frozen=True, eq=False)
class StepClusters:
    """A scaler and centroids, fitted once on training traces.

    `mean` and `scale` are (width,), `centroids` (clusters, width) in standardised units, all
    float32. `layer` and `pooling` say which states were clustered (None: a sentence model's
    embeddings), `steps` how many rows were fitted on, and `seed` makes the fit repeatable.
    """

    mean: np.ndarray
    scale: np.ndarray
    centroids: np.ndarray
    layer: int | None = None
    pooling: str = "mean"
    steps: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("mean", "scale", "centroids"):
            array = np.array(getattr(self, name), dtype=np.float32)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        width = self.centroids.shape[-1]
        if self.centroids.ndim != 2 or self.mean.shape != (width,) or self.scale.shape != (width,):
            raise ValueError(
                f"centroids {self.centroids.shape}, mean {self.mean.shape} and scale "
                f"{self.scale.shape} do not fit: expected (clusters, width), (width,), (width,)"
            )
        if not (np.isfinite(self.centroids).all() and (self.scale > 0).all()):
            raise ValueError("centroids must be finite and scales above zero: fit them again")

    def __len__(self) -> int:
        return len(self.centroids)

    @cached_property
    def distances(self) -> np.ndarray:
        """Euclidean distance between centroids, in standardised units: float64 (k, k)."""
        centroids = self.centroids.astype(np.float64)
        return np.linalg.norm(centroids[:, None] - centroids[None], axis=-1)

    @cached_property
    def spread(self) -> float:
        """Median distance between two different centroids (1 if there is only one)."""
        if len(self) < 2:
            return 1.0
        return float(np.median(self.distances[np.triu_indices(len(self), k=1)])) or 1.0

    def standardise(self, embeddings: np.ndarray) -> np.ndarray:
        """Bring embeddings (..., width) to the units of the centroids, as float32."""
        if embeddings.shape[-1] != len(self.mean):
            raise ValueError(
                f"embeddings of width {embeddings.shape[-1]}, but these clusters were fitted on "
                f"width {len(self.mean)}: use the same model, layer and pooling"
            )
        return ((embeddings - self.mean) / self.scale).astype(np.float32)

    def assign(self, embeddings: np.ndarray) -> np.ndarray:
        """Return the nearest cluster of each row of embeddings (rows, width): int64 (rows,)."""
        rows = self.standardise(embeddings).astype(np.float64)
        centroids = self.centroids.astype(np.float64)
        # |r - c|^2 without |r|^2, which is the same for every c.
        return np.argmin((centroids**2).sum(1) - 2 * rows @ centroids.T, axis=1)

    def save(self, path: str | Path) -> Path:
        """Write `<path>.safetensors` and, last and with the other's hash, `<path>.json`."""
        stem = _stem(path)
        blob = save_tensors(
            {name: np.array(getattr(self, name)) for name in ("mean", "scale", "centroids")}
        )
        with atomic_path(stem.with_name(stem.name + ".safetensors")) as temporary:
            temporary.write_bytes(blob)
        described: dict[str, Any] = {"tensors_sha256": sha256_of(blob)}
        described |= {name: getattr(self, name) for name in ("layer", "pooling", "steps", "seed")}
        return write_json(stem.with_name(stem.name + ".json"), described)

    @staticmethod
    def load(path: str | Path) -> StepClusters:
        """Read what `save` wrote; every fault names the file and the cure."""
        stem = _stem(path)
        tensors = stem.with_name(stem.name + ".safetensors")
        described = read_json(stem.with_name(stem.name + ".json"))
        cure = "delete both files and fit the clusters again"
        if not tensors.is_file():
            raise FileNotFoundError(f"{tensors} is missing beside its .json: {cure}")
        blob = tensors.read_bytes()
        try:
            if described.pop("tensors_sha256") != sha256_of(blob):
                raise ValueError(f"{tensors} and its .json do not belong together: {cure}")
            return StepClusters(**load_tensors(blob), **described)
        except (KeyError, TypeError, AttributeError, SafetensorError) as error:
            raise ValueError(f"{tensors} holds no step clusters ({error}): {cure}") from error


def fit_clusters(
    source: PreTrainedModel | str | Path | Encoder,
    fit: Sequence[Trace],
    clusters: int = CLUSTERS,
    *,
    layer: int | None = None,
    pooling: Pooling = "mean",
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> StepClusters:
    """Fit scaler and centroids on all nodes of the training traces `fit`.

    `source`, `layer` and `pooling` are those of `step_embeddings`. Raises `ValueError` if there are
    fewer distinct embeddings than `clusters`.
    """
    if not is_language_model(source):
        layer = None
    elif layer is None:
        layer = middle_layer(source)
    embeddings = step_embeddings(
        source, fit, layer=layer, pooling=pooling, batch_size=batch_size, progress=progress
    )
    return clusters_of(embeddings, clusters, layer=layer, pooling=pooling, seed=seed)


def clusters_of(
    embeddings: Sequence[np.ndarray],
    clusters: int = CLUSTERS,
    *,
    layer: int | None = None,
    pooling: Pooling = "mean",
    seed: int = 0,
) -> StepClusters:
    """Fit scaler and centroids on embeddings (nodes, width) of training traces.

    k-means by Lloyd's algorithm from `STARTS` k-means++ starts, the best kept. A coordinate that
    does not vary is left unscaled. Clusters are numbered by size, the largest first.
    """
    from sklearn.cluster import KMeans

    if not len(embeddings):
        raise ValueError("no training traces to fit clusters on: give at least one")
    rows = np.concatenate(list(embeddings)).astype(np.float64)
    distinct = len(np.unique(rows, axis=0))
    if not 1 <= clusters <= distinct:
        raise ValueError(
            f"clusters={clusters}, but the training traces have {distinct} distinct steps: choose "
            "a number from 1 to that, or give more traces"
        )
    deviation = rows.std(axis=0)
    scale = np.where(deviation > 1e-12, deviation, 1.0)
    mean = rows.mean(axis=0)
    found = KMeans(clusters, n_init=STARTS, random_state=seed).fit((rows - mean) / scale)
    by_size = np.argsort(-np.bincount(found.labels_, minlength=clusters), kind="stable")
    return StepClusters(
        mean, scale, found.cluster_centers_[by_size], layer, pooling, len(rows), seed
    )


def assign_steps(
    source: PreTrainedModel | str | Path | Encoder,
    traces: Sequence[Trace],
    fitted: StepClusters,
    *,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return the cluster of every node of every trace: int64 (nodes,)."""
    embeddings = step_embeddings(
        source,
        traces,
        layer=fitted.layer,
        pooling=fitted.pooling,
        batch_size=batch_size,
        progress=progress,
    )
    return [fitted.assign(rows) for rows in embeddings]


def cluster_scores(
    source: PreTrainedModel | str | Path | Encoder,
    traces: Sequence[Trace],
    fitted: StepClusters,
    *,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return how near earlier steps' clusters are: float32 (nodes, nodes), row = target.

    `source` must be the one that `fitted` was fitted on. Zero on and above the diagonal.
    """
    nearness = np.exp(-fitted.distances / fitted.spread).astype(np.float32)
    labels = assign_steps(source, traces, fitted, batch_size=batch_size, progress=progress)
    return [np.tril(nearness[np.ix_(path, path)], k=-1) for path in labels]


def cluster_graphs(
    source: PreTrainedModel | str | Path | Encoder,
    traces: Sequence[Trace],
    fitted: StepClusters,
    *,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[StepGraph]:
    """Draw the cluster graph over each trace's own steps; arguments as for `cluster_scores`."""
    scores = cluster_scores(source, traces, fitted, batch_size=batch_size, progress=progress)
    where = "sentence embeddings" if fitted.layer is None else f"state {fitted.layer}"
    choice = f"{len(fitted)} clusters of {where}, fitted on {fitted.steps} steps"
    return [
        StepGraph(
            normalise_rows(score), trace.kinds, trace.texts, "cluster", choice, trace.trace_id
        )
        for trace, score in zip(traces, scores, strict=True)
    ]


def _stem(path: str | Path) -> Path:
    path = Path(path)
    return path.with_suffix("") if path.suffix in (".json", ".safetensors") else path
