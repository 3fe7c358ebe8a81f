"""Chats as each family writes them: exact spans behind the template, the tokens the model sees."""

from __future__ import annotations

import copy

import pytest
from chat_forms import TEMPLATES
from locally_trained_tokenizers import trained_tokenizer

from rg_helpers.problems import generate_problem
from rg_helpers.scoring.formats import Written
from rg_helpers.scoring.solution_file import written_trace

PROBLEM = generate_problem("arithmetic", 8, 2, distractors=1)
SYSTEM = {"role": "system", "content": "You are a careful assistant. Write every step."}
TURNS = [
    {"role": "user", "content": "user"},  # also a word of the templates
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": f"  {PROBLEM.prompt}\n"},
]


def chat_tokenizer(name):
    tokenizer = copy.deepcopy(trained_tokenizer(name))
    tokenizer.chat_template = TEMPLATES.get(name)
    return tokenizer


def chat_trace(tokenizer, messages):
    return written_trace(
        tokenizer, Written(prompt="", solution=PROBLEM.solution, messages=tuple(messages))
    )


@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize("name", TEMPLATES)
def test_sentences_of_a_chat_are_nodes_and_the_templates_words_are_not(name, system):
    tokenizer = chat_tokenizer(name)
    trace = chat_trace(tokenizer, [SYSTEM] * system + TURNS)
    given = [node.text for node in PROBLEM.nodes[: PROBLEM.prompt_nodes]]
    rules = ["You are a careful assistant.", "Write every step."] if system else []
    first, last = ["user", "Yes."], given
    order = [*first, *rules, *last] if name == "llama2" else [*rules, *first, *last]
    assert list(trace.texts[: len(order)]) == order
    assert trace.kinds[len(order) - 1] == "question"
    for node in trace.nodes:
        tokens = trace.token_ids[node.start : node.end]
        assert tokenizer.decode(tokens).strip() == node.text
    user = next(node for node in trace.nodes if node.text == "user")
    before = tokenizer.decode(trace.token_ids[: user.start]).rstrip()
    headers = {"llama3": "<|end_header_id|>", "qwen": "<|im_start|>user", "gemma": "_turn>user"}
    if name in ("gemma", "unigram") and system:  # the system message opens the user's turn
        headers = {"gemma": "Write every step.", "unigram": "<</SYS>>"}
    other = "[INST]" if name in ("llama2", "unigram") else "<|user|>"
    assert before.endswith(headers.get(name, other))


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_tokens_are_those_of_the_whole_conversation(name):
    tokenizer = chat_tokenizer(name)
    trace = chat_trace(tokenizer, TURNS)
    reply = {"role": "assistant", "content": PROBLEM.solution}
    whole = tokenizer.apply_chat_template([*TURNS, reply], tokenize=True, return_dict=False)
    written = list(trace.token_ids[:-1])
    if name == "phi3":  # its template writes no begin token, a trace has one in any case
        assert written.pop(0) == tokenizer.bos_token_id
    assert written == list(whole[: len(written)])
    solution = tokenizer.decode(trace.token_ids[trace.prompt_tokens : -1])
    assert solution.strip() == PROBLEM.solution


def test_a_missing_template_and_refused_roles_say_so():
    with pytest.raises(ValueError, match="no chat template"):
        chat_trace(chat_tokenizer("gpt2"), TURNS)
    with pytest.raises(ValueError, match=r"must alternate.*in turns"):
        chat_trace(chat_tokenizer("llama2"), [TURNS[0], TURNS[2]])
