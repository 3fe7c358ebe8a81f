"""Disorder ("chaos") of the graph, with a target on both sides that right traces set.

More disorder is not simply worse: models that reason better show more cycles and wider graphs
(Topology of Reasoning, NeurIPS 2025, arXiv 2506.05744), and a reward for small-world structure
helps (SARL, arXiv 2603.27977), while too many branches mark failures. So nothing here is pushed to
zero; each measure is asked to be what it is in right solutions of the same length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rg_helpers.graph_loss.graph_batch import (
    GraphBatch,
    Heads,
    chosen_heads,
    eligible_rows,
    graph_batch,
)
from rg_helpers.graph_loss.soft_features import soft_features, written_logs
from rg_helpers.traces import Trace

MEASURES = {
    "row_entropy_normalised": "steps that draw on everything at once",
    "unused_premise_chance": "premises that nothing draws on",
    "dead_end_chance": "steps that nothing later draws on",
    "look_back_relative": "sources far away",
}
LEAST_WIDTH = 0.01  # of measures that lie between 0 and 1
LEAST_TRACES = 8

Table = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class DisorderTarget:
    """What right traces look like, head by head: fitted by `fit_disorder_target`, then frozen.

    heads: (layer, head) pairs. measures: keys of `MEASURES`. centre, slope, width: one row a head,
    one number a measure; a trace with w written nodes is asked for
    centre + slope (log w - log_written), give or take `width`. traces: how many it was fitted on.
    Raises `ValueError` for tables that do not fit and widths that are not positive.
    """

    heads: tuple[tuple[int, int], ...]
    measures: tuple[str, ...]
    centre: Table
    slope: Table
    width: Table
    log_written: float
    traces: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", tuple((int(a), int(b)) for a, b in self.heads))
        object.__setattr__(self, "measures", tuple(self.measures))
        unknown = [name for name in self.measures if name not in MEASURES]
        if unknown or not self.measures:
            raise ValueError(f"measures {unknown or 'empty'}: choose among {', '.join(MEASURES)}")
        for name in ("centre", "slope", "width"):
            table = tuple(tuple(float(value) for value in row) for row in getattr(self, name))
            object.__setattr__(self, name, table)
            shape = np.array(table).shape
            if shape != (len(self.heads), len(self.measures)):
                raise ValueError(
                    f"{name} is {shape}: expected {len(self.heads)} heads x {len(self.measures)} "
                    "measures"
                )
        if not (np.array(self.width) > 0).all():
            raise ValueError("every width must be above 0: fit the target on more varied traces")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON; `DisorderTarget(**fields)` reads them."""
        return asdict(self)

    def of(self, written: Tensor) -> tuple[Tensor, Tensor]:
        """Return centre and width (batch, heads, measures) for the logarithms of written nodes.

        written: (batch,), as from `soft_features.written_logs`.
        """
        centre, slope, width = (
            torch.tensor(table, dtype=written.dtype, device=written.device)
            for table in (self.centre, self.slope, self.width)
        )
        shift = (written - self.log_written)[:, None, None]
        return centre + slope * shift, width.expand(len(written), -1, -1)


def disorder(
    attention: Tensor,
    batch: GraphBatch,
    *,
    target: DisorderTarget,
    band: float = 1.0,
    sides: Literal["both", "above"] = "both",
) -> Tensor:
    """Return how far each trace's disorder lies outside that of right traces: (batch,).

    With m the measure of a head and c, w its centre and width for a trace of this length,

        z = (m - c) / w,   x = max(0, |z| - band),   loss = mean over heads and measures of
        x^2 / (1 + x)

    which grows like a square near the band and like a line far from it, so that one odd trace
    cannot drown the batch. `band=0` pulls all the way to the centre. `sides="above"` asks only for
    less disorder (x = max(0, z - band)): the monotone penalty, kept as a control.

    attention: (batch, layers, heads, nodes, nodes). Measures (`MEASURES`): row entropy, unused
    premises, dead ends, look-back distance, all soft and in [0, 1]. Raises `ValueError` for an
    unknown `sides`, a negative band, and heads that the attention does not have.

    Failure modes: inside the band there is no gradient, by design; what right traces of easy
    problems look like may be wrong for hard ones, whose length alone is accounted for; and a graph
    can have all four measures right with every edge wrong, since no measure knows the content.
    """
    if sides not in ("both", "above") or not band >= 0:
        raise ValueError(
            f"sides={sides!r}, band={band}: expected 'both' or 'above', a band of 0 up"
        )
    measured = disorder_measures(attention, batch, target.heads, target.measures)
    centre, width = target.of(written_logs(batch).to(measured.dtype))
    z = (measured - centre) / width
    outside = ((z.abs() if sides == "both" else z) - band).clamp(min=0.0)
    return (outside.square() / (1 + outside)).mean((1, 2))


