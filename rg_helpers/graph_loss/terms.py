"""Every graph term by its name: what it reads, what it means, where it comes from.

term = graph_term("alignment", form="kl", heads=((1, 0),))
loss = cross_entropy + strength * term(tap.mass(), batch).mean()
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from rg_helpers.graph_loss.alignment import alignment, gold_rows
from rg_helpers.graph_loss.disorder import disorder
from rg_helpers.graph_loss.entropy_only import entropy_only
from rg_helpers.graph_loss.error_feedback import error_feedback
from rg_helpers.graph_loss.graph_batch import GraphBatch, eligible_mass
from rg_helpers.graph_loss.koleo import koleo


@dataclass(frozen=True)
class GraphTerm:
    """One graph loss: `function(attention, batch, **choices)` -> (batch,), higher = worse.

    needs_gold: whether the batch must hold gold rows. meaning: one line. source: where from.
    fitted: for every choice that is fitted on training traces, what fits it.
    """

    name: str
    function: Callable[..., Tensor]
    needs_gold: bool
    meaning: str
    source: str
    fitted: Mapping[str, str]

    @property
    def choices(self) -> dict[str, inspect.Parameter]:
        """Return the keyword arguments of the function."""
        parameters = inspect.signature(self.function).parameters
        return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


@dataclass(frozen=True, eq=False)
class BoundTerm:
    """A graph term with its choices made: callable(attention, batch) -> (batch,) loss per trace.

    attention: (batch, layers, heads, nodes, nodes), live. A choice that changes from step to step
    (the buffer of koleo) can be given in the call. Works in full precision also under autocast.
    Raises `ValueError` naming the trace where the loss or the attention it comes from is not
    finite, and where gold rows are missing.
    """

    term: GraphTerm
    choices: Mapping[str, Any]

    def __call__(self, attention: Tensor, batch: GraphBatch, **changed: Any) -> Tensor:
        if self.term.needs_gold:
            gold_rows(batch)
        with torch.autocast(attention.device.type, enabled=False):
            loss = self.term.function(attention, batch, **{**self.choices, **changed})
        check_finite(self.term.name, loss, attention, batch)
        return loss


_HEADS = {"heads": "graph_loss.head_choice.best_aligned_heads"}

TERMS: Mapping[str, GraphTerm] = MappingProxyType(
    {
        term.name: term
        for term in [
            GraphTerm("alignment", alignment, True,
                      "how far the attention of each step misses the nodes it follows from",
                      "Liu et al. 2016, arXiv 1609.04186; Chen et al. 2026, arXiv 2604.15701",
                      _HEADS),
            GraphTerm("disorder", disorder, False,
                      "how far the graph's disorder lies outside that of right traces",
                      "this course, two-sided after SARL 2026, arXiv 2603.27977",
                      {"target": "graph_loss.disorder.fit_disorder_target"}),
            GraphTerm("error_feedback", error_feedback, False,
                      "how wrong the graph looks to a frozen error predictor",
                      "after Johnson et al. 2016, arXiv 1603.08155",
                      {"predictor": "graph_loss.error_predictor.fit_error_predictor"}),
            GraphTerm("koleo", koleo, False,
                      "how near the graph lies to that of another problem",
                      "Sablayrolles et al. 2019, arXiv 1806.03198", {}),
            GraphTerm("entropy_only", entropy_only, False,
                      "how undecided the attention of each step is: a control without a graph",
                      "Grandvalet & Bengio 2004", _HEADS),
        ]
    }
)  # fmt: skip


def graph_term(name: str, **choices: Any) -> BoundTerm:
    """Return a term with its choices made; `TERMS[name].choices` lists them.

    Raises `ValueError` for an unknown name, a choice that the term does not have, and a missing one
    that must be fitted on training traces, naming what fits it.
    """
    if name not in TERMS:
        near = difflib.get_close_matches(name, TERMS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown graph term {name!r}: {hint}there are {', '.join(TERMS)}")
    term = TERMS[name]
    unknown = sorted(set(choices) - set(term.choices))
    if unknown:
        raise ValueError(
            f"the term {name} has no choice {', '.join(unknown)}: it has {', '.join(term.choices)}"
        )
    for choice, parameter in term.choices.items():
        if parameter.default is parameter.empty and choice not in choices:
            fitted = term.fitted.get(choice)
            cure = f"fit it with {fitted} on training traces" if fitted else "give it"
            raise ValueError(f"the term {name} needs {choice}: {cure}")
    return BoundTerm(term, MappingProxyType(dict(choices)))


def check_finite(name: str, loss: Tensor, attention: Tensor, batch: GraphBatch) -> None:
    """Raise `ValueError` naming the traces whose loss (batch,) or attention is NaN or infinite.

    The attention between eligible nodes counts by itself, since a term can compare a NaN away.
    """
    with torch.no_grad():
        read = eligible_mass(attention, batch).flatten(1).isfinite().all(1)
        fine = read & loss.isfinite()
    if bool(fine.all()):
        return
    bad = torch.nonzero(~fine).flatten().tolist()
    cause = (
        "the attention is finite, so look at the choices of the term (are they finite?)"
        if bool(read.all())
        else "the attention itself is not finite: lower the learning rate, or train in bfloat16 or "
        "float32 instead of float16"
    )
    named = ", ".join(batch.name(row) for row in bad[:5])
    raise ValueError(
        f"the graph term {name} is not finite for {named} ({len(bad)} in all): {cause}"
    )
