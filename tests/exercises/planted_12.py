"""Wrong answers to the exercises of notebook 12."""

from __future__ import annotations

import numpy as np
import torch
from planted import rejected


@rejected(1, "count characters, not tokens")
def share_of_tokens(tokenizer, text):
    """Counts tokens, so that a long word hides no more than a full stop."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return sum(token == tokenizer.unk_token_id for token in ids) / len(ids)


@rejected(1, "'zebras' is 6 of 14 visible characters")
def with_the_blanks(tokenizer, text):
    """Counts blanks as characters, in words and between them."""
    encoding = tokenizer(text, return_offsets_mapping=True)
    pairs = zip(encoding["input_ids"], encoding["offset_mapping"])
    return sum(b - a for token, (a, b) in pairs if token == tokenizer.unk_token_id) / len(text)


@rejected(1, "bytes spell everything")
def unusual_letters(tokenizer, text):
    """Guesses from the letters instead of asking the tokenizer, whose bytes spell them all."""
    if tokenizer.unk_token_id is None:
        return sum(not letter.isascii() for letter in text) / len(text)
    encoding = tokenizer(text, return_offsets_mapping=True)
    pairs = zip(encoding["input_ids"], encoding["offset_mapping"])
    hidden = "".join(text[a:b] for token, (a, b) in pairs if token == tokenizer.unk_token_id)
    return len("".join(hidden.split())) / len("".join(text.split()))


def _read(model, tokenizer, before, solution):
    """Token ids, log-probabilities (tokens, vocabulary), and which tokens are of the solution."""
    text = before + solution
    encoding = tokenizer(text, return_offsets_mapping=True)
    ids = torch.tensor(encoding["input_ids"])
    with torch.no_grad():
        log_p = model(ids[None].to(model.device)).logits[0].log_softmax(-1).cpu()
    starts = [b - len(text[a:b].lstrip()) for a, b in encoding["offset_mapping"]]
    written = [start >= len(before) for start in starts]
    return ids, log_p, torch.tensor(written).nonzero()[:, 0]


@rejected(2, "off by one")
def same_place(model, tokenizer, before, solution):
    """Reads what the model says after a token as what it thought of that token."""
    ids, log_p, places = _read(model, tokenizer, before, solution)
    return float(-log_p[places, ids[places]].mean())


@rejected(2, "the prompt's tokens are in the mean")
def whole_text(model, tokenizer, before, solution):
    """Averages over the prompt as well."""
    ids, log_p, _ = _read(model, tokenizer, before, solution)
    return float(-log_p[:-1].gather(1, ids[1:, None]).mean())


@rejected(2, "the mean over the solution's tokens")
def a_sum(model, tokenizer, before, solution):
    """Adds up instead of averaging, so that long solutions look surprising."""
    ids, log_p, places = _read(model, tokenizer, before, solution)
    return float(-log_p[places - 1, ids[places]].sum())


@rejected(2, "the mean over the solution's tokens")
def without_the_prompt(model, tokenizer, before, solution):
    """Scores the solution as if nothing stood before it."""
    ids, log_p, _ = _read(model, tokenizer, "", solution)
    return float(np.mean([-log_p[t - 1, ids[t]] for t in range(1, len(ids))]))


def _sentence(over_plain, over_shuffled, sure=None, nothing=None):
    if over_plain.low > 0:
        sure = over_shuffled.low > 0 if sure is None else sure
        return "a gain, and from the graph" if sure else "a gain, not shown to be from the graph"
    if over_plain.high < 0:
        return "a loss"
    nothing = over_plain.p_equivalent < 0.05 if nothing is None else nothing
    return "no gain that matters" if nothing else "cannot tell"


@rejected(3, "shuffled rows may do as well")
def without_the_control(over_plain, over_shuffled):
    """Gives the graph the credit without asking the shuffled one."""
    return _sentence(over_plain, over_shuffled, sure=True)


@rejected(3, "not significant is not 'no effect'")
def no_difference_is_none(over_plain, over_shuffled):
    """Takes an interval that holds zero for a proof that there is nothing."""
    return _sentence(over_plain, over_shuffled, nothing=True)


@rejected(3, "few problems, all alike")
def narrow_is_sure(over_plain, over_shuffled):
    """Reads an interval of no width as certainty."""
    narrow = over_plain.low > -0.05 and over_plain.high < 0.05
    return _sentence(over_plain, over_shuffled, nothing=narrow)


@rejected(3, "a loss is a result, too")
def no_losses(over_plain, over_shuffled):
    """Calls a loss undecided."""
    found = _sentence(over_plain, over_shuffled)
    return "cannot tell" if found == "a loss" else found


@rejected(4, "alpha / rank is missing")
def unscaled(W, A, B, alpha):
    """Adds B A as it is."""
    return W + B @ A


@rejected(4, "differs from peft's merge")
def not_by_rank(W, A, B, alpha):
    """Multiplies by alpha and forgets the rank, which a rank of one hides."""
    return W + alpha * B @ A


@rejected(4, "B A is (out, in)")
def the_adapter_alone(W, A, B, alpha):
    """Multiplies in the wrong order, which leaves (rank, rank)."""
    return alpha / len(A) * A @ B
