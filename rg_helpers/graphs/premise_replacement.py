"""Premise replacement: write something else in one premise and see which later steps change.

What is exchanged is a number ("Ana has 7 pens." -> "Ana has 4 pens.", of as many digits, so that no
token moves), and in deduction a fact or the connective of a clause ("when dated" -> "when not
dated", which moves later tokens by one; "and" <-> "or"). A premise without either ("twice as many")
has no replacement: its column is zero and `replaced_premises` leaves it out.

Two answers to "which steps change?":

- truth: the problem is solved again with the new premise; a step changes if its gold text does.
  It changes with everything that follows from the premise, however indirectly.
- model: the solution stays as written and is read once more behind the changed premise. The score
  of a step is the mean KL divergence, in nats, of the predictions of its tokens from those behind
  the old premise. Steps between still show the old values, so what is seen is what a step reads in
  the premise itself.

Unlike a cut (`intervention`), the prompt stays like those the model was trained on. Exchanging one
detail of an input and reading the change is the counterfactual side of activation patching (Meng
et al. 2022, arXiv 2202.05262; Zhang & Nanda 2024, arXiv 2309.16042).
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm.auto import tqdm

from rg_helpers.graphs.batches import check_traces, evaluation_mode, length_batches, padded_batch
from rg_helpers.graphs.intervention import writing_positions
from rg_helpers.graphs.step_graph import StepGraph, normalise_rows
from rg_helpers.problems import Problem
from rg_helpers.problems.deduction import premise_text as deduction_premise
from rg_helpers.problems.judgement import APPLY
from rg_helpers.problems.problem import GoldNode, Quantity, identify
from rg_helpers.problems.read_program import guard_of
from rg_helpers.problems.script import ScriptLine, play
from rg_helpers.traces import Trace, trace_from_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

OTHER_OPERATOR = {"same": "not", "not": "same", "and": "or", "or": "and"}  # deduction
NUMBER = re.compile(r"(?<![\w])\d+")  # not the number of a line label
LARGEST = 99


def replacements(problem: Problem, premise: int) -> list[Problem]:
    """Return the problem with every other thing that its node `premise` could say.

    All values stay between 1 and 99, as in generated problems, numbers keep their digits, and the
    new problems are solved anew: nodes, values, answer, id and split are theirs. Sizes, `relevant`
    and the quantities' `sources` stay those of the old problem, also where a branch of a program
    goes the other way. Empty for a premise that holds nothing to exchange, or where every exchange
    leaves the range. Raises `ValueError` for a node that is no premise.
    """
    made = (_with_premise(problem, *exchange) for exchange in _exchanges(problem, premise))
    return [other for other in made if other is not None]


def replaced_premises(
    problem: Problem, seed: int = 0, count: int = 1
) -> dict[int, tuple[Problem, ...]]:
    """Return up to `count` replacements, drawn by seed, of every premise that has any."""
    if count < 1:
        raise ValueError(f"count={count}: ask for at least one replacement of a premise")
    rng = random.Random(f"{problem.problem_id}|{seed}")
    found = {}
    for premise in range(problem.prompt_nodes - 1):
        exchanges = _exchanges(problem, premise)
        rng.shuffle(exchanges)
        made = (_with_premise(problem, *exchange) for exchange in exchanges)
        chosen = tuple(islice((other for other in made if other is not None), count))
        if chosen:
            found[premise] = chosen
    return found


def changed_nodes(problem: Problem, replaced: Problem) -> np.ndarray:
    """Return which nodes of the gold solution read differently: bool (nodes,)."""
    pairs = zip(problem.nodes, replaced.nodes, strict=True)
    return np.array([one.text != other.text for one, other in pairs])


def true_changes(problem: Problem, seed: int = 0, count: int = 1) -> np.ndarray:
    """Return the share of replacements that change each gold step: float32 (nodes, nodes).

    Row = changed step, column = replaced premise; rows of premises and question are zero. This
    needs no model: it is the truth that a model's scores can be held against.
    """
    scores = np.zeros((len(problem.nodes),) * 2, dtype=np.float32)
    for premise, made in replaced_premises(problem, seed, count).items():
        scores[:, premise] = np.mean([changed_nodes(problem, other) for other in made], axis=0)
    scores[: problem.prompt_nodes] = 0
    return np.tril(scores, k=-1)


def premise_replacement_scores(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem] | Mapping[str, Problem],
    *,
    count: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Return each trace's change of predictions, in nats: float32 (nodes, nodes).

    Entry [i, j] is the mean over the positions that write node i, and over up to `count`
    replacements of premise j, of KL(p_before || p_after). Columns of all other nodes are zero.
    `problems` must hold the problem of every trace. Raises `ValueError` for a trace of no problem
    given, or whose prompt is not its problem's.
    """
    if not isinstance(problems, Mapping):
        problems = {problem.problem_id: problem for problem in problems}
    check_traces(model, traces)
    scores = []
    bar = tqdm(traces, desc="premise replacement", disable=None if progress else True)
    with bar, evaluation_mode(model), torch.no_grad():
        for trace in bar:
            problem = _problem_of(trace, problems)
            made = replaced_premises(problem, seed, count)
            read = {
                premise: [with_prompt_of(trace, other, tokenizer) for other in others]
                for premise, others in made.items()
            }
            scores.append(_changes(model, trace, read, batch_size))
    return scores


