"""Persistent homology of step embeddings: how the cloud of a trace's steps hangs together.

Balls grow round every step embedding. H0: clusters, each born at radius 0 and dying where it merges
with another; H1: loops, born when the balls close a ring, dying when they fill it. A feature that
lives long is shape, one that dies at once is noise (Edelsbrunner, Letscher & Zomorodian 2002; on
reasoning traces "The Shape of Reasoning", arXiv 2510.20665). No edges are read: this asks what the
embeddings say alone. Birth and death are pairwise distances at which things happen, in the units of
the embeddings. Needs the package gudhi (the extra "topology"), the rest of the course does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist, squareform
from tqdm.auto import tqdm

from rg_helpers.features.feature import feature_table

NOISE = 1e-9  # lifetimes below this share of the largest distance are rounding errors

_SHAPE = "after arXiv 2510.20665"
_E = "embeddings"

TOPOLOGY_FEATURES = feature_table(
    "topology",
    [
        ("h0_total_persistence", "summed distances at which clusters of steps merge", _E, _SHAPE),
        ("h0_mean_persistence", "mean distance at which clusters of steps merge", _E, _SHAPE),
        ("h0_max_persistence", "distance at which the last two clusters merge", _E, _SHAPE),
        ("h0_persistence_entropy", "entropy of those distances' shares, in nats", _E, _SHAPE),
        ("h1_count", "loops the steps form", _E, _SHAPE),
        ("h1_total_persistence", "summed lifetimes of loops", _E, _SHAPE),
        ("h1_max_persistence", "lifetime of the clearest loop", _E, _SHAPE),
        ("h1_mean_birth", "mean distance at which a loop closes", _E, _SHAPE),
    ],
)


def topology_features(
    embeddings: Sequence[np.ndarray],
    trace_ids: Sequence[str] | None = None,
    metric: str = "euclidean",
    progress: bool = True,
) -> pd.DataFrame:
    """Return one row of `TOPOLOGY_FEATURES` per trace.

    `embeddings` holds one array (nodes, width) per trace; `metric` is a name that
    `scipy.spatial.distance.pdist` knows. One node has neither clusters to merge nor loops: all 0.
    Raises `ImportError` naming the cure without gudhi, `ValueError` for arrays that are no
    embeddings.
    """
    if trace_ids is not None and len(trace_ids) != len(embeddings):
        raise ValueError(f"{len(embeddings)} embeddings but {len(trace_ids)} trace ids")
    gudhi = _gudhi()
    bar = tqdm(embeddings, desc="persistence", unit="trace", disable=None if progress else True)
    rows = [_persistence(gudhi, cloud, number, metric) for number, cloud in enumerate(bar)]
    index = pd.Index(range(len(rows)) if trace_ids is None else trace_ids, name="trace_id")
    return pd.DataFrame(rows, index=index, columns=list(TOPOLOGY_FEATURES), dtype=np.float64)


def lifetimes(embeddings: np.ndarray, metric: str = "euclidean") -> tuple[np.ndarray, np.ndarray]:
    """Return the (birth, death) pairs of H0 and of H1 of one cloud, each (features, 2).

    Vietoris-Rips filtration up to triangles; the one cluster that never dies is left out.
    """
    return _lifetimes(_gudhi(), squareform(pdist(embeddings, metric)))


def _gudhi() -> ModuleType:
    try:
        import gudhi
    except ImportError as error:
        raise ImportError(
            "persistent homology needs the package gudhi, which is not installed: run `pip install "
            "gudhi`, or leave the set 'topology' out"
        ) from error
    return gudhi


def _lifetimes(gudhi: ModuleType, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tree = gudhi.RipsComplex(distance_matrix=distances).create_simplex_tree(max_dimension=1)
    tree.collapse_edges()  # drops edges that change no homology: far fewer triangles
    tree.expansion(2)
    tree.compute_persistence(persistence_dim_max=False)
    noise = NOISE * distances.max(initial=0)
    found = []
    for dimension in (0, 1):
        pairs = tree.persistence_intervals_in_dimension(dimension).reshape(-1, 2)
        pairs = pairs[np.isfinite(pairs[:, 1])]
        found.append(pairs[pairs[:, 1] - pairs[:, 0] > noise])
    return found[0], found[1]


def _persistence(gudhi: ModuleType, cloud: np.ndarray, number: int, metric: str) -> list[float]:
    cloud = np.asarray(cloud, dtype=np.float64)
    if cloud.ndim != 2 or len(cloud) == 0 or not np.isfinite(cloud).all():
        raise ValueError(
            f"embeddings {number} have shape {cloud.shape}: expected finite numbers of shape "
            "(nodes, width) with at least one node"
        )
    if len(cloud) == 1:
        return [0.0] * len(TOPOLOGY_FEATURES)
    clusters, loops = _lifetimes(gudhi, squareform(pdist(cloud, metric)))
    merged, lived = clusters[:, 1], loops[:, 1] - loops[:, 0]
    total = merged.sum()
    shares = merged / total if total > 0 else merged
    return [
        total,
        total / (len(cloud) - 1),
        merged.max(initial=0),
        -(shares * np.log(shares)).sum(),
        len(loops),
        lived.sum(),
        lived.max(initial=0),
        loops[:, 0].mean() if len(loops) else 0.0,
    ]
