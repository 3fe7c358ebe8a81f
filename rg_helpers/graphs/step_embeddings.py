"""Step embeddings: one vector a node, from the model's own states or from a sentence model.

The model's own state of a step has read everything before it; a sentence model sees the step's
text alone. Which of the two a cluster graph is built on decides what "similar" means.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm.auto import tqdm

from rg_helpers.graphs.step_states import Pooling, step_states
from rg_helpers.traces import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Encoder = Callable[[Sequence[str]], np.ndarray]
SENTENCE_BATCH = 64


def step_embeddings(
    source: PreTrainedModel | str | Path | Encoder,
    traces: Sequence[Trace],
    *,
    layer: int | None = None,
    pooling: Pooling = "mean",
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return each trace's node embeddings: float32 (nodes, width), in node order.

    `source` is a language model of transformers, whose states after `layer` layers are pooled over
    each node's tokens (`step_states`; without a `layer` after half of them), or the name or folder
    of a sentence-embedding model, or any function from texts to an array (texts, width). `layer`
    and `pooling` concern language models alone.
    """
    if is_language_model(source):
        layer = middle_layer(source) if layer is None else layer
        states = step_states(
            source,
            traces,
            pooling,
            [layer],
            batch_size=batch_size,
            progress=progress,
        )
        return [trace_states[0] for trace_states in states]
    encode = sentence_encoder(source) if isinstance(source, (str, Path)) else source
    return _embed_texts(encode, traces, batch_size or SENTENCE_BATCH, progress)


def is_language_model(source: object) -> bool:
    """Return whether `source` is a model of transformers, whose own states can be read."""
    return isinstance(source, torch.nn.Module) and hasattr(source, "get_input_embeddings")


def middle_layer(model: PreTrainedModel) -> int:
    """Return the number of the state after half of the layers, as `step_states` counts."""
    return model.config.get_text_config().num_hidden_layers // 2


def sentence_encoder(name_or_folder: str | Path) -> Encoder:
    """Return a function from texts to float32 (texts, width) that runs a sentence-embedding model.

    With the optional package sentence-transformers the model is used as its authors saved it.
    Without it the last states are averaged over the tokens, padding left out, which is what most
    such models (all-mpnet-base-v2, all-MiniLM-L6-v2) do, but not those that read their first token.
    Raises `FileNotFoundError` if there is no such model here and it cannot be downloaded.
    """
    try:
        if importlib.util.find_spec("sentence_transformers"):
            return _packaged_encoder(str(name_or_folder))
        return mean_pooling_encoder(name_or_folder)
    except OSError as error:
        raise FileNotFoundError(
            f"no sentence-embedding model {str(name_or_folder)!r}: give a folder that holds one or "
            "the id of one on the hub (which must be reachable or already downloaded), or pass the "
            "language model itself to embed steps by its own states"
        ) from error


def mean_pooling_encoder(name_or_folder: str | Path) -> Encoder:
    """Return an encoder that averages a transformers model's last states over each text's tokens.

    embedding = sum over tokens of mask * state / sum of mask (Reimers & Gurevych 2019,
    arXiv 1908.10084, "mean" pooling).
    """
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(name_or_folder)
    model = AutoModel.from_pretrained(name_or_folder, dtype=torch.float32).eval()
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    longest = getattr(model.config, "max_position_embeddings", None)

    @torch.no_grad()
    def encode(texts: Sequence[str]) -> np.ndarray:
        given = tokenizer(
            list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt"
        )
        states = model(**given).last_hidden_state
        mask = given["attention_mask"][..., None].to(states.dtype)
        return ((states * mask).sum(1) / mask.sum(1).clamp(min=1)).numpy()

    return encode


def _packaged_encoder(name_or_folder: str) -> Encoder:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(name_or_folder)

    def encode(texts: Sequence[str]) -> np.ndarray:
        return model.encode(list(texts), convert_to_numpy=True, show_progress_bar=False)

    return encode


def _embed_texts(
    encode: Encoder, traces: Sequence[Trace], batch_size: int, progress: bool
) -> list[np.ndarray]:
    """Embed every distinct text once; premises and lines recur between traces."""
    texts = sorted({text for trace in traces for text in trace.texts}, key=lambda t: (len(t), t))
    if not texts:
        return [np.zeros((0, 0), dtype=np.float32) for _ in traces]
    batches = range(0, len(texts), batch_size)
    bar = tqdm(batches, desc="sentence embeddings", disable=None if progress else True)
    parts = [np.asarray(encode(texts[first : first + batch_size]), np.float32) for first in bar]
    table = np.concatenate(parts)
    row_of = {text: row for row, text in enumerate(texts)}
    return [table[[row_of[text] for text in trace.texts]] for trace in traces]
