"""A problem as plain values in one JSON object, so that a file of traces needs nothing beside it.

The problem's id is a hash of its premises and question. Reading a record computes it again: a
record that was altered by hand is refused instead of labelling solutions of another problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rg_helpers.problems import FAMILIES, SPLITS, GoldNode, Problem, Quantity
from rg_helpers.problems.problem import identify

_NUMBERS = ("operations", "distractors", "joins", "depth")


def problem_record(problem: Problem) -> dict[str, Any]:
    """Return a problem as plain values for JSON; `problem_from_record` gives it back, equal."""
    record = {
        name: getattr(problem, name)
        for name in ("family", "problem_id", "split", *_NUMBERS, "answer", "separator")
    }
    record["nodes"] = [[node.kind, node.text, list(node.parents)] for node in problem.nodes]
    record["quantities"] = [
        {**asdict(quantity), "sources": list(quantity.sources)} for quantity in problem.quantities
    ]
    return record


def problem_from_record(record: Mapping[str, Any]) -> Problem:
    """Return the problem of a record; raises `ValueError` if it is damaged or was altered."""
    try:
        nodes = tuple(
            GoldNode(kind, str(text), tuple(parents)) for kind, text, parents in record["nodes"]
        )
        quantities = tuple(
            Quantity(**{**values, "sources": tuple(values["sources"])})
            for values in record["quantities"]
        )
        problem = Problem(
            family=record["family"],
            problem_id=record["problem_id"],
            split=record["split"],
            **{name: int(record[name]) for name in _NUMBERS},
            nodes=nodes,
            quantities=quantities,
            answer=str(record["answer"]),
            separator=record["separator"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"not a problem's record ({type(error).__name__}: {error}): `rgh traces` writes the "
            "column `problem_record`; sample the traces again, or remove the column"
        ) from error
    if problem.family not in FAMILIES or problem.split not in SPLITS:
        raise ValueError(
            f"the record names family {problem.family!r} and split {problem.split!r}: expected "
            f"one of {', '.join(FAMILIES)} and of {', '.join(SPLITS)}"
        )
    premises = [node.text for node in nodes if node.kind == "premise"]
    questions = [node.text for node in nodes if node.kind == "question"]
    found = identify(problem.family, premises, questions[0]) if len(questions) == 1 else None
    if found != (problem.problem_id, problem.split):
        raise ValueError(
            f"the record of problem {problem.problem_id} was altered: its text does not hash to "
            "its id; sample the traces again, or restore the file"
        )
    return problem
