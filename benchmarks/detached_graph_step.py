"""The original study's training step, rebuilt as the baseline of `training_step.py`.

What its notebook does for every batch (github.com/kultattiana/reasoning_graphs_for_llm_refinement,
`Fine_tuning.ipynb`), written anew: eager attention of the last layer, detached and moved to NumPy;
the 20 tokens that receive most attention as nodes, the two strongest edges each; hidden states
through a random projection fitted anew for every trace; NetworkX; PyTorch Geometric; a GCN
that scores the graph and Weisfeiler-Lehman layers that embed it, both without gradient; a
cross-entropy for every trace, weighted by the score and then not used; and the spread of what is
embedded.
The loss is cross-entropy plus a number that no weight has a gradient of.

`every_head` goes the same way for all that graph terms here read: every head of every layer.
"""

from __future__ import annotations

import warnings
from typing import Any

import networkx
import numpy as np
import torch
from sklearn.random_projection import GaussianRandomProjection
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GCNConv, WLConvContinuous, global_max_pool, global_mean_pool
from transformers import PreTrainedModel

NODES = 20
STRONGEST = 2
WIDTH = 64
BUFFER = 64
SPREAD_FROM = 32  # embeddings in the buffer before their spread counts
BETA = 1.1


class DetachedGraphStep(nn.Module):
    """The graph half of the original's loss, with the state it keeps between steps."""

    def __init__(self, hidden: int, every_head: bool = False) -> None:
        super().__init__()
        self.every_head = every_head
        self.projected = hidden // 2  # 1536 -> 768 there
        self.first = GCNConv(self.projected, WIDTH)
        self.second = GCNConv(WIDTH, WIDTH)
        self.score = nn.Linear(WIDTH, 1)
        self.embed = WLConvContinuous()
        self.buffer: list[Tensor] = []
        self.requires_grad_(False).eval()

    def loss(self, model: PreTrainedModel, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return cross-entropy and graph loss of a batch as `GraphCollator` makes it: scalars."""
        former = model.config._attn_implementation
        model.set_attn_implementation("eager")
        try:
            outputs = model(
                input_ids=batch["input_ids"],
                labels=batch["labels"],
                output_attentions=True,
                output_hidden_states=True,
                use_cache=False,
            )
        finally:
            model.set_attn_implementation(former)
        states = outputs.hidden_states[-1].detach().float().cpu().numpy()
        if self.every_head:
            found = [a.detach().float().cpu().numpy() for a in outputs.attentions]
            maps = [head for layer in found for head in layer.transpose(1, 0, 2, 3)]
        else:
            maps = [outputs.attentions[-1].mean(1).detach().float().cpu().numpy()]
        spread = torch.zeros((), device=outputs.logits.device)
        for attention in maps:
            graphs = [token_graph(a, s, self.projected) for a, s in zip(attention, states)]
            data = Batch.from_data_list([graph_data(graph) for graph in graphs])
            spread = spread + self._graph_loss(data.to(outputs.logits.device), outputs, batch)
        return outputs.loss, spread / len(maps)

    @torch.no_grad()
    def _graph_loss(self, data: Batch, outputs: Any, batch: dict[str, Any]) -> Tensor:
        x = functional.relu(self.first(data.x, data.edge_index, data.edge_weight))
        x = self.second(x, data.edge_index, data.edge_weight)
        wrong = torch.sigmoid(self.score(global_mean_pool(x, data.batch)))[:, 0]
        for row, p_wrong in enumerate(wrong):  # weighted and then not used, as there
            losses = functional.cross_entropy(
                outputs.logits[row, :-1].float(), batch["labels"][row, 1:], reduction="none"
            )
            ((1 + BETA * p_wrong) * losses).mean()
        x = functional.relu(self.embed(data.x, data.edge_index, data.edge_weight))
        x = self.embed(x, data.edge_index, data.edge_weight)
        embeddings = torch.cat(
            [global_mean_pool(x, data.batch), global_max_pool(x, data.batch)], dim=1
        )
        self.buffer = [*self.buffer, *embeddings][-BUFFER:]
        if len(self.buffer) < SPREAD_FROM:
            return embeddings.new_zeros(())
        kept = functional.normalize(torch.stack(self.buffer), dim=-1)
        apart = torch.cdist(kept, kept) + 1e8 * torch.eye(len(kept), device=kept.device)
        return -torch.log(apart.min(1).values + 1e-8).mean().clamp(0.0, 10.0)


def token_graph(attention: np.ndarray, states: np.ndarray, width: int) -> networkx.DiGraph:
    """Return the graph of one trace: nodes are tokens, edges the strongest attention among them.

    attention: (tokens, tokens), row = target; states: (tokens, hidden); width: of node features.
    """
    chosen = np.sort(np.argsort(attention.sum(0))[-NODES:])
    among = attention[np.ix_(chosen, chosen)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        projection = GaussianRandomProjection(n_components=width, random_state=42)
        features = projection.fit_transform(states)
    graph = networkx.DiGraph()
    for token in chosen:
        graph.add_node(int(token), embedding=features[token])
    nearest = np.argpartition(-among, min(STRONGEST, len(chosen) - 1), axis=1)[:, : STRONGEST + 1]
    for target, sources in enumerate(nearest):
        for source in sources:
            if source != target and among[target, source] > 0:
                weight = float(among[target, source])
                graph.add_edge(int(chosen[source]), int(chosen[target]), weight=weight)
    return graph


def graph_data(graph: networkx.DiGraph) -> Data:
    """Return a NetworkX graph as PyTorch Geometric wants it."""
    place = {node: index for index, node in enumerate(graph.nodes)}
    edges = [(place[u], place[v], weight) for u, v, weight in graph.edges(data="weight")]
    pairs = torch.tensor([edge[:2] for edge in edges], dtype=torch.long).reshape(-1, 2)
    return Data(
        x=torch.tensor(np.array([graph.nodes[n]["embedding"] for n in graph]), dtype=torch.float),
        edge_index=pairs.t().contiguous(),
        edge_weight=torch.tensor([edge[2] for edge in edges], dtype=torch.float),
    )
