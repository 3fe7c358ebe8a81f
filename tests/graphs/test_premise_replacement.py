"""Premise replacement: against the checker, against hand-worked problems, and a naive loop."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tiny_models import ARCHITECTURES, tiny_model

from rg_helpers.graphs.premise_replacement import (
    changed_nodes,
    premise_replacement_graphs,
    premise_replacement_scores,
    replaced_premises,
    replacements,
    true_changes,
    with_prompt_of,
)
from rg_helpers.language_model import new_course_model
from rg_helpers.problems import FAMILIES, check_solution, generate_problems
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import gold_trace

TOKENIZER = build_tokenizer()
PROBLEMS = [problem for family in FAMILIES for problem in generate_problems(family, 10, seed=3)]


@pytest.fixture(scope="module")
def model():
    model = new_course_model(0, hidden_size=16, layers=2, heads=2, intermediate_size=32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6.0 if parameter.ndim > 1 else 1.0)  # far from indifferent
    return model


def test_the_checker_calls_every_new_solution_right_and_tells_the_old_one_apart():
    seen = dict.fromkeys(FAMILIES, 0)
    for problem in PROBLEMS:
        for premise, made in replaced_premises(problem, count=3).items():
            for other in made:
                checked = check_solution(other, other.solution)
                assert checked.all_right, (other.prompt, other.solution)
                first = problem.prompt_nodes
                for step, node in zip(checked.steps, other.nodes[first:], strict=True):
                    assert tuple(sorted(step.needed)) == node.parents
                assert other.problem_id != problem.problem_id
                changed = changed_nodes(problem, other)
                assert changed[premise]
                assert changed[: problem.prompt_nodes].sum() == 1
                # The old solution is wrong behind the new premise exactly if some step changes.
                assert check_solution(other, problem.solution).all_right == (
                    not changed[problem.prompt_nodes :].any()
                )
                seen[problem.family] += 1
    assert min(seen.values()) > 30, seen


def test_numbers_keep_their_tokens():
    for problem in PROBLEMS:
        before = gold_trace(problem, TOKENIZER)
        for premise, made in replaced_premises(problem).items():
            after = with_prompt_of(before, made[0], TOKENIZER)
            assert after.solution == before.solution
            if problem.family == "deduction":
                assert abs(len(after) - len(before)) <= 1
                continue
            differ = np.flatnonzero(np.array(before.token_ids) != np.array(after.token_ids))
            node = before.nodes[premise]
            assert len(differ)
            assert node.start <= differ.min()
            assert differ.max() < node.end
            assert [(n.start, n.end) for n in before.nodes] == [
                (n.start, n.end) for n in after.nodes
            ]


def test_the_solution_keeps_its_own_tokens():
    problem = PROBLEMS[0]
    trace = gold_trace(problem, TOKENIZER)
    premise, (other, *_) = next(iter(replaced_premises(problem).items()))
    written = (*trace.token_ids[:-2], TOKENIZER.unk_token_id, trace.token_ids[-1])
    after = with_prompt_of(dataclasses.replace(trace, token_ids=written), other, TOKENIZER)
    assert after.token_ids[after.prompt_tokens :] == written[trace.prompt_tokens :]
    assert after.nodes[premise].text == other.nodes[premise].text
    assert after.nodes[problem.prompt_nodes :] == trace.nodes[problem.prompt_nodes :]


def descendants(problem, premise) -> np.ndarray:
    """Nodes reached from a premise through gold edges."""
    reached = np.zeros(len(problem.nodes), dtype=bool)
    reached[premise] = True
    for i, node in enumerate(problem.nodes):
        if any(reached[parent] for parent in node.parents):
            reached[i] = True
    return reached


def test_only_what_follows_from_a_premise_changes():
    least = 0
    for problem in PROBLEMS:
        changes = true_changes(problem, count=2)
        assert not changes[: problem.prompt_nodes].any()
        for premise in range(problem.prompt_nodes - 1):
            if problem.family == "program":
                continue  # a branch taken the other way changes which later line is read
            assert not changes[~descendants(problem, premise), premise].any()
        least += changes.any()
    assert least == len(PROBLEMS)
    distracting = next(
        q.premise
        for p in PROBLEMS[:1]
        for q in p.quantities
        if not q.relevant and q.operator == "given"
    )
    assert not true_changes(PROBLEMS[0])[:, distracting].any()


def test_one_problem_by_hand():
    problem = next(
        p for p in PROBLEMS if p.family == "arithmetic" and p.quantities[0].operator == "more"
    )
    root = problem.quantities[0]
    found = replacements(problem, root.premise)
    assert found
    for other in found:
        number = other.quantities[0].operand
        assert number != root.operand
        assert f" {number} more " in other.nodes[root.premise].text
        assert int(other.answer) == int(problem.answer) - root.operand + number
    twice = [q for p in PROBLEMS[:10] for q in p.quantities if q.operator == "twice"]
    owner = next(p for p in PROBLEMS if twice[0] in p.quantities)
    assert replacements(owner, twice[0].premise) == []
    with pytest.raises(ValueError, match="no premise"):
        replacements(problem, problem.prompt_nodes - 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_one_forward_pass_a_replacement(model, family):
    problem = next(p for p in PROBLEMS if p.family == family)
    trace = gold_trace(problem, TOKENIZER)
    model.train()
    (found,) = premise_replacement_scores(model, [trace], TOKENIZER, [problem], count=2)
    assert model.training
    model.eval()

    def predictions(text_trace):
        with torch.no_grad():
            logits = model(torch.tensor([text_trace.token_ids])).logits[0].double()
        return torch.log_softmax(logits, -1).numpy()

    base = predictions(trace)
    expected = np.zeros_like(found)
    for premise, made in replaced_premises(problem, count=2).items():
        for other in made:
            variant = with_prompt_of(trace, other, TOKENIZER)
            after = predictions(variant)
            for i, (old, new) in enumerate(zip(trace.nodes, variant.nodes, strict=True)):
                if old.kind in ("step", "answer"):
                    p = base[old.start - 1 : old.end - 1]
                    q = after[new.start - 1 : new.end - 1]
                    expected[i, premise] += (np.exp(p) * (p - q)).sum(1).mean() / len(made)
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=1e-6)
    assert found.max() > 1e-4


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name):
    model = tiny_model(name)
    model.resize_token_embeddings(len(TOKENIZER))
    problems = [next(p for p in PROBLEMS if p.family == family) for family in FAMILIES]
    traces = [gold_trace(problem, TOKENIZER) for problem in problems]
    found = premise_replacement_scores(model, traces, TOKENIZER, problems)
    for trace, scores, problem in zip(traces, found, problems, strict=True):
        assert scores.shape == (len(trace.nodes),) * 2
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()
        assert not np.triu(scores).any()
        assert (scores >= 0).all()
        columns = set(np.flatnonzero(scores.any(0)).tolist())
        # Two windows of five tokens hardly reach from the solution past the question.
        assert columns or name == "mistral"
        assert columns <= set(replaced_premises(problem))
        assert not scores[: problem.prompt_nodes].any()


def test_graphs_and_refusals(model):
    problem = PROBLEMS[0]
    trace = gold_trace(problem, TOKENIZER)
    by_id = {problem.problem_id: problem}
    (graph,) = premise_replacement_graphs(model, [trace], TOKENIZER, by_id, batch_size=2)
    assert graph.method == "premise_replacement"
    assert graph.choice == "up to 1 replacement(s) a premise, seed 0"
    with pytest.raises(ValueError, match="not among the 1 given"):
        premise_replacement_scores(model, [trace], TOKENIZER, PROBLEMS[1:2])
    with pytest.raises(ValueError, match="not that of problem"):
        premise_replacement_scores(model, [trace], TOKENIZER, {problem.problem_id: PROBLEMS[1]})
    with pytest.raises(ValueError, match="at least one"):
        replaced_premises(problem, count=0)
