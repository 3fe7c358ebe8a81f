"""The arms: what is done to the model, what each is compared with, and what is tuned."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Kind = Literal["reference", "graph", "control", "practice"]
Data = Literal["gold", "shuffled", "rejection", "self", "self_random"]
Tuned = Literal["learning_rate", "strength", "factor"]


@dataclass(frozen=True)
class Arm:
    """One arm of the experiment.

    kind: a reference, an arm with a graph term, a control of one, or what a practitioner would try
    instead. terms: names of `graph_loss.TERMS`, or "error_weights" for data weights. data: the
    problems' own solutions with gold rows ("gold") or rows pointing elsewhere ("shuffled"), or gold
    plus solutions that the model wrote. trains: whether anything is trained. tuned: what is chosen
    on validation problems; arms without it take what was chosen for plain cross-entropy. reranks:
    several sampled solutions are ranked instead of one being written greedily. predicts: whether
    the graph error predictor is needed.
    """

    name: str
    title: str
    kind: Kind
    terms: tuple[str, ...] = ()
    data: Data = "gold"
    trains: bool = True
    tuned: Tuned | None = None
    reranks: bool = False
    predicts: bool = False

    @property
    def extends(self) -> bool:
        """Return whether solutions that the model wrote are learned from."""
        return self.data in ("rejection", "self", "self_random")


def _graph(name: str, title: str, term: str, **options: object) -> Arm:
    return Arm(name, title, "graph", (term,), tuned="strength", **options)


ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        arm.name: arm
        for arm in [
            Arm("base", "no training", "reference", trains=False),
            Arm("ce", "cross-entropy", "reference", tuned="learning_rate"),
            Arm("ce_equal_time", "cross-entropy, equal wall time", "reference"),
            _graph("alignment", "CE + alignment", "alignment"),
            _graph("disorder", "CE + disorder", "disorder"),
            _graph("error_feedback", "CE + error feedback", "error_feedback", predicts=True),
            _graph("error_weights", "CE weighted by predicted error", "error_weights",
                   predicts=True),
            _graph("koleo", "CE + KoLeo", "koleo"),
            Arm("combination", "CE + the two best terms", "graph", tuned="factor", predicts=True),
            Arm("alignment_shuffled", "CE + alignment to shuffled graphs", "control",
                ("alignment",), data="shuffled", tuned="strength"),
            Arm("entropy_only", "CE + entropy of the same heads", "control", ("entropy_only",),
                tuned="strength"),
            Arm("alignment_random_heads", "CE + alignment of random heads", "control",
                ("alignment",), tuned="strength"),
            Arm("rejection_sampling", "CE + own right solutions", "practice", data="rejection"),
            Arm("self_training", "CE + own solutions that the predictor trusts", "practice",
                data="self", predicts=True),
            Arm("self_training_random", "CE + as many own solutions at random", "practice",
                data="self_random", predicts=True),
            Arm("best_of_n", "no training, samples reranked", "practice", trains=False,
                reranks=True, predicts=True),
            Arm("ce_best_of_n", "cross-entropy, samples reranked", "practice", reranks=True,
                predicts=True),
        ]
    }
)  # fmt: skip

# Strengths tried for every tuned arm: as many for each, spaced evenly on a logarithmic scale.
LEARNING_RATES = (3e-4, 1e-3, 3e-3)
STRENGTHS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "alignment": (0.01, 0.05, 0.25),
        "disorder": (0.01, 0.05, 0.25),
        "error_feedback": (0.05, 0.25, 1.25),
        "koleo": (0.002, 0.01, 0.05),
        "entropy_only": (0.02, 0.1, 0.5),
        "error_weights": (1.0, 3.0, 9.0),
    }
)
FACTORS = (0.3, 1.0, 3.0)  # of the strengths of the single terms, for their combination
COMBINED = ("alignment", "disorder", "error_feedback", "koleo")
RERANKED = ("first", "predictor", "likelihood", "vote", "oracle")  # rows of a reranking arm
SHUFFLED_TWIN = ("alignment", "combination")  # whose control is alignment to shuffled graphs


def find_arm(name: str) -> Arm:
    """Return the arm of a name; `ValueError` with the nearest names for an unknown one."""
    if name not in ARMS:
        near = difflib.get_close_matches(name, ARMS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown arm {name!r}: {hint}there are {', '.join(ARMS)}")
    return ARMS[name]


def title_of(name: str) -> str:
    """Return the words for an arm, also for the rows of reranking arms ("best_of_n_vote")."""
    if name in ARMS:
        return ARMS[name].title
    head = next((arm for arm in ARMS if ARMS[arm].reranks and name.startswith(f"{arm}_")), None)
    if head is None:
        return find_arm(name).title
    return f"{ARMS[head].title} by {name.removeprefix(f'{head}_')}"


def kind_of(name: str) -> Kind:
    """Return the kind of an arm or of a row of a reranking arm."""
    return ARMS[name].kind if name in ARMS else "practice"


def timed_arms(names: Sequence[str]) -> list[str]:
    """Return the arms among `names` whose steps are timed: those with terms in the loss."""
    return [name for name in names if ARMS[name].kind == "graph" and name != "error_weights"]
