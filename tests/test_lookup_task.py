"""Look-ups: read back as text they say what labels, nodes and gold rows say."""

from __future__ import annotations

import re

import pytest
import torch

from rg_helpers.lookup_task import fetched_right, lookup_batch, repeated_batch
from rg_helpers.pretraining_data import IGNORED
from rg_helpers.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def draw(tokenizer, size=6, seed=0, **choices):
    return lookup_batch(tokenizer, size, generator=torch.Generator().manual_seed(seed), **choices)


def test_the_text_is_plain_and_every_query_repeats_its_premise(tokenizer):
    batch = draw(tokenizer, premises=4)
    for row in batch.tokens:
        text = tokenizer.decode(row, skip_special_tokens=True)
        given = re.findall(r"([A-Z][a-z]+) has (\d) pens\.", text)
        asked = re.findall(r"([A-Z][a-z]+) has (\d)\.", text)
        assert len(given) == len(asked) == 4
        assert text == " ".join(
            [*(f"{who} has {value} pens." for who, value in given),
             *(f"{who} has {value}." for who, value in asked)]
        )  # fmt: skip
        assert dict(given) == dict(asked)
        assert len(dict(given)) == len({value for _, value in given}) == 4


def test_nodes_labels_and_gold_rows_say_the_same_as_the_text(tokenizer):
    batch = draw(tokenizer, premises=5, names=8)
    assert batch.tokens.shape == batch.labels.shape == batch.node_ids.shape == (6, 1 + 9 * 5)
    for row in range(6):
        texts = [
            tokenizer.decode(batch.tokens[row][batch.node_ids[row] == node]) for node in range(10)
        ]
        labelled = torch.nonzero(batch.labels[row] != IGNORED).flatten()
        assert len(labelled) == 5
        for query, place in enumerate(labelled.tolist()):
            who = texts[5 + query].removesuffix(" has").strip()
            (parent,) = torch.nonzero(batch.graph.gold[row, 5 + query]).flatten().tolist()
            assert texts[parent].split()[0] == who
            value = tokenizer.decode(batch.labels[row, place]).strip()
            assert texts[parent].split()[2] == value
            assert batch.tokens[row, place] == batch.labels[row, place]
            # The node ends where the value must be known: the token before it.
            assert batch.node_ids[row, place - 1] == 5 + query
            assert batch.node_ids[row, place] == -1
    assert torch.equal(batch.graph.gold.sum(-1), batch.graph.is_target.float())
    assert not (batch.graph.gold > 0)[~batch.graph.eligible].any()


def test_same_seed_same_texts_and_every_order_is_drawn(tokenizer):
    assert torch.equal(draw(tokenizer).tokens, draw(tokenizer).tokens)
    assert not torch.equal(draw(tokenizer).tokens, draw(tokenizer, seed=1).tokens)
    parents = draw(tokenizer, 600, premises=2).graph.gold[:, 2, 0]
    assert 0.4 < parents.mean() < 0.6  # the first query asks for either premise


def test_repeated_sequences_are_repeated_and_labelled_where_they_can_be_copied(tokenizer):
    tokens, labels = repeated_batch(
        tokenizer, 50, length=7, generator=torch.Generator().manual_seed(0)
    )
    assert tokens.shape == labels.shape == (50, 15)
    assert torch.equal(tokens[:, 1:8], tokens[:, 8:])
    assert (labels[:, :9] == IGNORED).all()
    assert torch.equal(labels[:, 9:], tokens[:, 9:])
    assert tokens[:, 1:].min() > tokenizer.bos_token_id
    assert tokens.max() < len(tokenizer)
    few, _ = repeated_batch(tokenizer, 50, length=7, words=5)
    assert len(few[:, 1:].unique()) == 5


class Answering(torch.nn.Module):
    """Predicts the token that `answers` says, at every place."""

    def __init__(self, answers, vocabulary):
        super().__init__()
        self.answers, self.vocabulary = answers, vocabulary
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, input_ids, use_cache):
        logits = torch.nn.functional.one_hot(self.answers, self.vocabulary).float()
        return type("Output", (), {"logits": logits})()


def test_a_value_counts_as_fetched_where_the_place_before_predicts_it(tokenizer):
    batch = draw(tokenizer, premises=3)
    following = batch.tokens.roll(-1, dims=1)
    knowing = Answering(following, len(tokenizer))
    assert fetched_right(knowing, batch).shape == (6, 3)
    assert fetched_right(knowing, batch).all()
    same = Answering(batch.tokens, len(tokenizer))  # knows each token, predicts none
    assert not fetched_right(same, batch).any()
    wrong = following.clone()
    last = int(torch.nonzero(batch.labels[0] != IGNORED).max())
    wrong[2, last - 1] = tokenizer.bos_token_id
    found = fetched_right(Answering(wrong, len(tokenizer)), batch)
    assert torch.nonzero(~found).tolist() == [[2, 2]]


def test_impossible_sizes_and_foreign_tokenizers_are_refused(tokenizer):
    for choices in ({"premises": 1}, {"premises": 11}, {"premises": 5, "names": 4}, {"names": 99}):
        with pytest.raises(ValueError, match="expected a size"):
            draw(tokenizer, **choices)
    with pytest.raises(ValueError, match="expected a size"):
        draw(tokenizer, 0)

    class Letters:
        bos_token_id = 0

        def __call__(self, text, add_special_tokens):
            return type("Encoding", (), {"input_ids": list(map(ord, text))})()

    with pytest.raises(ValueError, match=r"cuts 'Ada'.*build_tokenizer"):
        lookup_batch(Letters(), 2)
    with pytest.raises(ValueError, match="length=0"):
        repeated_batch(tokenizer, 2, length=0)
    with pytest.raises(ValueError, match="words=1"):
        repeated_batch(tokenizer, 2, words=1)
