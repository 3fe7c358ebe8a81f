"""The reader's own quality: against naive loops, and against counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gsm8k_lines import train_row

from rg_helpers.datasets.reader import reader_text, reference_trace
from rg_helpers.datasets.reader_quality import (
    Written,
    greedy_solutions,
    measure_solving,
    solution_losses,
    token_log_frequencies,
)
from rg_helpers.datasets.reader_tokenizer import train_tokenizer
from rg_helpers.datasets.word_problems import problem_of
from rg_helpers.language_model import new_course_model

PROBLEMS = [problem_of(train_row(seed), seed) for seed in range(12)]
TOKENIZER = train_tokenizer([reader_text(problem) for problem in PROBLEMS], 300)


@pytest.fixture(scope="module")
def model():
    sizes = {"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 32}
    return new_course_model(3, tokenizer=TOKENIZER, **sizes).eval()


def test_losses_are_those_of_a_naive_loop(model):
    traces = [reference_trace(TOKENIZER, problem) for problem in PROBLEMS[:4]]
    frequencies = token_log_frequencies([trace.token_ids for trace in traces], 304)
    groups = {"references": traces, "one": traces[:1]}
    (row,) = solution_losses(model, groups, frequencies, draws=50, progress=False)
    surprise, blind, hits = [], [], []
    for trace in traces:
        ids = torch.tensor([trace.token_ids])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0].double()
        for place in range(trace.prompt_tokens, len(trace)):
            token = trace.token_ids[place]
            surprise.append(-logits[place - 1].log_softmax(-1)[token].item())
            hits.append(int(logits[place - 1].argmax()) == token)
            blind.append(-frequencies[token])
    assert row["tokens"] == len(surprise)
    assert row["loss"]["value"] == pytest.approx(np.mean(surprise), rel=1e-5)
    assert row["perplexity"]["value"] == pytest.approx(math.exp(np.mean(surprise)), rel=1e-4)
    assert row["frequency_perplexity"] == pytest.approx(math.exp(np.mean(blind)))
    assert row["token_accuracy"] == pytest.approx(np.mean(hits))
    assert row["loss"]["low"] <= row["loss"]["value"] <= row["loss"]["high"]
    assert row["loss"]["n"] == 4


def test_frequencies_are_counted_with_one_more_each():
    found = np.exp(token_log_frequencies([[0, 0, 1], [0]], 4))
    np.testing.assert_allclose(found, [4 / 8, 2 / 8, 1 / 8, 1 / 8])


def test_greedy_solutions_are_those_of_one_token_at_a_time(model):
    written = greedy_solutions(
        model, TOKENIZER, PROBLEMS[:5], max_new_tokens=6, batch_size=2, progress=False
    )
    for problem, one in zip(PROBLEMS[:5], written, strict=True):
        ids = TOKENIZER(f"{problem.question}\n").input_ids
        start = len(ids)
        with torch.no_grad():
            while len(ids) < start + 6 and ids[-1] != TOKENIZER.eos_token_id:
                ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        assert one.finished is (ids[-1] == TOKENIZER.eos_token_id)
        assert one.text == TOKENIZER.decode(ids[start:], skip_special_tokens=True).strip()


def test_solving_is_counted_beside_what_nobody_worked_out():
    def asked(question, answer):
        return problem_of({"question": question, "answer": f"#### {answer}"})

    test = [asked("2 and 5?", 5), asked("3 and 4?", 7), asked("7 of 9?", 5), asked("Why?", 1)]
    texts = ["so A: 5", "3 + 4\nA: 7.0", "A: 7", "no idea"]
    written = [Written(text.replace("so ", ""), text != "no idea") for text in texts]
    known = [asked("a?", 5), asked("b?", 5), asked("c?", 1)]
    found = measure_solving(written, test, known)
    assert found["accuracy"]["value"] == 2 / 4
    assert found["most_common_answer"]["value"] == 2 / 4
    assert found["last_number"]["value"] == 1 / 4
    assert found["with_answer"]["value"] == found["finished"]["value"] == 3 / 4
    # 5 is given once and wanted twice, 7 given twice and wanted once: 4 of 16 pairs agree.
    assert found["dealt_answers"] == 4 / 16
