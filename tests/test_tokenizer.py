"""The course tokenizer: texts decode to themselves and offsets tile them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rg_helpers.problems import FAMILIES, generate_problem
from rg_helpers.tokenizer import BEGIN, END, PAD, UNKNOWN, build_tokenizer, vocabulary

TOKENIZER = build_tokenizer()


def whole_text(family: str, seed: int, operations: int) -> str:
    problem = generate_problem(family, seed, operations)
    return problem.prompt + problem.separator + problem.solution


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FAMILIES), st.integers(0, 10**9), st.integers(1, 9))
def test_problem_texts_survive_the_round_trip(family, seed, operations):
    text = whole_text(family, seed, operations)
    ids = TOKENIZER(text).input_ids
    assert TOKENIZER.decode(ids, skip_special_tokens=True) == text
    assert ids[0] == TOKENIZER.bos_token_id
    assert TOKENIZER.unk_token_id not in ids, "every word of the families has its own token"
    assert TOKENIZER.eos_token_id not in ids, "the end is written by the caller"


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FAMILIES), st.integers(0, 10**9), st.integers(1, 9))
def test_offsets_tile_the_text(family, seed, operations):
    text = whole_text(family, seed, operations)
    encoded = TOKENIZER(text, return_offsets_mapping=True)
    position = 0
    for token, (start, end) in zip(encoded.input_ids[1:], encoded.offset_mapping[1:], strict=True):
        assert start == position, "no character is skipped or read twice"
        word = TOKENIZER.convert_ids_to_tokens(token)
        assert text[start:end] == (word if start else word.removeprefix(" "))
        position = end
    assert position == len(text)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80).filter(lambda text: not text[:1].isspace()))
def test_any_text_gets_ordered_offsets_inside_it(text):
    # White space at the very beginning shares its offset with the space put before the text.
    encoded = TOKENIZER(text, return_offsets_mapping=True)
    position = 0
    for start, end in encoded.offset_mapping[1:]:
        assert position <= start <= end <= len(text)
        position = end
    assert position == len(text) or not text[position:].strip()


def test_prompt_tokens_are_a_prefix_of_the_whole():
    # The model reads the prompt alone at sampling and prompt + solution at training.
    for family in FAMILIES:
        problem = generate_problem(family, 1, 5)
        alone = TOKENIZER(problem.prompt).input_ids
        whole = TOKENIZER(problem.prompt + problem.separator + problem.solution).input_ids
        assert whole[: len(alone)] == alone


def test_numbers_are_cut_into_digits():
    ids = TOKENIZER("Ana has 1407 pens.").input_ids[1:]
    tokens = [" Ana", " has", " 1", "4", "0", "7", " pens", "."]
    assert TOKENIZER.convert_ids_to_tokens(ids) == tokens


def test_line_labels_are_one_token_each():
    ids = TOKENIZER("L1: a = 7\nL12: b = a + 3").input_ids[1:]
    tokens = TOKENIZER.convert_ids_to_tokens(ids)
    assert tokens[0] == " L1"
    assert "L12" in tokens
    assert "\n" in tokens


def test_unknown_words_and_signs_become_one_unknown_token_each():
    encoded = TOKENIZER("Ana has Zorro's 3 pens.", return_offsets_mapping=True)
    unknown = [
        "Ana has Zorro's 3 pens."[start:end]
        for token, (start, end) in zip(encoded.input_ids, encoded.offset_mapping)
        if token == TOKENIZER.unk_token_id
    ]
    assert unknown == [" Zorro", "'", "s"]


def test_vocabulary_is_dense_unique_and_starts_with_the_special_tokens():
    table = vocabulary()
    assert sorted(table.values()) == list(range(len(table)))
    assert [table[token] for token in (PAD, UNKNOWN, BEGIN, END)] == [0, 1, 2, 3]
    assert len(TOKENIZER) == len(table)


def test_padding_stands_on_the_left_and_is_dropped_by_decoding():
    texts = ["Ana has 3 pens.", "It is dated: yes. The answer is no."]
    batch = TOKENIZER(texts, padding=True, return_tensors="pt")
    assert batch.input_ids[0, 0] == TOKENIZER.pad_token_id
    assert batch.attention_mask[0].tolist() == (batch.input_ids[0] != 0).long().tolist()
    assert TOKENIZER.batch_decode(batch.input_ids, skip_special_tokens=True) == texts


def test_saved_tokenizer_reads_the_same(tmp_path):
    from transformers import AutoTokenizer

    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for family in FAMILIES:
        text = whole_text(family, 3, 4)
        assert loaded(text).input_ids == TOKENIZER(text).input_ids
        assert loaded.decode(loaded(text).input_ids, skip_special_tokens=True) == text
    assert loaded.padding_side == "left"
