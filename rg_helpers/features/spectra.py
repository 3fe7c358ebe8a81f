"""Spectra of a step graph, and the trap in them.

The trap: a step graph is strictly lower-triangular, and the eigenvalues of a triangular matrix are
its diagonal. Those of the weights W are therefore all 0, those of the in-degree Laplacian D - W are
the row sums, 1 or 0: whatever the steps depend on, the "spectrum" is the same for as many nodes
with sources. `triangular_spectra` shows it. A spectrum that says something needs a symmetric
matrix, at the price of forgetting directions: S = (W + W') / 2 and its normalised Laplacian
L = I - D^-1/2 S D^-1/2 (Chung 1997), whose eigenvalues lie in [0, 2] for every size. A node without
any weight has a zero row, as in NetworkX.

With step embeddings X (nodes, width) as signals on the graph, X^ = U'X are their graph Fourier
coefficients and e_m = |X^_m|^2 / |X|^2 the energy at eigenvalue m (Shuman et al. 2013). Four
diagnostics follow "Geometry of Reason" (Noel 2026, arXiv 2601.00791): Fiedler value, share of
energy above the middle of the spectrum, entropy of e, smoothness x'Lx; here on steps instead of
tokens and with the normalised Laplacian, so that sizes compare.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rg_helpers.features.dag_metrics import entropy
from rg_helpers.features.feature import feature_table
from rg_helpers.features.stacks import GraphStack, share

SMALLEST = 6
BEYOND = 4.0  # where eigenvalues of padding go: above the largest true one, which is at most 2
ZERO = 1e-9

_CHUNG = "Chung 1997"
_NOEL = "after Noel 2026, arXiv 2601.00791"
_S, _E = "symmetrised", "embeddings on symmetrised"

SPECTRA_FEATURES = feature_table(
    "spectra",
    [
        *(
            (f"laplacian_eigenvalue_{rank}", f"eigenvalue {rank} of the Laplacian, from below", _S,
             _CHUNG, "0 if the graph has fewer nodes")
            for rank in range(2, SMALLEST + 1)
        ),
        ("laplacian_largest", "largest eigenvalue: 2 if the graph splits in two sides", _S, _CHUNG),
        ("fiedler_value", "how hard the graph is to cut in two; 0 if it is in pieces", _S, _NOEL,
         "equals laplacian_eigenvalue_2"),
        ("spectral_gap_relative", "fiedler_value over the largest eigenvalue", _S, _CHUNG),
        ("spectral_pieces", "eigenvalues that are zero: pieces of the graph", _S, _CHUNG),
        ("spectral_entropy", "entropy of the eigenvalues' shares of their sum, over log nodes", _S,
         "after Passerini & Severini 2008, arXiv 0812.2597"),
        ("laplacian_high_share", "share of eigenvalues above 1", _S, _CHUNG),
        ("laplacian_variance", "mean squared distance of the eigenvalues from 1", _S, _CHUNG),
    ],
)  # fmt: skip

SIGNAL_FEATURES = feature_table(
    "signal",
    [
        ("signal_smoothness", "how little embeddings differ across edges: 1 - x'Lx / 2x'x", _E,
         _NOEL, "1: alike across every edge, 0: opposite"),
        ("signal_high_frequency_ratio", "share of embedding energy at eigenvalues above 1", _E,
         _NOEL),
        ("signal_entropy", "entropy of embedding energy over eigenvalues, over log nodes", _E,
         _NOEL, "not unique where eigenvalues coincide, as in very regular gold graphs"),
    ],
)  # fmt: skip


def triangular_spectra(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues of W and of D - W, to see that neither depends on the edges.

    `weights` is one matrix (nodes, nodes), strictly lower-triangular. The trap of this module: the
    first are all zero, the second the row sums, so neither sees what depends on what.
    """
    weights = np.asarray(weights, dtype=np.float64)
    laplacian = np.diag(weights.sum(1)) - weights
    return np.sort_complex(np.linalg.eigvals(weights)), np.sort_complex(
        np.linalg.eigvals(laplacian)
    )


def symmetrised_laplacian(stack: GraphStack) -> np.ndarray:
    """Return I - D^-1/2 S D^-1/2 of S = (W + W') / 2, float64 (graphs, nodes, nodes).

    Padding nodes get the diagonal entry `BEYOND`, so that their eigenvalues come last.
    """
    weights = stack.weights.astype(np.float64)
    symmetric = (weights + weights.transpose(0, 2, 1)) / 2
    degree = symmetric.sum(2)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    laplacian = -scale[:, :, None] * symmetric * scale[:, None, :]
    own = np.arange(stack.nodes)
    laplacian[:, own, own] = np.where(stack.present, degree > 0, BEYOND)
    return laplacian


def spectra(stack: GraphStack) -> dict[str, np.ndarray]:
    """Return every feature of `SPECTRA_FEATURES` as float64 (graphs,)."""
    values = np.clip(np.linalg.eigvalsh(symmetrised_laplacian(stack)), 0, None)
    nodes = stack.sizes
    real = np.arange(stack.nodes) < nodes[:, None]
    values = np.where(real, values, 0)
    shares = share(values, values.sum(1, keepdims=True))
    largest = values.max(1)
    padded = np.pad(values, ((0, 0), (0, SMALLEST)))
    metrics = {
        f"laplacian_eigenvalue_{rank}": padded[:, rank - 1] for rank in range(2, SMALLEST + 1)
    }
    return {
        **metrics,
        "laplacian_largest": largest,
        "fiedler_value": padded[:, 1],
        "spectral_gap_relative": share(padded[:, 1], largest),
        "spectral_pieces": ((values < ZERO) & real).sum(1).astype(np.float64),
        "spectral_entropy": share(entropy(shares), np.log(nodes)),
        "laplacian_high_share": ((values > 1 + ZERO) & real).sum(1) / nodes,
        "laplacian_variance": (np.where(real, values - 1, 0) ** 2).sum(1) / nodes,
    }


def signal_spectra(stack: GraphStack, embeddings: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return every feature of `SIGNAL_FEATURES` as float64 (graphs,).

    `embeddings` are those of the stack's graphs in its order, each (nodes, width). Their mean over
    the nodes is taken off first; a graph whose nodes are all alike then has no energy: all 0 but
    its smoothness, 1.
    """
    width = max(len(signal[0]) for signal in embeddings)
    signals = np.zeros((len(stack), stack.nodes, width))
    for row, signal in enumerate(embeddings):
        signal = np.asarray(signal, dtype=np.float64)
        signals[row, : len(signal), : signal.shape[1]] = signal - signal.mean(0)
    values, vectors = np.linalg.eigh(symmetrised_laplacian(stack))
    energy = ((vectors.transpose(0, 2, 1) @ signals) ** 2).sum(2)
    energy = energy * (np.arange(stack.nodes) < stack.sizes[:, None])
    total = energy.sum(1)
    shares = share(energy, total[:, None])
    return {
        "signal_smoothness": 1 - (shares * np.clip(values, 0, 2)).sum(1) / 2,
        "signal_high_frequency_ratio": (shares * (values > 1 + ZERO)).sum(1),
        "signal_entropy": share(entropy(shares), np.log(stack.sizes)),
    }