def premise_replacement_graphs(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem] | Mapping[str, Problem],
    *,
    count: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[StepGraph]:
    """Draw the graph of every trace in which steps depend on premises alone."""
    scores = premise_replacement_scores(
        model,
        traces,
        tokenizer,
        problems,
        count=count,
        seed=seed,
        batch_size=batch_size,
        progress=progress,
    )
    choice = f"up to {count} replacement(s) a premise, seed {seed}"
    return [
        StepGraph(
            normalise_rows(score),
            trace.kinds,
            trace.texts,
            "premise_replacement",
            choice,
            trace.trace_id,
        )
        for trace, score in zip(traces, scores, strict=True)
    ]


def with_prompt_of(trace: Trace, problem: Problem, tokenizer: PreTrainedTokenizerFast) -> Trace:
    """Return the trace with the prompt of another problem before its own solution.

    The solution keeps its very tokens, which a model may have written otherwise than the tokenizer
    would cut its text.
    """
    prompt = trace_from_text(
        tokenizer,
        problem.prompt,
        trace.solution,
        family=trace.family,
        separator=problem.separator,
        prompt_nodes=[(node.kind, node.text) for node in problem.nodes[: problem.prompt_nodes]],
        solution_nodes=[],
        allow_no_steps=True,
    )
    shift = prompt.prompt_tokens - trace.prompt_tokens
    moved = [replace(node, start=node.start + shift, end=node.end + shift) for node in trace.steps]
    return replace(
        trace,
        trace_id=f"{trace.trace_id}-{problem.problem_id}",
        problem_id=problem.problem_id,
        prompt=problem.prompt,
        token_ids=(
            *prompt.token_ids[: prompt.prompt_tokens],
            *trace.token_ids[trace.prompt_tokens :],
        ),
        prompt_tokens=prompt.prompt_tokens,
        nodes=(*prompt.nodes, *moved),
    )


def _exchanges(problem: Problem, premise: int) -> list[tuple[Quantity, str]]:
    """List (changed quantity, premise text) for everything else that a premise could say."""
    quantity = next((q for q in problem.quantities if q.premise == premise), None)
    if quantity is None:
        raise ValueError(
            f"node {premise} is no premise: problem {problem.problem_id} has its premises at 0 to "
            f"{problem.prompt_nodes - 2}"
        )
    given = quantity.operator == "given"
    if problem.family == "deduction":
        if given:
            changed = replace(quantity, value=not quantity.value)
        else:
            changed = replace(quantity, operator=OTHER_OPERATOR[quantity.operator])
        return [(changed, deduction_premise(changed))]
    has_operand = quantity.operand is not None
    if not has_operand and not given:
        return []  # "twice as many", "together": no number
    old = quantity.operand if has_operand else quantity.value
    text = problem.nodes[premise].text
    place = [match for match in NUMBER.finditer(text) if int(match[0]) == old][-1]
    least, most = 10 ** (len(place[0]) - 1), 10 ** len(place[0]) - 1
    found = []
    for number in range(least, min(most, LARGEST) + 1):
        if number != old:
            changed = replace(
                quantity,
                operand=number if has_operand else None,
                value=number if given else quantity.value,
            )
            new_text = text[: place.start()] + str(number) + text[place.end() :]
            found.append((changed, new_text))
    return found


def _with_premise(problem: Problem, changed: Quantity, text: str) -> Problem | None:
    """Solve the problem again with one premise exchanged; None if a value leaves the range."""
    first = problem.prompt_nodes
    prompt = list(problem.nodes[:first])
    prompt[changed.premise] = replace(prompt[changed.premise], text=text)
    quantities = tuple(changed if q.key == changed.key else q for q in problem.quantities)
    draft = replace(problem, nodes=(*prompt, *problem.nodes[first:]), quantities=quantities)
    if problem.family == "program":
        lines = play(draft)
        run = {line.quantity.key: line.value for line in lines if line.kind != "answer"}
        values = {q.key: run.get(q.key) for q in draft.quantities}  # None: a line that is not run
    else:
        values = _values(draft)
        lines = play(_with_values(draft, values))
    numbers = [v for v in values.values() if v is not None and not isinstance(v, bool)]
    if any(not 1 <= number <= LARGEST for number in numbers):
        return None
    old = problem.nodes[first:]
    written = [replace(node, text=line.text) for node, line in zip(old, lines, strict=True)]
    if problem.family == "program":
        written = _with_parents(draft, written, lines)
    premises = [node.text for node in prompt[:-1]]
    problem_id, split = identify(problem.family, premises, prompt[-1].text)
    return replace(
        _with_values(draft, values),
        nodes=(*prompt, *written),
        answer=lines[-1].text.removesuffix(".").split()[-1],
        problem_id=problem_id,
        split=split,
    )


