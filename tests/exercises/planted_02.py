"""Wrong answers to the exercises of notebook 02."""

from __future__ import annotations

import torch
from planted import rejected

from rg_helpers.problems import check_solution


@rejected(1, "invert p ** tokens")
def whole_from_token(share, tokens):
    """Goes from the accuracy of a token to that of a whole solution, the wrong way round."""
    return share**tokens


@rejected(1, "errors do not add up")
def errors_shared_out(share, tokens):
    """Shares the allowed errors out among the tokens, as if they added up."""
    return 1 - (1 - share) / tokens


@rejected(1, "the share is the accuracy itself")
def accuracy_of_failures(share, tokens):
    """Solves for the share of solutions that break."""
    return (1 - share) ** (1 / tokens)


@rejected(2, "find it by its place, not by its id")
def padding_by_its_id(tokens, prompt_tokens, lengths):
    """Finds padding by its id, and takes every repeated EOS for a token that counts."""
    position = torch.arange(tokens.shape[1])
    prompt = position < torch.tensor(prompt_tokens)[:, None]
    return tokens.masked_fill(prompt | (tokens == 0), -100)


@rejected(2, "work on a copy")
def labels_in_place(tokens, prompt_tokens, lengths):
    """Writes into the tokens that the model is about to read."""
    for row, (begin, end) in enumerate(zip(prompt_tokens, lengths, strict=True)):
        tokens[row, :begin] = tokens[row, end:] = -100
    return tokens


@rejected(2, "EOS must count")
def without_eos(tokens, prompt_tokens, lengths):
    """Masks the last real token, as one does with inputs that are shifted by one."""
    position = torch.arange(tokens.shape[1])
    begin, end = (torch.tensor(numbers)[:, None] for numbers in (prompt_tokens, lengths))
    return tokens.masked_fill((position < begin) | (position >= end - 1), -100)


@rejected(2, "each row has its own prompt")
def one_prompt_for_all(tokens, prompt_tokens, lengths):
    """Uses the longest prompt for every row."""
    position = torch.arange(tokens.shape[1])
    end = torch.tensor(lengths)[:, None]
    return tokens.masked_fill((position < max(prompt_tokens)) | (position >= end), -100)


@rejected(3, "three right steps, then a wrong one")
def right_steps_anywhere(problem, text):
    """Counts right steps behind the first wrong one too."""
    steps = check_solution(problem, text).steps
    gold = len(problem.nodes) - problem.prompt_nodes
    return sum(step.verdict == "right" for step in steps) / max(gold, len(steps))


@rejected(3, "the rest is missing")
def of_the_steps_written(problem, text):
    """Divides by what was written, so that stopping early costs nothing."""
    checked = check_solution(problem, text)
    first = checked.first_wrong_step
    good = len(checked.steps) if first is None else first
    return good / max(1, len(checked.steps))


@rejected(3, "another valid order is just as right")
def lines_as_in_the_reference(problem, text):
    """Compares line by line with the reference."""
    gold = [node.text for node in problem.nodes[problem.prompt_nodes :]]
    written = [step.text for step in check_solution(problem, text).steps]
    good = 0
    while good < min(len(gold), len(written)) and gold[good] == written[good]:
        good += 1
    return good / max(len(gold), len(written))