def disorder_measures(
    attention: Tensor,
    batch: GraphBatch,
    heads: Heads = "all",
    measures: Sequence[str] = tuple(MEASURES),
) -> Tensor:
    """Return the measures of every chosen head: (batch, chosen, measures), in [0, 1].

    attention: (batch, layers, heads, nodes, nodes).
    """
    rows = eligible_rows(chosen_heads(attention, heads), batch)
    return soft_features(rows, batch, measures)


def fit_disorder_target(
    traces: Sequence[Trace],
    masses: Sequence[np.ndarray],
    wrong: Sequence[bool] | None = None,
    *,
    heads: Heads = "all",
    measures: Sequence[str] = tuple(MEASURES),
    by_length: bool = True,
) -> DisorderTarget:
    """Fit centre and width of every measure and head on the right ones among training traces.

    masses: each trace's attention (layers, heads, nodes, nodes), as `attention_masses` returns it,
    of the model before training. wrong: True leaves a trace out; None says that all are right
    (gold solutions). The centre is the mean, or with `by_length` the least-squares line over the
    logarithm of the written nodes; the width is the standard deviation around it, at least
    `LEAST_WIDTH`. Raises `ValueError` for lengths that do not agree and for fewer than
    `LEAST_TRACES` right traces.
    """
    wrong = [False] * len(traces) if wrong is None else wrong
    if not len(traces) == len(masses) == len(wrong):
        raise ValueError(
            f"{len(traces)} traces, {len(masses)} attention masses and {len(wrong)} labels: give "
            "one of each per trace"
        )
    right = [row for row, bad in enumerate(wrong) if not bad]
    if len(right) < LEAST_TRACES:
        raise ValueError(
            f"{len(right)} of {len(traces)} traces are right: a two-sided target needs at least "
            f"{LEAST_TRACES} right ones; sample more, or use the problems' own solutions"
        )
    measured, logs = [], []
    for row in right:
        batch = graph_batch([traces[row]])
        mass = torch.as_tensor(np.asarray(masses[row]), dtype=torch.float64)[None]
        measured.append(disorder_measures(mass, batch, heads, measures)[0].numpy())
        logs.append(float(written_logs(batch)))
    values, x = np.stack(measured), np.array(logs) - np.mean(logs)
    slope = np.zeros(values.shape[1:])
    if by_length and x.var() > 0:
        slope = (x[:, None, None] * values).mean(0) / x.var()
    spread = (values - values.mean(0) - slope * x[:, None, None]).std(0)
    layers, width = np.asarray(masses[right[0]]).shape[:2]
    everywhere = [(layer, head) for layer in range(layers) for head in range(width)]
    return DisorderTarget(
        tuple(everywhere if isinstance(heads, str) else heads),
        tuple(measures),
        _table(values.mean(0)),
        _table(slope),
        _table(np.maximum(spread, LEAST_WIDTH)),
        float(np.mean(logs)),
        len(right),
    )


def target_from_dict(fields: Mapping[str, Any]) -> DisorderTarget:
    """Return the target that `as_dict` wrote; `ValueError` names fields that are not there."""
    try:
        return DisorderTarget(**fields)
    except TypeError as error:
        raise ValueError(
            f"this is not a disorder target ({error}): fit it again with fit_disorder_target"
        ) from error


def _table(values: np.ndarray) -> Table:
    return tuple(tuple(row) for row in values.tolist())
