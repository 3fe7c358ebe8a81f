"""The course's tokenizer: one token a word, one a digit, and text that decodes to itself."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from rg_helpers.problems.arithmetic import NAMES, UNITS
from rg_helpers.problems.deduction import GOAL, TERMS
from rg_helpers.problems.program import MOST_LINES, VARIABLES

PAD, UNKNOWN, BEGIN, END = "<pad>", "<unk>", "<s>", "</s>"
WORDS = (
    "How many does have has more fewer than twice as and together needs so The answer is "
    "A contract when not or It For check yes no Is the What at end if True False skipped"
).split()
LINE_STARTS = ("What", "The")  # words that may follow a line break, without a space
# A word carries the space before it, as in byte-level BPE; digits too, so 11 is " 1" + "1".
PIECES = Regex(r" ?L\d+| ?[A-Za-z]+| ?\d|\n| ?[^\sA-Za-z\d]|\s")


def vocabulary() -> dict[str, int]:
    """Return the token -> id table, built from the families' own word lists."""
    words = [*WORDS, *NAMES, *UNITS, GOAL, *TERMS, *VARIABLES]
    tokens = [PAD, UNKNOWN, BEGIN, END, "\n"]
    tokens += [mark for sign in ".,:?" for mark in (sign, f" {sign}")]
    tokens += [f" {sign}" for sign in "+-*=>"]
    tokens += [f"{space}{digit}" for space in (" ", "") for digit in range(10)]
    tokens += [f"{space}L{line}" for line in range(1, MOST_LINES + 1) for space in (" ", "")]
    tokens += [f" {word}" for word in dict.fromkeys(words)]
    tokens += LINE_STARTS
    return {token: index for index, token in enumerate(dict.fromkeys(tokens))}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer; encoding adds the begin token, decoding gives the text back exactly.

    Words it does not know become `<unk>`; character offsets point into the original text.
    """
    tokenizer = Tokenizer(models.WordLevel(vocabulary(), unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(PIECES, behavior="isolated")
    tokenizer.decoder = decoders.Sequence([decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return as_fast(tokenizer, longest=4096)


def as_fast(tokenizer: Tokenizer, longest: int) -> PreTrainedTokenizerFast:
    """Wrap a tokenizer for Transformers: begin token first, padding on the left, `longest` tokens.

    The vocabulary must hold `PAD`, `BEGIN` and `END`.
    """
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))]
    )
    unknown = {} if tokenizer.token_to_id(UNKNOWN) is None else {"unk_token": UNKNOWN}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=longest,
        **unknown,
    )
