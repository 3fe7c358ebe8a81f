"""The metrics of the original study, batched: equal to NetworkX, without its Python loops.

The original computed about fifty NetworkX metrics of each graph of tokens. Its names are kept;
`networkx_reference` is the plain version, and equality to 1e-6 is tested on random DAGs. A drawn
graph is dense, and on a dense graph nearly all of these are constants, so they read the edges
that `top_k` or `threshold` leaves; most of them also drop the directions ("undirected" below).

Where NetworkX raises an error or returns NaN the value here is 0: path metrics, eigenvector and
degree centrality of a single node, assortativity where all degrees are equal, reciprocity without
edges. Path metrics and eigenvector centrality of a graph in pieces are those of its largest piece
(of several, the one with the earliest node), as in the original.
"""

from __future__ import annotations

import numpy as np

from rg_helpers.features.centralities import (
    core_numbers,
    eigenvector_centrality,
    katz_attenuation,
    katz_centrality,
    pagerank,
)
from rg_helpers.features.feature import feature_table
from rg_helpers.features.shortest_paths import (
    HopPaths,
    hop_betweenness,
    hop_paths,
    lengths_of_weights,
    weighted_betweenness,
)
from rg_helpers.features.stacks import GraphStack, share

__all__ = ["NETWORKX_FEATURES", "katz_attenuation", "lengths_of_weights", "networkx_metrics"]

_STUDY = "original study"
_ADDED = "NetworkX"
_U, _D, _W = "undirected", "directed", "weighted"

NETWORKX_FEATURES = feature_table(
    "networkx",
    [
        ("n_nodes", "premises, question, steps and answer", _U, _STUDY),
        ("n_edges", "kept edges", _U, _STUDY),
        ("density", "kept edges over possible pairs", _U, _STUDY),
        ("edge_to_node_ratio", "kept edges a node", _U, _STUDY),
        ("is_connected", "1 if all nodes hang together", _U, _STUDY),
        ("is_strongly_connected", "1 if every node can be reached from every other", _D, _STUDY,
         "constant on a DAG of two or more nodes: 0"),
        ("n_connected_components", "pieces the graph falls into", _U, _STUDY),
        ("n_strongly_connected", "pieces within which one can go round", _D, _STUDY,
         "constant on a DAG given its size: equals n_nodes"),
        ("largest_component_size", "nodes in the largest piece", _U, _STUDY),
        ("has_loop", "1 if two nodes are joined in two ways", _U, _STUDY),
        ("loop_count", "independent loops: edges - nodes + pieces", _U, _STUDY),
        ("n_directed_cycles", "ways to come back to a node along the edges", _D, _ADDED,
         "constant on a DAG: 0"),
        ("reciprocity", "share of edges that also run backwards", _D, _ADDED,
         "constant on a DAG: 0"),
        ("avg_degree", "mean number of neighbours", _U, _STUDY, "twice edge_to_node_ratio"),
        ("median_degree", "median number of neighbours", _U, _STUDY),
        ("std_degree", "spread of the number of neighbours", _U, _STUDY),
        ("min_degree", "neighbours of the loneliest node", _U, _STUDY),
        ("max_degree", "neighbours of the greatest hub", _U, _STUDY),
        ("degree_variance", "spread of the number of neighbours, squared", _U, _STUDY),
        ("avg_in_degree", "mean number of sources", _D, _STUDY, "equals edge_to_node_ratio"),
        ("avg_out_degree", "mean number of users", _D, _STUDY, "equals edge_to_node_ratio"),
        ("max_in_degree", "most sources of a node", _D, _ADDED, "at most top_k"),
        ("max_out_degree", "most users of a node", _D, _ADDED),
        ("degree_assortativity", "do hubs neighbour hubs? correlation along edges", _U, _STUDY),
        ("degree_entropy", "entropy of the number of neighbours, in bits", _U, _STUDY),
        ("avg_degree_centrality", "mean share of the others a node touches", _U, _STUDY,
         "equals density"),
        ("max_degree_centrality", "share of the others the greatest hub touches", _U, _STUDY),
        ("std_degree_centrality", "spread of that share", _U, _STUDY),
        ("avg_in_degree_centrality", "mean share of the others that are sources", _D, _STUDY,
         "half of density"),
        ("avg_out_degree_centrality", "mean share of the others that are users", _D, _STUDY,
         "half of density"),
        ("avg_clustering", "mean share of a node's neighbours that are joined too", _U, _STUDY),
        ("transitivity", "share of open triples that close to triangles", _U, _STUDY),
        ("n_triangles", "triples of nodes all joined", _U, _STUDY),
        ("diameter", "longest of all shortest paths, in edges; largest piece", _U, _STUDY),
        ("radius", "distance of the most central node to its farthest; largest piece", _U, _STUDY),
        ("avg_path_length", "mean distance of two nodes, in edges; largest piece", _U, _STUDY),
        ("avg_eccentricity", "mean distance to the farthest node; largest piece", _U, _STUDY),
        ("global_efficiency", "mean of one over distance, 0 where there is no path", _U, _ADDED),
        ("small_world_index", "clustering and path length against a random graph's", _U, _STUDY,
         "the random graph by formula (Watts & Strogatz 1998), not simulated; 0 without triangles"),
        ("avg_core_number", "mean core number: the densest k-core a node belongs to", _U, _ADDED),
        ("max_core_number", "the densest k-core there is", _U, _ADDED),
        ("avg_betweenness", "mean share of shortest paths through a node", _U, _STUDY),
        ("max_betweenness", "share of shortest paths through the busiest node", _U, _STUDY),
        ("std_betweenness", "spread of that share", _U, _STUDY),
        ("avg_betweenness_weighted", "the same mean where strong edges are short", _W, _STUDY,
         "undirected; length 100 / weight, rounded; the original used the weight as length"),
        ("max_betweenness_weighted", "the same maximum where strong edges are short", _W, _STUDY,
         "undirected; length 100 / weight, rounded; the original used the weight as length"),
        ("avg_closeness", "mean of one over the mean distance to the others", _U, _STUDY,
         "in pieces scaled by the share reached; the original changed to another measure there"),
        ("max_closeness", "closeness of the most central node", _U, _STUDY),
        ("std_closeness", "spread of closeness", _U, _ADDED),
        ("avg_eigenvector", "mean centrality where neighbours of central nodes are central", _U,
         _STUDY),
        ("max_eigenvector", "the largest such centrality", _U, _STUDY),
        ("std_eigenvector", "spread of such centrality", _U, _ADDED),
        ("avg_katz", "mean centrality by all walks, longer ones counting less", _U, _STUDY,
         "attenuation 0.1, or 1 / (max_degree + 1) where that is less"),
        ("max_katz", "the largest such centrality", _U, _STUDY),
        ("std_katz", "spread of such centrality", _U, _ADDED),
        ("max_pagerank", "share of a random surfer's time on the most visited node", _W, _ADDED,
         "directed, source -> target; the mean is one over n_nodes"),
        ("std_pagerank", "spread of that share", _W, _ADDED, "directed, source -> target"),
    ],
)  # fmt: skip


