"""Step embeddings: the model's states summed by hand, and a tiny sentence model from a folder."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
import transformers
from tiny_models import tiny_model, tiny_traces
from tokenizers import Tokenizer, models, pre_tokenizers

from rg_helpers.graphs.step_embeddings import (
    mean_pooling_encoder,
    sentence_encoder,
    step_embeddings,
)

TRACES = tiny_traces(3)


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("layer", [None, 0, 2])
def test_own_states_equal_a_forward_pass_by_hand(pooling, layer):
    model = tiny_model("qwen3")
    found = step_embeddings(
        model, TRACES, layer=layer, pooling=pooling, batch_size=2, progress=False
    )
    for trace, rows in zip(TRACES, found, strict=True):
        with torch.no_grad():
            output = model(torch.tensor([trace.token_ids]), output_hidden_states=True)
        states = output.hidden_states[1 if layer is None else layer][0].numpy()
        for node, row in zip(trace.nodes, rows, strict=True):
            own = states[node.start : node.end]
            expected = own.mean(axis=0) if pooling == "mean" else own[-1]
            assert np.abs(row - expected).max() < 1e-4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random BERT with a word-level tokenizer, saved as anybody would."""
    path = tmp_path_factory.mktemp("sentence_model")
    words = ["[PAD]", "[UNK]", "premise", "question", "step", "answer", *map(str, range(9))]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(path)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    transformers.BertModel(config).save_pretrained(path)
    return path


def test_mean_pooling_leaves_padding_out(folder):
    encode = mean_pooling_encoder(folder)
    texts = ["step", "premise 3 step 4", "question 1"]
    together = encode(texts)
    assert together.shape == (3, 16)
    for text, row in zip(texts, together, strict=True):
        assert np.abs(encode([text])[0] - row).max() < 1e-5
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        states = model(torch.tensor([[2, 9, 4, 10]])).last_hidden_state[0]
    assert np.abs(together[1] - states.mean(0).numpy()).max() < 1e-5


def test_a_folder_is_a_source_of_step_embeddings(folder):
    found = step_embeddings(folder, TRACES, batch_size=4, progress=False)
    encode = mean_pooling_encoder(folder)
    for trace, rows in zip(TRACES, found, strict=True):
        assert rows.dtype == np.float32
        assert np.abs(rows - encode(trace.texts)).max() < 1e-5


def test_the_package_and_plain_mean_pooling_agree(folder):
    if not importlib.util.find_spec("sentence_transformers"):
        pytest.skip("sentence-transformers is not installed: plain mean pooling is used instead")
    texts = ["step 1", "answer 5 step"]
    packaged, plain = sentence_encoder(folder)(texts), mean_pooling_encoder(folder)(texts)
    assert np.abs(packaged - plain).max() < 1e-5


def test_every_text_is_embedded_once_and_in_order():
    asked = []

    def encode(texts):
        asked.extend(texts)
        return np.array([[len(text), hash(text) % 97] for text in texts])

    found = step_embeddings(encode, TRACES, progress=False)
    assert len(asked) == len(set(asked))
    for trace, rows in zip(TRACES, found, strict=True):
        assert rows.tolist() == [[len(text), hash(text) % 97] for text in trace.texts]


def test_a_missing_sentence_model_names_the_cure(tmp_path):
    with pytest.raises(FileNotFoundError, match="give a folder that holds one"):
        step_embeddings(tmp_path / "nothing", TRACES, progress=False)
