"""A graph neural network on step graphs: message passing along weighted edges, then one risk.

GCN (Kipf & Welling 2017), GIN with edge features (Xu et al. 2019, Hu et al. 2020) and GATv2 (Brody
et al. 2022) from PyTorch Geometric. Every layer passes messages from source to target, the way
support flows, and back, with weights of its own for each direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import nn
from torch.nn import functional
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GATv2Conv, GCNConv, GINEConv, global_max_pool, global_mean_pool

from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.traces import KINDS

Architecture = Literal["gcn", "gin", "gatv2"]
ARCHITECTURES: tuple[Architecture, ...] = ("gcn", "gin", "gatv2")


@dataclass(frozen=True, eq=False)
class GraphInput:
    """One graph for the network: node features (nodes, columns) float32 and weights (nodes, nodes).

    Row = target, column = source, as in `StepGraph`.
    """

    nodes: np.ndarray
    weights: np.ndarray


def graph_input(
    graph: StepGraph, node_features: np.ndarray | None = None, least: float = 0.05
) -> GraphInput:
    """Return a step graph with the features that every graph has, and more where given.

    The features are the node's kind (one-hot), its place (0 to 1), the largest and the entropy
    of its incoming weights, and the weight it passes on; `node_features` (nodes, columns) are
    appended. Edges below `least` are dropped, without normalising again.
    """
    weights, nodes = np.array(graph.weights), len(graph)
    place = np.arange(nodes) / max(1, nodes - 1)
    logs = np.log(weights, out=np.zeros_like(weights), where=weights > 0)
    own = np.column_stack(
        [
            np.array([[kind == name for name in KINDS] for kind in graph.kinds], np.float32),
            place,
            weights.max(axis=1),
            -(weights * logs).sum(axis=1),
            weights.sum(axis=0),
        ]
    )
    if node_features is not None:
        if len(node_features) != nodes:
            raise ValueError(
                f"{len(node_features)} rows of node features for the {nodes} nodes of trace "
                f"{graph.trace_id!r}: give one row a node"
            )
        own = np.column_stack([own, node_features])
    return GraphInput(own.astype(np.float32), np.where(weights >= least, weights, 0))


class GraphNetworkClassifier(ClassifierMixin, BaseEstimator):
    """A scikit-learn classifier of `GraphInput`s, so that the protocol treats it like any other.

    Node features are standardised on the training graphs. Training is full-precision AdamW for a
    fixed number of epochs (nothing is chosen on held-out graphs) and repeats exactly with a seed.
    """

    def __init__(
        self,
        architecture: Architecture = "gcn",
        width: int = 32,
        layers: int = 2,
        epochs: int = 30,
        batch_size: int = 64,
        learning_rate: float = 5e-3,
        weight_decay: float = 1e-2,
        dropout: float = 0.2,
        seed: int = 0,
    ) -> None:
        self.architecture = architecture
        self.width = width
        self.layers = layers
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.seed = seed

    def fit(self, graphs: Sequence[GraphInput], wrong: np.ndarray) -> GraphNetworkClassifier:
        """Train on graphs and their labels (True: the trace is wrong)."""
        if self.architecture not in ARCHITECTURES:
            raise ValueError(
                f"unknown architecture {self.architecture!r}: use one of {', '.join(ARCHITECTURES)}"
            )
        rows = np.concatenate([graph.nodes for graph in graphs])
        self.classes_ = np.array([False, True])
        self.mean_, self.scale_ = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
        data = [self._data(graph, label) for graph, label in zip(graphs, wrong, strict=True)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network_ = GraphNetwork(
                self.architecture, rows.shape[1], self.width, self.layers, self.dropout
            )
            optimizer = torch.optim.AdamW(
                self.network_.parameters(), self.learning_rate, weight_decay=self.weight_decay
            )
            self.network_.train()
            for _ in range(self.epochs):
                order = torch.randperm(len(data)).tolist()
                for first in range(0, len(order), self.batch_size):
                    batch = Batch.from_data_list(
                        [data[i] for i in order[first : first + self.batch_size]]
                    )
                    loss = functional.binary_cross_entropy_with_logits(
                        self.network_(batch), batch.y
                    )
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
        return self

    def predict_proba(self, graphs: Sequence[GraphInput]) -> np.ndarray:
        """Return the probabilities of (right, wrong): float64 (graphs, 2)."""
        self.network_.eval()
        found = []
        with torch.no_grad():
            for first in range(0, len(graphs), 256):
                batch = Batch.from_data_list([self._data(g) for g in graphs[first : first + 256]])
                found.append(torch.sigmoid(self.network_(batch)).double().numpy())
        risk = np.concatenate(found)
        return np.column_stack([1 - risk, risk])

    def predict(self, graphs: Sequence[GraphInput]) -> np.ndarray:
        """Return True where a trace is more likely wrong than right."""
        return self.predict_proba(graphs)[:, 1] >= 0.5

    def _data(self, graph: GraphInput, label: bool = False) -> Data:
        target, source = np.nonzero(graph.weights)
        weight = graph.weights[target, source]
        return Data(
            x=torch.from_numpy(((graph.nodes - self.mean_) / self.scale_).astype(np.float32)),
            edge_index=torch.from_numpy(np.stack([source, target])),
            edge_attr=torch.from_numpy(weight.astype(np.float32))[:, None],
            y=torch.tensor([float(label)]),
        )


class GraphNetwork(nn.Module):
    """Message passing in both directions, residual, pooled by mean and maximum to one logit."""

    def __init__(
        self, architecture: Architecture, columns: int, width: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.enter = nn.Linear(columns, width)
        self.forth = nn.ModuleList(_convolution(architecture, width) for _ in range(layers))
        self.back = nn.ModuleList(_convolution(architecture, width) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.leave = nn.Linear(2 * width, 1)
        self.dropout = dropout

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return one logit a graph: (graphs,)."""
        states = functional.relu(self.enter(batch.x))
        for forth, back, norm in zip(self.forth, self.back, self.norms, strict=True):
            passed = _pass(forth, states, batch.edge_index, batch.edge_attr)
            passed = passed + _pass(back, states, batch.edge_index.flip(0), batch.edge_attr)
            passed = functional.dropout(functional.relu(norm(passed)), self.dropout, self.training)
            states = states + passed
        pooled = torch.cat(
            [global_mean_pool(states, batch.batch), global_max_pool(states, batch.batch)], dim=1
        )
        return self.leave(pooled)[:, 0]


def _convolution(architecture: Architecture, width: int) -> nn.Module:
    if architecture == "gcn":
        return GCNConv(width, width)
    if architecture == "gin":
        inner = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        return GINEConv(inner, edge_dim=1)
    return GATv2Conv(width, width // 4, heads=4, edge_dim=1)


def _pass(
    convolution: nn.Module, states: torch.Tensor, edges: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    if isinstance(convolution, GCNConv):
        return convolution(states, edges, edge_weight=weights[:, 0])
    return convolution(states, edges, edge_attr=weights)
