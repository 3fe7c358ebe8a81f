"""The classifiers that turn features into a risk; each fits its scaling on training problems."""

from __future__ import annotations

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

ITERATIONS = 2000


def logistic(strength: float = 1.0) -> Pipeline:
    """Return imputation by the median, standardisation and L2-regularised logistic regression.

    `strength` is scikit-learn's C: smaller values shrink more, which many columns need.
    """
    return make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=strength, max_iter=ITERATIONS),
    )


def probe() -> Pipeline:
    """Return the linear probe on hidden states: logistic regression, strongly regularised."""
    return logistic(strength=0.05)


def boosting(seed: int = 0) -> HistGradientBoostingClassifier:
    """Return gradient-boosted shallow trees (Friedman 2001), which need no scaling."""
    return HistGradientBoostingClassifier(
        max_iter=100, max_leaf_nodes=8, learning_rate=0.05, l2_regularization=1.0, random_state=seed
    )
