"""The lexical baseline: which words and numbers a solution holds, and nothing about its structure.

Surface text alone predicts errors well in published data sets; a graph has to beat this. The
vocabulary and its weights are part of the pipeline, so they are fitted inside the fold.
"""

from __future__ import annotations

from collections.abc import Sequence

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from rg_helpers.error_prediction.written_answer import MASK, masked_solution
from rg_helpers.traces import Trace

TOKEN = rf"{MASK}|[A-Za-z]+|\d+|[^\sA-Za-z\d]"
MOST_TERMS = 20_000


def lexical_texts(traces: Sequence[Trace]) -> list[str]:
    """Return what the lexical baseline may read of each trace: the solution, its answer masked."""
    return [masked_solution(trace) for trace in traces]


def lexical_predictor(seed: int = 0) -> Pipeline:
    """Return an unfitted TF-IDF + logistic regression on texts: words, numbers, signs, and pairs.

    Term frequencies count by their logarithm and texts have length one (Salton & Buckley 1988), so
    a text's length shows only through what it says.
    """
    return Pipeline(
        [
            (
                "tfidf",
                TfidfVectorizer(
                    token_pattern=TOKEN,
                    ngram_range=(1, 2),
                    sublinear_tf=True,
                    max_features=MOST_TERMS,
                ),
            ),
            ("classifier", LogisticRegression(max_iter=1000, random_state=seed)),
        ]
    )
