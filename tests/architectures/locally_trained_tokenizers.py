"""Real tokenizer classes, trained here on the course's own problems: nothing is downloaded.

Byte-level BPE as GPT-2, GPT-NeoX, Qwen, Llama 3 and OLMo 2 have it, and the two SentencePiece
forms with byte fallback: BPE in the classes of Llama 2 (Mistral, Phi-3) and Gemma, and Unigram.
"""

from __future__ import annotations

import functools
import json
import unicodedata
from collections.abc import Callable

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    GemmaTokenizer,
    GPT2Tokenizer,
    GPTNeoXTokenizer,
    LlamaTokenizerFast,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
)

from rg_helpers.problems import FAMILIES, generate_problems

VOCABULARY = 420
LETTERS = "The naïve café in Zürich costs 3.50 €, so x² ≈ 12 → done."
LLAMA3_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LINES = pre_tokenizers.Split("\n", behavior="isolated")  # no SentencePiece piece crosses a line
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


@functools.cache
def corpus() -> tuple[str, ...]:
    """The problems' texts as training files have them: paragraphs, chats and lines."""
    texts = []
    for family in FAMILIES:
        for problem in generate_problems(family, 24, split="train", seed=1):
            texts += [problem.prompt + problem.separator + problem.solution, problem.solution]
    return (*texts, *[unicodedata.normalize("NFC", LETTERS)] * 4)


def _retrained(empty: PreTrainedTokenizerFast, special: tuple[str, ...] = ()):
    """Byte-level classes train themselves."""
    return empty.train_new_from_iterator(
        corpus(), VOCABULARY, new_special_tokens=list(special), show_progress=False
    )


def _gpt2() -> PreTrainedTokenizerFast:
    return _retrained(GPT2Tokenizer())


def _gpt_neox() -> PreTrainedTokenizerFast:
    return _retrained(GPTNeoXTokenizer())


def _qwen() -> PreTrainedTokenizerFast:
    return _retrained(Qwen2Tokenizer(), ("<|im_start|>", "<|im_end|>"))


def _byte_level(begin: str | None, end: str, pad: str, special: tuple[str, ...]):
    """A `tokenizer.json` with no class of its own, as Llama 3 and OLMo 2 come."""
    backend = Tokenizer(models.BPE(ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    names = [name for name in (begin, end, pad, *special) if name is not None]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(dict.fromkeys(names)),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(corpus(), trainer)
    added = [] if begin is None else [(begin, backend.token_to_id(begin))]
    template = "$A" if begin is None else f"{begin} $A"
    backend.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=template, special_tokens=added),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=begin, eos_token=end, pad_token=pad
    )


def _llama3() -> PreTrainedTokenizerFast:
    special = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    return _byte_level("<|begin_of_text|>", "<|end_of_text|>", "<|finetune_pad|>", special)


def _olmo2() -> PreTrainedTokenizerFast:
    return _byte_level(None, "<|endoftext|>", "<|pad|>", ("<|user|>", "<|assistant|>"))


def _sentencepiece_bpe(special: tuple[str, ...]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges as SentencePiece numbers them: special, bytes, pieces."""
    backend = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([LINES, pre_tokenizers.Metaspace(), digits])
    size = VOCABULARY - len(special) - len(BYTES)
    backend.train_from_iterator(
        corpus()[:-4], trainers.BpeTrainer(vocab_size=size, show_progress=False)
    )
    trained = json.loads(backend.to_str())["model"]
    names = [*special, *BYTES, *sorted(trained["vocab"], key=trained["vocab"].get)]
    return {name: i for i, name in enumerate(names)}, [tuple(m) for m in trained["merges"]]


def _llama2(special: tuple[str, ...] = (), end: str = "</s>") -> PreTrainedTokenizerFast:
    vocabulary, merges = _sentencepiece_bpe(("<unk>", "<s>", "</s>", *special))
    return LlamaTokenizerFast(
        vocab=vocabulary,
        merges=merges,
        eos_token=end,
        pad_token="</s>",
        # Phi-3's own tokens swallow the line break behind them.
        extra_special_tokens=[AddedToken(s, rstrip=True, special=True) for s in special],
    )


def _phi3() -> PreTrainedTokenizerFast:
    special = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
    return _llama2(special, "<|endoftext|>")


def _gemma() -> PreTrainedTokenizerFast:
    names = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>")
    vocabulary, merges = _sentencepiece_bpe(names)
    return GemmaTokenizer(vocab=vocabulary, merges=merges, extra_special_tokens=list(names[5:]))


def _unigram() -> PreTrainedTokenizerFast:
    """SentencePiece's other model, with byte fallback, as a plain `tokenizer.json`."""
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Sequence([LINES, pre_tokenizers.Metaspace()])
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY - len(BYTES),
        special_tokens=special,
        unk_token="<unk>",
        show_progress=False,
    )
    backend.train_from_iterator(corpus()[:-4], trainer)
    pieces = json.loads(backend.to_str())["model"]["vocab"]
    ranked = [*pieces[:3], *((byte, -20.0) for byte in BYTES), *pieces[3:]]
    full = Tokenizer(models.Unigram([tuple(p) for p in ranked], unk_id=0, byte_fallback=True))
    full.pre_tokenizer = pre_tokenizers.Metaspace()
    full.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    full.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=full, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


TRAINED: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "llama3": _llama3,
    "unigram": _unigram,
    "qwen": _qwen,
    "gemma": _gemma,
    "llama2": _llama2,
    "phi3": _phi3,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "olmo2": _olmo2,
}


@functools.cache
def trained_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """The tokenizer of a family, trained once for all tests; do not change it."""
    return TRAINED[name]()
