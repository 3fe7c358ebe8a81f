"""Wrong answers to the exercises of notebook 01."""

from __future__ import annotations

from planted import rejected


@rejected(1, "walk on from them")
def only_direct_parents(nodes):
    """Looks at the answer's own parents only."""
    return sorted(i for i in nodes[-1].parents if nodes[i].kind == "premise")


@rejected(1, "node 3 is the question")
def everything_without_parents(nodes):
    """Takes every root of the graph for a premise."""
    reached = {len(nodes) - 1}
    for i in range(len(nodes) - 1, -1, -1):
        if i in reached:
            reached |= set(nodes[i].parents)
    return sorted(i for i in reached if not nodes[i].parents)


@rejected(1, "does each node pass on all of its parents?")
def one_chain_back(nodes):
    """Follows the latest parent of each node only: chains that join are lost."""
    reached, node = set(), nodes[-1]
    while node.parents:
        reached |= {i for i in node.parents if nodes[i].kind == "premise"}
        node = nodes[max(node.parents)]
    return sorted(reached)


@rejected(2, "not its nodes")
def nodes_of_the_chain(nodes):
    """Counts the nodes of the longest path, one more than its edges."""
    length = []
    for node in nodes:
        length.append(1 + max((length[p] for p in node.parents), default=0))
    return max(length)


@rejected(2, "only the longest path counts")
def all_edges(nodes):
    """Counts every edge of the graph."""
    return sum(len(node.parents) for node in nodes)


@rejected(2, "four edges")
def shortest_way_back(nodes):
    """Takes the nearest parent where it needs the farthest."""
    length = []
    for node in nodes:
        length.append(min((length[p] + 1 for p in node.parents), default=0))
    return max(length)


@rejected(3, "every step is right")
def the_reference_itself(problem):
    """Changes nothing."""
    return problem.solution


@rejected(3, "the answer must stay right")
def another_answer(problem):
    """Breaks the answer line, the only one that must stay."""
    steps = [node.text for node in problem.nodes[problem.prompt_nodes :]]
    return " ".join([*steps[:-1], f"The answer is {int(problem.answer) + 1}."])


@rejected(3, "the answer line is missing")
def no_answer_line(problem):
    """Drops the answer with the line before it."""
    return " ".join(node.text for node in problem.nodes[problem.prompt_nodes : -2])
