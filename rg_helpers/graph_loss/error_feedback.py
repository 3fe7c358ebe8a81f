"""Error feedback: a frozen graph error predictor says how wrong the graph of a trace looks.

Two uses of the same probability. As a loss term it has a gradient through the soft graph features
into the attention. As a data weight it is a plain number that makes cross-entropy look harder at
the traces whose graph looks wrong; the original study computed that weight and never used it.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from rg_helpers.graph_loss.error_predictor import GraphErrorPredictor, refuse_shared_problems
from rg_helpers.graph_loss.graph_batch import GraphBatch


def error_feedback(
    attention: Tensor,
    batch: GraphBatch,
    *,
    predictor: GraphErrorPredictor,
    form: Literal["probability", "log"] = "probability",
) -> Tensor:
    """Return how wrong each trace's graph looks to the frozen predictor: (batch,).

        probability   p_wrong = sigmoid(logit)
        log           -log(1 - p_wrong), whose gradient does not fade where p_wrong is near one

    attention: (batch, layers, heads, nodes, nodes) of a model with as many layers and heads as the
    predictor was fitted on; batch.problem_ids must be filled. Use it on traces that are right: it
    then asks that a right solution is read the way right ones are. A frozen learned scorer as loss
    is the idea of Johnson et al. 2016 (perceptual losses, arXiv 1603.08155). Raises `ValueError`
    for a problem that the predictor was fitted on, and for an unknown form.

    Failure modes: the model learns to please the predictor and not to be right (over-optimisation,
    Gao et al. 2022, arXiv 2210.10760), so that its p_wrong falls while accuracy does not; and the
    predictor knows the attention of the model it was fitted on, from which training moves away.
    """
    if form not in ("probability", "log"):
        raise ValueError(f"form={form!r}: expected 'probability' or 'log'")
    logit = error_logits(attention, batch, predictor)
    if form == "log":
        return torch.nn.functional.softplus(logit)
    return torch.sigmoid(logit)


def error_weights(
    attention: Tensor,
    batch: GraphBatch,
    *,
    predictor: GraphErrorPredictor,
    beta: float = 1.0,
    mean_one: bool = False,
) -> Tensor:
    """Return a weight for each trace's cross-entropy: (batch,), without gradient.

        weight = 1 + beta p_wrong

    divided by its mean over the batch with `mean_one`, so that beta does not also change the size
    of the step. attention: (batch, layers, heads, nodes, nodes). Weighting by a score of hardness:
    boosting (Freund & Schapire 1997), focal loss (Lin et al. 2017, arXiv 1708.02002). Raises
    `ValueError` for a negative beta and a problem that the predictor was fitted on.

    Failure mode: a predictor that only knows length or difficulty makes this a weight by length;
    noise in hard traces is weighted up with them. With one trace a batch, `mean_one` undoes it.
    """
    if not beta >= 0:
        raise ValueError(f"beta={beta}: weights are 1 + beta * p_wrong with beta of at least 0")
    with torch.no_grad():
        weights = 1 + beta * torch.sigmoid(error_logits(attention.detach(), batch, predictor))
    return weights / weights.mean() if mean_one else weights


def error_logits(attention: Tensor, batch: GraphBatch, predictor: GraphErrorPredictor) -> Tensor:
    """Return the predictor's logits (batch,), having refused problems that it was fitted on.

    attention: (batch, layers, heads, nodes, nodes). The predictor is moved to the attention's
    device where it is elsewhere.
    """
    if len(batch.problem_ids) != len(batch):
        raise ValueError(
            "the batch does not say which problems its traces solve, so nobody can tell whether "
            "the error predictor has seen them: make it with graph_batch(traces)"
        )
    refuse_shared_problems(predictor, batch.problem_ids)
    if predictor.mean.device != attention.device:
        predictor.to(attention.device)
    return predictor(attention, batch)
