"""The plain version of the NetworkX metrics: one graph at a time, NetworkX's own functions.

This is what the batched `networkx_metrics` must equal, and what its speed is measured against.
Readable first: no metric here is computed in any cleverer way than NetworkX offers it.
"""

from __future__ import annotations

import math

import networkx
import numpy as np

from rg_helpers.features.networkx_metrics import katz_attenuation, lengths_of_weights
from rg_helpers.graphs.step_graph import StepGraph

SMALL = 3  # ARPACK, below eigenvector_centrality_numpy, needs at least three nodes


def networkx_reference(
    graph: StepGraph, top_k: int | None = 3, threshold: float | None = None
) -> dict[str, float]:
    """Return the metrics of one graph by name; see `networkx_metrics` for what each means."""
    if threshold is not None:
        graph = graph.threshold(threshold)
    if top_k is not None:
        graph = graph.top_k(top_k)
    directed = graph.to_networkx()
    for _, _, edge in directed.edges(data=True):
        edge["length"] = int(lengths_of_weights(np.float32(edge["weight"])))
    undirected = directed.to_undirected()
    metrics = {
        **_sizes(directed, undirected),
        **_degrees(directed, undirected),
        **_triangles(undirected),
        **_paths(undirected),
        **_centralities(directed, undirected),
    }
    metrics["small_world_index"] = _small_world_index(
        metrics["n_nodes"],
        metrics["avg_degree"],
        metrics["avg_clustering"],
        metrics["avg_path_length"],
    )
    return metrics


def _sizes(directed: networkx.DiGraph, undirected: networkx.Graph) -> dict[str, float]:
    nodes, edges = undirected.number_of_nodes(), undirected.number_of_edges()
    components = list(networkx.connected_components(undirected))
    loops = edges - nodes + len(components)
    cores = list(networkx.core_number(undirected).values())
    return {
        "n_nodes": nodes,
        "n_edges": edges,
        "density": networkx.density(undirected),
        "edge_to_node_ratio": edges / nodes,
        "is_connected": int(networkx.is_connected(undirected)),
        "is_strongly_connected": int(networkx.is_strongly_connected(directed)),
        "n_connected_components": len(components),
        "n_strongly_connected": networkx.number_strongly_connected_components(directed),
        "largest_component_size": max(len(component) for component in components),
        "has_loop": int(not networkx.is_forest(undirected)),
        "loop_count": loops,
        "n_directed_cycles": sum(1 for _ in networkx.simple_cycles(directed)),
        "reciprocity": networkx.overall_reciprocity(directed) if edges else 0.0,
        "avg_core_number": np.mean(cores),
        "max_core_number": max(cores),
    }


