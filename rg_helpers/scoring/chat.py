"""Chat messages as the text that the model would have been given, by its own chat template."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import TemplateError

from rg_helpers.scoring.formats import Messages
from rg_helpers.scoring.segmentation import prompt_pieces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


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
        return tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
        )
    except (TemplateError, TypeError, KeyError) as error:
        raise ValueError(
            f"the model's chat template refuses these messages ({error}): most templates want "
            "user and assistant in turns, the user first"
        ) from error


def chat_pieces(prompt: str, messages: Messages) -> list[tuple[str, str]]:
    """Return (kind, text) of the messages' sentences that stand in the templated prompt, in order.

    What the template adds belongs to no node. A message that the template leaves out (thoughts of
    earlier turns) or rewrites has no node either. Raises `ValueError` if nothing is left.
    """
    found, position = [], 0
    for message in messages:
        for _, text in prompt_pieces(message["content"]):
            place = prompt.find(text, position)
            if place >= 0:
                found.append(("premise", text))
                position = place + len(text)
    if not found:
        raise ValueError("the chat template leaves nothing of the messages: check their contents")
    found[-1] = ("question", found[-1][1])
    return found