def networkx_metrics(stack: GraphStack) -> dict[str, np.ndarray]:
    """Return every feature of `NETWORKX_FEATURES` as float64 (graphs,)."""
    adjacency = stack.undirected
    found = hop_paths(adjacency)
    members, components = _largest_component(found, stack.present)
    metrics = {
        **_sizes(stack, members, components),
        **_degrees(stack),
        **_triangles(stack),
        **_paths(stack, found, members),
        **_centralities(stack, found, members),
    }
    degree, nodes = metrics["avg_degree"], np.maximum(metrics["n_nodes"], 2)
    expected_clustering = degree / (nodes - 1)
    logarithm = np.log(np.maximum(degree, 1))
    expected_path = share(np.log(nodes), logarithm)
    clustering = share(metrics["avg_clustering"], expected_clustering)
    index = share(clustering, share(metrics["avg_path_length"], expected_path))
    metrics["small_world_index"] = np.where(logarithm > 0, index, 0)
    return {name: np.asarray(metrics[name], dtype=np.float64) for name in NETWORKX_FEATURES}


def _largest_component(found: HopPaths, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the members (graphs, nodes) of each graph's largest piece and the number of pieces."""
    connected = np.isfinite(found.hops)
    size = connected.sum(2) * present
    members = connected[np.arange(len(size)), size.argmax(1)]
    first = connected.argmax(2) == np.arange(size.shape[1])
    return members, (first & present).sum(1)


def _sizes(stack: GraphStack, members: np.ndarray, components: np.ndarray) -> dict[str, np.ndarray]:
    nodes = stack.sizes.astype(np.float64)
    edges = stack.edges.sum((1, 2)).astype(np.float64)
    loops = edges - nodes + components
    cores = core_numbers(stack.undirected)
    nothing = np.zeros(len(stack))
    return {
        "n_nodes": nodes,
        "n_edges": edges,
        "density": share(2 * edges, nodes * (nodes - 1)),
        "edge_to_node_ratio": edges / nodes,
        "is_connected": components == 1,
        "is_strongly_connected": nodes == 1,
        "n_connected_components": components,
        "n_strongly_connected": nodes,
        "largest_component_size": members.sum(1),
        "has_loop": loops > 0,
        "loop_count": loops,
        "n_directed_cycles": nothing,
        "reciprocity": nothing,
        "avg_core_number": stack.mean(cores),
        "max_core_number": stack.maximum(cores),
    }


def _degrees(stack: GraphStack) -> dict[str, np.ndarray]:
    adjacency, nodes = stack.undirected, stack.sizes
    degree = adjacency.sum(2)
    inward, outward = stack.edges.sum(2), stack.edges.sum(1)
    ordered = np.sort(np.where(stack.present, degree, np.inf), axis=1)
    rows = np.arange(len(stack))
    middle = (ordered[rows, (nodes - 1) // 2] + ordered[rows, nodes // 2]) / 2
    counts = (degree[:, :, None] == np.arange(stack.nodes)) & stack.present[:, :, None]
    shares = counts.sum(1) / nodes[:, None]
    logarithms = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    deviation, others = stack.deviation(degree), nodes - 1
    mean_in = stack.mean(inward)
    return {
        "avg_degree": stack.mean(degree),
        "median_degree": middle,
        "std_degree": deviation,
        "min_degree": stack.minimum(degree),
        "max_degree": stack.maximum(degree),
        "degree_variance": deviation**2,
        "avg_in_degree": mean_in,
        "avg_out_degree": stack.mean(outward),
        "max_in_degree": stack.maximum(inward),
        "max_out_degree": stack.maximum(outward),
        "degree_assortativity": _assortativity(adjacency, degree),
        "degree_entropy": -(shares * logarithms).sum(1),
        "avg_degree_centrality": share(stack.mean(degree), others),
        "max_degree_centrality": share(stack.maximum(degree), others),
        "std_degree_centrality": share(deviation, others),
        "avg_in_degree_centrality": share(mean_in, others),
        "avg_out_degree_centrality": share(stack.mean(outward), others),
    }


def _assortativity(adjacency: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """Return Newman's (2003) correlation of the degrees at both ends of an edge, 0 if undefined.

    All sums are whole numbers, so equal degrees give a denominator of exactly zero.
    """
    ends = degree.sum(1)
    product = (degree * (adjacency @ degree[:, :, None])[:, :, 0]).sum(1)
    first, second = (degree**2).sum(1), (degree**3).sum(1)
    return share(ends * product - first**2, ends * second - first**2)


def _triangles(stack: GraphStack) -> dict[str, np.ndarray]:
    adjacency = stack.undirected
    degree = adjacency.sum(2)
    closed = ((adjacency @ adjacency) * adjacency).sum(2)  # each triangle of a node twice
    triples = degree * (degree - 1)
    return {
        "avg_clustering": stack.mean(share(closed, triples)),
        "transitivity": share(closed.sum(1), triples.sum(1)),
        "n_triangles": np.rint(closed.sum(1) / 6),
    }


def _paths(stack: GraphStack, found: HopPaths, members: np.ndarray) -> dict[str, np.ndarray]:
    count = members.sum(1)
    inside = members[:, :, None] & members[:, None, :]
    hops = np.where(inside, found.hops, 0)
    farthest = hops.max(2)
    inverse = np.divide(1, found.hops, out=np.zeros_like(found.hops), where=found.hops > 0)
    return {
        "diameter": farthest.max(1),
        "radius": np.where(members, farthest, np.inf).min(1),
        "avg_path_length": share(hops.sum((1, 2)), count * (count - 1)),
        "avg_eccentricity": stack.mean(farthest, members),
        "global_efficiency": share(inverse.sum((1, 2)), stack.sizes * (stack.sizes - 1)),
    }


def _centralities(stack: GraphStack, found: HopPaths, members: np.ndarray) -> dict[str, np.ndarray]:
    adjacency, present = stack.undirected, stack.present
    others = stack.sizes[:, None] - 1
    pairs = others * (others - 1)
    reached = np.isfinite(found.hops)
    distance = np.where(reached, found.hops, 0).sum(2)
    touched = reached.sum(2) - 1
    values = {
        "betweenness": share(hop_betweenness(found, adjacency), pairs),
        "betweenness_weighted": share(weighted_betweenness(stack.kept), pairs),
        "closeness": share(touched, distance) * share(touched, others),
        "eigenvector": eigenvector_centrality(adjacency, members),
        "katz": katz_centrality(adjacency, present),
        "pagerank": pagerank(stack.kept, present),
    }
    statistics = (("avg", stack.mean), ("max", stack.maximum), ("std", stack.deviation))
    return {
        f"{statistic}_{name}": measure(value)
        for name, value in values.items()
        for statistic, measure in statistics
        if f"{statistic}_{name}" in NETWORKX_FEATURES
    }
