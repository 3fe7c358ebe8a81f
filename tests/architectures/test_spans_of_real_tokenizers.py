"""Every token of a solution belongs to one node, and a node's tokens decode to its text."""

from __future__ import annotations

import unicodedata

import pytest
from locally_trained_tokenizers import LETTERS, TRAINED, trained_tokenizer

from rg_helpers.problems import FAMILIES, generate_problems
from rg_helpers.traces import Trace, encode_text, gold_trace, trace_from_text

PROBLEMS = [p for family in FAMILIES for p in generate_problems(family, 3, split="test", seed=3)]


def tile(tokenizer, trace: Trace) -> None:
    """Spans in order, nothing between them but blanks, BOS in front and EOS behind."""
    ids = list(trace.token_ids)
    position = 0
    for node in trace.nodes:
        between = ids[position : node.start]
        if position == 0 and tokenizer.bos_token_id is not None:
            assert between[0] == tokenizer.bos_token_id
            between = between[1:]
        assert not tokenizer.decode(between).strip(), f"no node holds {tokenizer.decode(between)!r}"
        decoded = tokenizer.decode(ids[node.start : node.end])
        assert decoded.strip() == node.text
        position = node.end
    assert ids[position:] == [tokenizer.eos_token_id]
    assert trace.prompt_tokens <= min(node.start for node in trace.steps)
    given = tokenizer.decode(ids[: trace.prompt_tokens], skip_special_tokens=True)
    assert given.strip() == trace.prompt.strip()


@pytest.mark.parametrize("name", TRAINED)
def test_the_nodes_of_problems_tile_their_tokens(name):
    tokenizer = trained_tokenizer(name)
    for problem in PROBLEMS:
        trace = gold_trace(problem, tokenizer)
        assert trace.texts == tuple(node.text for node in problem.nodes)
        tile(tokenizer, trace)


@pytest.mark.parametrize("name", TRAINED)
def test_letters_of_several_tokens_blank_lines_and_indents_tile_too(name):
    tokenizer = trained_tokenizer(name)
    solution = f"{LETTERS}\n\n\t東京 → 3 🙂 pens.  So 🙂🙂.\r\n   ∴ x² = 4!\n\n\nThe answer is 4."
    trace = trace_from_text(tokenizer, "Où est l'été? Naïvely, how many €?", solution)
    assert [node.text for node in trace.steps] == [
        LETTERS,
        "東京 → 3 🙂 pens.",
        "So 🙂🙂.",
        "∴ x² = 4!",
        "The answer is 4.",
    ]
    tile(tokenizer, trace)


@pytest.mark.parametrize("name", TRAINED)
def test_offsets_hold_where_the_tokenizer_composes_accents(name):
    tokenizer = trained_tokenizer(name)
    solution = unicodedata.normalize("NFD", "Le café a été naïf. Ça fait 3.")
    assert len(solution) > len(unicodedata.normalize("NFC", solution))
    trace = trace_from_text(tokenizer, "How many?", solution)
    assert "".join(node.text for node in trace.steps) == solution.replace(". ", ".")
    for node in trace.steps:
        decoded = tokenizer.decode(trace.token_ids[node.start : node.end]).strip()
        assert unicodedata.normalize("NFC", decoded) == unicodedata.normalize("NFC", node.text)


@pytest.mark.parametrize("name", TRAINED)
def test_one_begin_token_and_the_text_back(name):
    tokenizer = trained_tokenizer(name)
    text = PROBLEMS[0].prompt
    ids, offsets = encode_text(tokenizer, text)
    begin = tokenizer.bos_token_id
    assert ids.count(begin) == (begin is not None)
    if begin is not None:
        assert ids[0] == begin
        templated = tokenizer.bos_token + text  # as chat templates begin
        plain = tokenizer(templated, add_special_tokens=False).input_ids
        assert encode_text(tokenizer, templated)[0] == plain
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert len(ids) == len(offsets) > len(text) / 6
    assert len(ids) < len(text), "a tokenizer of single letters tests no merged spans"
