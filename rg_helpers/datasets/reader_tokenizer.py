"""The reader's tokenizer: byte-level BPE trained on the training problems, one token a digit."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rg_helpers.tokenizer import BEGIN, END, PAD, as_fast

# As GPT-2's pieces (Radford et al. 2019), but every digit and every line break stands alone, so
# that 48 is never one token and 480 another.
PIECES = Regex(r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}|\n| ?[^\s\p{L}\p{N}]+|[^\S\n]+|\s")
LEAST_ENTRIES = 256 + 3  # all bytes, and the special tokens


def train_tokenizer(texts: Sequence[str], entries: int = 2048) -> PreTrainedTokenizerFast:
    """Train byte-level BPE (Sennrich et al. 2016, arXiv 1508.07909) with at most `entries` tokens.

    Any text can be encoded, none becomes unknown, and decoding gives it back exactly. Raises
    `ValueError` for no texts or too few entries.
    """
    if entries < LEAST_ENTRIES or not any(texts):
        raise ValueError(
            f"{len(texts)} texts and {entries} entries: expected some text, and at least "
            f"{LEAST_ENTRIES} entries, one for every byte and special token"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(PIECES, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=entries,
        special_tokens=[PAD, END, BEGIN],  # random sequences are drawn from behind BEGIN
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return as_fast(tokenizer, longest=2048)
