"""All that is known of a solution as one row of numbers: what an error predictor reads."""

from __future__ import annotations

import numpy as np

from rg_helpers.error_prediction.graph_columns import Columns, text_columns
from rg_helpers.error_prediction.step_numbers import over_steps, written
from rg_helpers.scoring.chunks import ScoredChunk
from rg_helpers.scoring.tables import wiring

WORDS = "words"


def chunk_columns(chunk: ScoredChunk) -> Columns:
    """Return the columns of a chunk: float64 (solutions, columns), each name saying its origin.

    They are the baselines, what the text says of itself (`words: ...`), and of every method the
    features of its graph and its steps' numbers in all layers and heads (`attention: ...`). A row
    depends on its own solution alone.
    """
    values, names = [chunk.numbers.values], list(chunk.numbers.names)
    text = text_columns(chunk.traces)
    values.append(text.values)
    names += [f"{WORDS}: {name}" for name in text.names]
    for method, table in wiring(chunk).items():
        block = chunk.blocks[method]
        steps, words = over_steps(
            [written(t, g.kinds) for t, g in zip(block.tables, block.graphs, strict=True)],
            list(block.names),
        )
        values += [table.to_numpy(), steps]
        names += [f"{method}: {name}" for name in (*table.columns, *words)]
    return Columns(np.hstack(values), tuple(names))