def _degrees(directed: networkx.DiGraph, undirected: networkx.Graph) -> dict[str, float]:
    nodes, edges = undirected.number_of_nodes(), undirected.number_of_edges()
    degrees = [degree for _, degree in undirected.degree()]
    shares = np.bincount(degrees) / nodes
    shares = shares[shares > 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        mixing = networkx.degree_assortativity_coefficient(undirected) if edges else math.nan
    centrality = list(networkx.degree_centrality(undirected).values())
    if nodes == 1:
        centrality = [0.0]  # NetworkX says 1, which would make a lone node the most central
    inward = list(networkx.in_degree_centrality(directed).values()) if nodes > 1 else [0.0]
    outward = list(networkx.out_degree_centrality(directed).values()) if nodes > 1 else [0.0]
    return {
        "avg_degree": np.mean(degrees),
        "median_degree": np.median(degrees),
        "std_degree": np.std(degrees),
        "min_degree": min(degrees),
        "max_degree": max(degrees),
        "degree_variance": np.var(degrees),
        "avg_in_degree": np.mean([degree for _, degree in directed.in_degree()]),
        "avg_out_degree": np.mean([degree for _, degree in directed.out_degree()]),
        "max_in_degree": max(degree for _, degree in directed.in_degree()),
        "max_out_degree": max(degree for _, degree in directed.out_degree()),
        "degree_assortativity": 0.0 if math.isnan(mixing) else mixing,
        "degree_entropy": -np.sum(shares * np.log2(shares)),
        "avg_degree_centrality": np.mean(centrality),
        "max_degree_centrality": max(centrality),
        "std_degree_centrality": np.std(centrality),
        "avg_in_degree_centrality": np.mean(inward),
        "avg_out_degree_centrality": np.mean(outward),
    }


def _triangles(undirected: networkx.Graph) -> dict[str, float]:
    return {
        "avg_clustering": networkx.average_clustering(undirected),
        "transitivity": networkx.transitivity(undirected),
        "n_triangles": sum(networkx.triangles(undirected).values()) // 3,
    }


def _paths(undirected: networkx.Graph) -> dict[str, float]:
    largest = undirected.subgraph(max(networkx.connected_components(undirected), key=len))
    eccentricities = list(networkx.eccentricity(largest).values())
    alone = len(largest) == 1
    return {
        "diameter": networkx.diameter(largest),
        "radius": networkx.radius(largest),
        "avg_path_length": 0.0 if alone else networkx.average_shortest_path_length(largest),
        "avg_eccentricity": np.mean(eccentricities),
        "global_efficiency": networkx.global_efficiency(undirected),
    }


def _centralities(directed: networkx.DiGraph, undirected: networkx.Graph) -> dict[str, float]:
    betweenness = list(networkx.betweenness_centrality(undirected).values())
    weighted = list(networkx.betweenness_centrality(undirected, weight="length").values())
    closeness = list(networkx.closeness_centrality(undirected).values())
    eigenvector = _eigenvector(undirected)
    katz = _katz(undirected)
    pagerank = list(networkx.pagerank(directed, tol=1e-12, max_iter=1000).values())
    return {
        "avg_betweenness": np.mean(betweenness),
        "max_betweenness": max(betweenness),
        "std_betweenness": np.std(betweenness),
        "avg_betweenness_weighted": np.mean(weighted),
        "max_betweenness_weighted": max(weighted),
        "avg_closeness": np.mean(closeness),
        "max_closeness": max(closeness),
        "std_closeness": np.std(closeness),
        "avg_eigenvector": np.mean(eigenvector),
        "max_eigenvector": max(eigenvector),
        "std_eigenvector": np.std(eigenvector),
        "avg_katz": np.mean(katz),
        "max_katz": max(katz),
        "std_katz": np.std(katz),
        "max_pagerank": max(pagerank),
        "std_pagerank": np.std(pagerank),
    }


def _eigenvector(undirected: networkx.Graph) -> list[float]:
    """Eigenvector centrality on the largest component, 0 elsewhere and without edges."""
    largest = undirected.subgraph(max(networkx.connected_components(undirected), key=len))
    if len(largest) == 1:
        inside = {}
    elif len(largest) < SMALL:
        inside = {node: 1 / math.sqrt(len(largest)) for node in largest}
    else:
        inside = networkx.eigenvector_centrality_numpy(largest)
    return [inside.get(node, 0.0) for node in undirected]


def _katz(undirected: networkx.Graph) -> list[float]:
    """Katz centrality; NetworkX raises TypeError on a single node, whose centrality is 1."""
    if len(undirected) == 1:
        return [1.0]
    most = max(degree for _, degree in undirected.degree())
    alpha = float(katz_attenuation(most))
    return list(networkx.katz_centrality_numpy(undirected, alpha=alpha).values())


def _small_world_index(nodes: int, degree: float, clustering: float, path: float) -> float:
    if nodes < 2 or degree <= 1 or clustering == 0 or path == 0:
        return 0.0
    expected_clustering = degree / (nodes - 1)
    expected_path = math.log(nodes) / math.log(degree)
    return (clustering / expected_clustering) / (path / expected_path)
