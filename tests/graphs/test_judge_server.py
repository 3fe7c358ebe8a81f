"""The protocol against a real server: `transformers serve` with a tiny random model."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from rg_helpers.graphs.judge import judge_graphs, judge_messages, recorded_replies
from rg_helpers.language_model import save_model

TRACES = [recorded.trace for recorded in recorded_replies() if recorded.case.startswith("good")]
BEGIN, END = "<|im_start|>", "<|im_end|>"
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
START_SECONDS = 150  # a bound for a slow machine, not a measurement


def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on the prompts of the test, with a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [message["content"] for trace in TRACES for message in judge_messages(trace)]
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, chat_template=CHAT
    )


def tiny_qwen3(vocabulary: int) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=vocabulary,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=4096,
        )
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Start the server, wait until it is healthy; yield process, address and model name."""
    folder = tmp_path_factory.mktemp("judge")
    tokenizer = byte_level_tokenizer()
    model = save_model(folder / "model", tiny_qwen3(len(tokenizer)), tokenizer, torch.float32)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-c", "from transformers.cli.transformers import main; main()"),
        *("serve", str(model), "--host", "127.0.0.1", "--port", str(port)),
        *("--device", "cpu", "--dtype", "float32"),
    ]
    log = folder / "log"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        until = time.monotonic() + START_SECONDS
        while not _healthy(port):
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"the server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield process, f"http://127.0.0.1:{port}/v1", str(model)
    finally:
        process.kill()
        process.wait()


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.slow
def test_the_protocol_from_first_request_to_a_dead_server(server, tmp_path):
    process, url, model = server
    options = {"model": model, "cache": tmp_path, "progress": False, "max_tokens": 24}

    run = judge_graphs(TRACES, url, **options)
    assert (run.requests, run.cached) == (3, 0)
    assert run.graphs == [None] * 3  # a random model writes nonsense, and that is reported
    assert [problem.kind for problem in run.problems] == ["truncated"] * 3
    for reply in run.replies:
        assert reply.content
        assert reply.completion_tokens == 24
        assert reply.prompt_tokens > 100
        assert reply.finish_reason == "length"

    with pytest.raises(RuntimeError, match="most often in /v1"):
        judge_graphs(TRACES, url.removesuffix("/v1"), model=model, progress=False, max_retries=0)
    other = judge_graphs(TRACES[:1], url, model="another", progress=False)
    assert other.problems[0].kind == "request_failed"
    assert "another" in other.problems[0].detail  # the server's own words

    process.send_signal(signal.SIGKILL)
    process.wait()
    again = judge_graphs(TRACES, url, **options)
    assert (again.requests, again.cached) == (0, 3)
    assert again.replies == run.replies
    with pytest.raises(ConnectionError, match="transformers serve"):
        judge_graphs(TRACES, url, **{**options, "max_tokens": 25, "max_retries": 1})
