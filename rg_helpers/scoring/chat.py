"""Chat messages as the text that the model would have been given, by its own chat template."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from rg_helpers.scoring.formats import Messages
from rg_helpers.scoring.segmentation import prompt_pieces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MARK = re.compile("\u2042(\\d+)\u2042")


def chat_prompt(tokenizer: PreTrainedTokenizerFast, messages: Messages) -> str:
    """Return the text before the assistant's reply: every message in the model's own form.

    Raises `ValueError` for a tokenizer without a chat template, and for messages it refuses.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            "chat messages, but the model's tokenizer has no chat template: name an instruction-"
            "tuned model, or give prompt and solution as text"
        )
    try:
        return _rendered(tokenizer, messages)
    except (TemplateError, TypeError, KeyError) as error:
        raise ValueError(
            f"the model's chat template refuses these messages ({error}): most templates want "
            "user and assistant in turns, the user first"
        ) from error


def chat_pieces(
    tokenizer: PreTrainedTokenizerFast, prompt: str, messages: Messages
) -> list[tuple[str, str, int]]:
    """Return (kind, text, start) of the messages' sentences in the templated prompt, in text order.

    `start` is the sentence's place in `prompt`. What the template adds belongs to no node. A
    message that the template leaves out (thoughts of earlier turns) or rewrites has no node either.
    Raises `ValueError` if nothing is left.
    """
    places = _places(tokenizer, prompt, messages)
    if places is None:
        places = _searched(prompt, messages)
    found = []
    for start, content in sorted(places):
        position = start
        for _, text in prompt_pieces(content):
            position = prompt.index(text, position)
            found.append(("premise", text, position))
            position += len(text)
    if not found:
        raise ValueError("the chat template leaves nothing of the messages: check their contents")
    found[-1] = ("question", *found[-1][1:])
    return found


def reply_separator(tokenizer: PreTrainedTokenizerFast, prompt: str, messages: Messages) -> str:
    """Return the blank that the template puts between the prompt and a reply (Llama 2: one space).

    The model writes it as part of its first word, so a reply glued to the prompt would begin with
    a token that it never sees there.
    """
    reply = {"role": "assistant", "content": _mark(len(messages))}
    try:
        whole = _rendered(tokenizer, [*messages, reply], reply=False)
    except (TemplateError, TypeError, KeyError):
        return ""
    between = whole[len(prompt) : whole.find(reply["content"])]
    return between if whole.startswith(prompt) and not between.strip() else ""


def _places(
    tokenizer: PreTrainedTokenizerFast, prompt: str, messages: Messages
) -> list[tuple[int, str]] | None:
    """Say where each message's content stands: (start, content), or None where that is not plain.

    The template is filled with marks instead of contents; what stands between the marks stands
    between the contents too. A search for the contents would take a short one ("user") for a piece
    of the template, and would lose what the template moves (Mistral's system message).
    """
    marked = [{**message, "content": _mark(i)} for i, message in enumerate(messages)]
    try:
        parts = MARK.split(_rendered(tokenizer, marked))
    except (TemplateError, TypeError, KeyError):
        return None
    found, position = [], 0
    for literal, index in zip(parts[::2], [*parts[1::2], None]):
        if not prompt.startswith(literal, position):
            return None
        position += len(literal)
        if index is None:
            return found if position == len(prompt) else None
        content = messages[int(index)]["content"]
        forms = dict.fromkeys((content, content.strip(), content.lstrip(), content.rstrip()))
        following = parts[2 * len(found) + 2]
        held = next(
            (
                form
                for form in forms
                if prompt.startswith(form, position)
                and prompt.startswith(following, position + len(form))
            ),
            None,
        )
        if held is None:
            return None
        found.append((position, held))
        position += len(held)
    return None


def _searched(prompt: str, messages: Messages) -> list[tuple[int, str]]:
    """Find the sentences one after the other: for templates that look into the contents."""
    found, position = [], 0
    for message in messages:
        for _, text in prompt_pieces(message["content"]):
            place = prompt.find(text, position)
            if place >= 0:
                found.append((place, text))
                position = place + len(text)
    return found


def _mark(number: int) -> str:
    return f"\u2042{number}\u2042"  # an asterism: no template and hardly a text holds it


def _rendered(
    tokenizer: PreTrainedTokenizerFast, messages: Sequence[Mapping[str, str]], reply: bool = True
) -> str:
    return tokenizer.apply_chat_template(
        [dict(message) for message in messages], tokenize=False, add_generation_prompt=reply
    )