def _with_parents(
    problem: Problem, written: Sequence[GoldNode], lines: Sequence[ScriptLine]
) -> list[GoldNode]:
    """Link program steps anew: a branch taken the other way is read and written by other lines."""
    step_of: dict[str, int] = {}
    linked = []
    for number, (node, line) in enumerate(zip(written, lines, strict=True), problem.prompt_nodes):
        parents = {step_of[key] for key in line.sources}
        if line.kind == "answer":
            parents.add(problem.prompt_nodes - 1)
        else:
            parents.add(line.quantity.premise)
            guard = guard_of(problem, line.quantity)
            if guard:
                test = next(q.key for q in problem.quantities if q.name == guard[1])
                parents.add(step_of[test])
            step_of[line.quantity.key] = number
        linked.append(replace(node, parents=tuple(sorted(parents))))
    return linked


def _with_values(problem: Problem, values: Mapping[str, int | bool | None]) -> Problem:
    quantities = tuple(replace(q, value=values[q.key]) for q in problem.quantities)
    return replace(problem, quantities=quantities)


def _values(problem: Problem) -> dict[str, int | bool]:
    """Work every quantity out, distractors too, in whatever order they stand."""
    by_key = {quantity.key: quantity for quantity in problem.quantities}
    values: dict[str, int | bool] = {}

    def value_of(key: str) -> int | bool:
        if key not in values:
            quantity = by_key[key]
            inputs = [value_of(source) for source in quantity.sources]
            values[key] = (
                quantity.value
                if quantity.operator == "given"
                else APPLY[problem.family](quantity.operator, quantity.operand, inputs)
            )
        return values[key]

    return {key: value_of(key) for key in by_key}


def _problem_of(trace: Trace, problems: Mapping[str, Problem]) -> Problem:
    problem = problems.get(trace.problem_id)
    if problem is None:
        raise ValueError(
            f"trace {trace.trace_id!r} is of problem {trace.problem_id!r}, which is not among the "
            f"{len(problems)} given: pass the problems that the traces were written for"
        )
    prompt = [node.text for node in problem.nodes[: problem.prompt_nodes]]
    given = [node.text for node in trace.nodes if node.kind in ("premise", "question")]
    if prompt != given:
        raise ValueError(
            f"the prompt of trace {trace.trace_id!r} is not that of problem {trace.problem_id}: "
            "the nodes must be the problem's premises and its question"
        )
    return problem


def _changes(
    model: PreTrainedModel,
    trace: Trace,
    read: Mapping[int, Sequence[Trace]],
    batch_size: int | None,
) -> np.ndarray:
    """Divergence of predictions of one trace behind each replaced premise."""
    nodes = len(trace.nodes)
    scores = torch.zeros(nodes, nodes)
    targets = torch.tensor([node for _, node in writing_positions(trace)], dtype=torch.int64)
    variants = [(premise, other) for premise, others in read.items() for other in others]
    if not variants or not len(targets):
        return scores.numpy()
    counts = torch.bincount(targets, minlength=nodes).clamp(min=1)
    (base,) = _predictions(model, [trace])
    traces = [other for _, other in variants]
    for chosen in length_batches(model, traces, batch_size, _variant_bytes):
        found = _predictions(model, [traces[index] for index in chosen])
        for index, log_p in zip(chosen, found, strict=True):
            premise = variants[index][0]
            divergence = (base.exp() * (base - log_p)).sum(-1).clamp(min=0).cpu()
            mean = torch.zeros(nodes).index_add_(0, targets, divergence) / counts
            scores[:, premise] += mean / len(read[premise])
    return np.tril(scores.numpy(), k=-1)


def _predictions(model: PreTrainedModel, traces: Sequence[Trace]) -> list[torch.Tensor]:
    """Log-probabilities at each trace's writing positions: float32 (written, vocabulary)."""
    input_ids, mask, _ = padded_batch(traces, model.device)
    places = [[position for position, _ in writing_positions(trace)] for trace in traces]
    first = min(min(row) for row in places)
    logits = model(
        input_ids=input_ids,
        attention_mask=mask,
        use_cache=False,
        logits_to_keep=torch.arange(first, input_ids.shape[1], device=model.device),
    ).logits
    return [
        torch.log_softmax(logits[row, torch.tensor(place) - first].float(), dim=-1)
        for row, place in enumerate(places)
    ]


def _variant_bytes(model: PreTrainedModel, trace: Trace) -> int:
    """Estimate, on the high side, what one trace takes with its predictions."""
    config = model.config.get_text_config()
    widest = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    scores = 2 * config.num_attention_heads * min(len(trace), 2048)
    per_token = 12 * config.hidden_size + 3 * widest + scores + 3 * config.vocab_size
    return 4 * len(trace) * per_token
