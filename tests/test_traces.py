"""Traces: spans checked against decoding, sampling against a slow loop, files against damage."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.cache_utils import DynamicLayer

from rg_helpers.problems import FAMILIES, generate_problems
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import (
    Node,
    check_positions,
    encode_text,
    gold_trace,
    read_traces,
    sample_traces,
    trace_from_text,
    write_traces,
)
from rg_helpers.traces.decoding import choose_tokens
from rg_helpers.traces.key_value_cache import DoublingLayer

COURSE_TOKENIZER = build_tokenizer()
PROBLEMS = {family: generate_problems(family, 6, split="test", seed=3) for family in FAMILIES}


def word_tokenizer(template: bool = True, begin: str | None = "<s>") -> PreTrainedTokenizerFast:
    """A hand-made tokenizer with ids that can be counted by eye."""
    words = ["<unk>", "<s>", "</s>", "A", "B", "C", "is", "so", "two", "answer", ".", "?", "é"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token=begin, eos_token="</s>"
    )


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer, like GPT-2's with two merges: several tokens for one character."""
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<end>", "Ġs", ".Ċ"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("Ġ", "s"), (".", "Ċ")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


def tiny_model(positions: int = 1024) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    size = len(COURSE_TOKENIZER)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=size,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            max_position_embeddings=positions,
            bos_token_id=COURSE_TOKENIZER.bos_token_id,
            eos_token_id=COURSE_TOKENIZER.eos_token_id,
        )
    ).eval()


def test_hand_counted_spans():
    trace = trace_from_text(word_tokenizer(), "A is two. B?", "so two. answer two.")
    # <s> A is two . B ? so two . answer two . </s>
    assert trace.token_ids == (1, 3, 6, 8, 10, 4, 11, 7, 8, 10, 9, 8, 10, 2)
    assert trace.prompt_tokens == 7
    assert trace.nodes == (
        Node("premise", "A is two.", 1, 5),
        Node("question", "B?", 5, 7),
        Node("step", "so two.", 7, 10),
        Node("answer", "answer two.", 10, 13),
    )
    assert trace.node_ids() == [-1, 0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3, -1]


def test_unfinished_trace_has_no_end_token():
    trace = trace_from_text(word_tokenizer(), "A is two. B?", "so two. so", finished=False)
    assert trace.token_ids[-1] == 7
    assert not trace.finished


@pytest.mark.parametrize("family", FAMILIES)
def test_gold_nodes_decode_to_their_own_text_and_tile(family):
    for problem in PROBLEMS[family]:
        trace = gold_trace(problem, COURSE_TOKENIZER)
        assert trace.texts == tuple(node.text for node in problem.nodes)
        for node in trace.nodes:
            tokens = trace.token_ids[node.start : node.end]
            assert COURSE_TOKENIZER.decode(tokens).strip() == node.text
        ids = trace.node_ids()
        inside = [token for token, node in zip(trace.token_ids, ids, strict=True) if node >= 0]
        outside = [token for token, node in zip(trace.token_ids, ids, strict=True) if node < 0]
        read = COURSE_TOKENIZER.decode(inside)
        assert "".join(read.split()) == "".join("".join(trace.texts).split())
        assert COURSE_TOKENIZER.decode(outside, skip_special_tokens=True).strip() == ""
        assert trace.token_ids[0] == COURSE_TOKENIZER.bos_token_id
        assert trace.token_ids[-1] == COURSE_TOKENIZER.eos_token_id
        assert COURSE_TOKENIZER.unk_token_id not in trace.token_ids


@pytest.mark.parametrize("family", FAMILIES)
def test_segmenting_text_finds_the_gold_nodes(family):
    for problem in PROBLEMS[family]:
        read = trace_from_text(
            COURSE_TOKENIZER,
            problem.prompt,
            problem.solution,
            family=family,
            separator=problem.separator,
        )
        assert read.nodes == gold_trace(problem, COURSE_TOKENIZER).nodes


SENTENCES = st.lists(
    st.text(st.sampled_from("ab sé日😀"), min_size=1, max_size=8).filter(str.strip),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(SENTENCES, SENTENCES, st.sampled_from([" ", "\n", "\n\n"]))
def test_byte_level_spans_cover_each_piece_exactly(premises, steps, separator):
    """Without a token across two pieces, the bytes of a node's tokens are the piece's bytes."""
    tokenizer = byte_tokenizer()
    premises, steps = [p.strip() for p in premises], [s.strip() for s in steps]
    trace = trace_from_text(
        tokenizer,
        separator.join(premises),
        separator.join(steps),
        separator=separator,
        prompt_nodes=[("premise", text) for text in premises],
        solution_nodes=[("step", text) for text in steps],
    )
    assert len(trace.nodes) == len(premises) + len(steps)
    for node in trace.nodes:
        assert tokenizer.decode(trace.token_ids[node.start : node.end]).strip() == node.text


def test_token_across_two_pieces_belongs_to_the_first():
    trace = trace_from_text(byte_tokenizer(), "b?", "a.\nb.\na.", separator=" ")
    texts = [byte_tokenizer().decode(trace.token_ids[n.start : n.end]) for n in trace.steps]
    assert texts == ["a.\n", "b.\n", "a."]


def test_piece_without_own_token_joins_the_one_before():
    tokenizer = word_tokenizer()
    trace = trace_from_text(
        tokenizer,
        "A?",
        "so two. B",
        solution_nodes=[("step", "so"), ("step", "two."), ("step", "B")],
    )
    assert [node.text for node in trace.steps] == ["so", "two.", "B"]
    merged = trace_from_text(
        tokenizer, "A?", "so two", solution_nodes=[("step", "so t"), ("step", "wo")]
    )
    assert [(node.text, node.end - node.start) for node in merged.steps] == [("so two", 2)]


@pytest.mark.parametrize("text", ["A is", "<s>A is"])
@pytest.mark.parametrize("template", [True, False])
def test_exactly_one_begin_token(text, template):
    ids, offsets = encode_text(word_tokenizer(template), text)
    assert ids == [1, 3, 6]
    assert offsets[0] is None


def test_no_begin_token_where_the_tokenizer_has_none():
    ids, _ = encode_text(word_tokenizer(template=False, begin=None), "A is")
    assert ids == [3, 6]


def test_slow_tokenizer_is_refused_with_the_cure():
    class Slow:
        is_fast = False

    with pytest.raises(ValueError, match="use_fast=True"):
        encode_text(Slow(), "A is")


def test_empty_texts_are_refused():
    with pytest.raises(ValueError, match="prompt is empty"):
        trace_from_text(word_tokenizer(), " ", "so two.")
    with pytest.raises(ValueError, match="no step found"):
        trace_from_text(word_tokenizer(), "A is two. B?", " \n")
    with pytest.raises(ValueError, match="does not occur"):
        trace_from_text(word_tokenizer(), "A?", "so.", solution_nodes=[("step", "B.")])


def test_impossible_traces_are_refused():
    good = trace_from_text(word_tokenizer(), "A is two. B?", "so two. answer two.")
    first, *others = good.nodes
    with pytest.raises(ValueError, match="in order, without overlap"):
        replace(good, nodes=(first, replace(others[0], start=4), *others[1:]))
    with pytest.raises(ValueError, match="is empty"):
        replace(good, token_ids=())
    with pytest.raises(ValueError, match="prompt"):
        replace(good, prompt_tokens=9)
    with pytest.raises(ValueError, match="at least one token"):
        Node("step", "so", 3, 3)
    with pytest.raises(ValueError, match="unknown"):
        Node("thought", "so", 3, 4)


def test_traces_can_go_to_worker_processes():
    trace = gold_trace(PROBLEMS["arithmetic"][0], COURSE_TOKENIZER)
    assert pickle.loads(pickle.dumps(trace)) == trace


def test_too_long_a_trace_names_both_lengths():
    with pytest.raises(ValueError, match=r"20000 tokens .* 1024 positions.* by 18976 tokens"):
        check_positions(tiny_model(), 20_000, "trace 'x'")


@torch.no_grad()
def one_by_one(model, prompt_ids: list[int], new_tokens: int) -> list[int]:
    """Greedy decoding written out: no cache, no batch, no padding."""
    ids = list(prompt_ids)
    for _ in range(new_tokens):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == COURSE_TOKENIZER.eos_token_id:
            break
    return ids[len(prompt_ids) :]


def test_greedy_batches_equal_one_by_one():
    model = tiny_model()
    problems = [problem for family in FAMILIES for problem in PROBLEMS[family][:2]]
    traces = sample_traces(model, COURSE_TOKENIZER, problems, batch_size=4, max_new_tokens=12)
    for problem, trace in zip(problems, traces, strict=True):
        prompt = list(trace.token_ids[: trace.prompt_tokens])
        gold = gold_trace(problem, COURSE_TOKENIZER)
        assert prompt == list(gold.token_ids[: gold.prompt_tokens])
        written = one_by_one(model, prompt, 12)
        text = COURSE_TOKENIZER.decode(prompt + written, skip_special_tokens=True)
        assert text.startswith(trace.prompt)
        assert text[len(trace.prompt) :].strip() == trace.solution
        assert trace.problem_id == problem.problem_id


SMALL = {"vocab_size": len(COURSE_TOKENIZER), "hidden_size": 16, "intermediate_size": 32}
SMALL |= {"eos_token_id": COURSE_TOKENIZER.eos_token_id}
SMALL |= {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
ARCHITECTURES = {
    "a sliding window": MistralConfig(**SMALL, head_dim=8, sliding_window=7),
    "window and full": Gemma3TextConfig(
        **SMALL,
        head_dim=8,
        sliding_window=7,
        layer_types=["sliding_attention", "full_attention"],
    ),
    "learned positions": GPT2Config(
        vocab_size=len(COURSE_TOKENIZER), n_embd=16, n_layer=2, n_head=2, n_positions=512
    ),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_other_architectures_write_the_same_in_batches(name):
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(ARCHITECTURES[name]).eval()
    problems = [problems[0] for problems in PROBLEMS.values()]
    traces = sample_traces(model, COURSE_TOKENIZER, problems, max_new_tokens=12)
    for trace in traces:
        prompt = list(trace.token_ids[: trace.prompt_tokens])
        ids = prompt + one_by_one(model, prompt, 12)
        text = COURSE_TOKENIZER.decode(ids, skip_special_tokens=True)
        assert text[len(trace.prompt) :].strip() == trace.solution


@torch.no_grad()
def test_doubling_cache_returns_what_concatenation_does():
    ours, plain = DoublingLayer(), DynamicLayer()
    generator = torch.Generator().manual_seed(0)
    for length in (3, 1, 1, 6, 1, 1):
        new = torch.randn(2, 4, 2, length, 5, generator=generator)
        for got, expected in zip(ours.update(*new), plain.update(*new), strict=True):
            assert torch.equal(got, expected)
        assert ours.get_seq_length() == plain.get_seq_length()
        if length == 6:
            for layer in (ours, plain):
                layer.batch_select_indices(torch.tensor([2, 0, 1, 3]))
                layer.crop(-2)


def test_samples_do_not_depend_on_the_batch_but_on_the_seed():
    model, problems = tiny_model(), PROBLEMS["arithmetic"][:3]
    arguments = {"samples": 2, "temperature": 1.0, "max_new_tokens": 15}
    narrow = sample_traces(model, COURSE_TOKENIZER, problems, batch_size=1, **arguments)
    wide = sample_traces(model, COURSE_TOKENIZER, problems, batch_size=6, **arguments)
    other = sample_traces(model, COURSE_TOKENIZER, problems, batch_size=6, seed=1, **arguments)
    assert narrow == wide
    assert [trace.solution for trace in wide] != [trace.solution for trace in other]
    assert wide[0].solution != wide[1].solution
    assert [trace.problem_id for trace in wide[::2]] == [p.problem_id for p in problems]


def test_sampled_frequencies_follow_the_softmax_at_the_temperature():
    logits = torch.tensor([0.0, 1.0, 2.0, -torch.inf]).expand(4000, 4)
    uniforms = torch.from_numpy(np.random.default_rng(0).random(4000))
    chosen = choose_tokens(logits, uniforms, temperature=0.5)
    shares = np.bincount(chosen, minlength=4) / 4000
    expected = np.exp([0, 2, 4, -np.inf])
    assert shares[3] == 0
    assert np.abs(shares - expected / expected.sum()).max() < 0.03


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_draft_changes_the_time_and_not_the_text(temperature):
    """A model trained on three gold solutions agrees with long parts of them, then leaves them."""
    model, problems = tiny_model(), [problems[0] for problems in PROBLEMS.values()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    for _ in range(60):
        for problem in problems:
            ids = torch.tensor([gold_trace(problem, COURSE_TOKENIZER).token_ids])
            model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    arguments = {"temperature": temperature, "max_new_tokens": 60}
    plain = sample_traces(model, COURSE_TOKENIZER, problems, draft=False, **arguments)
    drafted = sample_traces(model, COURSE_TOKENIZER, problems, **arguments)
    assert [trace.solution for trace in drafted] == [trace.solution for trace in plain]
    assert drafted == plain
    assert any(t.solution[:12] == p.solution[:12] for t, p in zip(plain, problems, strict=True))


def test_a_model_that_ends_at_once_gives_a_trace_without_steps():
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.model.norm.weight.zero_()
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(len(COURSE_TOKENIZER)))
    with torch.no_grad():
        model.lm_head.bias[COURSE_TOKENIZER.eos_token_id] = 1
    (trace,) = sample_traces(model, COURSE_TOKENIZER, PROBLEMS["program"][:1])
    assert trace.finished
    assert trace.solution == ""
    assert not trace.steps


def test_truncated_samples_are_marked_and_arguments_checked():
    model, problems = tiny_model(200), PROBLEMS["arithmetic"][:1]
    (trace,) = sample_traces(model, COURSE_TOKENIZER, problems, max_new_tokens=3)
    assert not trace.finished
    with pytest.raises(ValueError, match="200 positions"):
        sample_traces(model, COURSE_TOKENIZER, problems, max_new_tokens=500)
    with pytest.raises(ValueError, match="temperature above 0"):
        sample_traces(model, COURSE_TOKENIZER, problems, samples=3)
    assert sample_traces(model, COURSE_TOKENIZER, []) == []


def sample_file(tmp_path):
    traces = [
        replace(gold_trace(problem, COURSE_TOKENIZER), extra={"note": {"deep": [1, None]}})
        for problem in PROBLEMS["deduction"][:3]
    ]
    return traces, write_traces(tmp_path / "traces.jsonl", traces)


def test_files_give_back_what_was_written(tmp_path):
    traces, path = sample_file(tmp_path)
    assert read_traces(path) == (traces, [])
    assert read_traces(path)[0][0].extra["note"] == {"deep": [1, None]}


def test_bad_lines_are_reported_and_the_others_kept(tmp_path):
    traces, path = sample_file(tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[0])
    bad = {
        2: "not json at all",
        3: "[1, 2]",
        4: json.dumps({**row, "prompt": 7}),
        5: json.dumps({k: v for k, v in row.items() if k != "nodes"}),
        6: json.dumps({**row, "nodes": [["step", "x", 0]]}),
        7: json.dumps({**row, "token_ids": ["x"]}),
        8: json.dumps({**row, "finished": 1}),
        9: json.dumps({**row, "prompt_tokens": 10**6}),
        12: lines[2][: len(lines[2]) // 2],  # an interrupted copy
    }
    text = {1: lines[0], **bad, 10: "", 11: lines[1]}
    body = "\n".join(text[number] for number in sorted(text))
    path.write_bytes(body.encode() + b"\n\xff\xfe\n")
    good, reports = read_traces(path)
    assert good == traces[:2]
    assert [report.line for report in reports] == [*sorted(bad), 13]
    words = "JSON|object|prompt|nodes missing|node 0|token_ids|finished|prompt|JSON|UTF-8"
    for report, word in zip(reports, words.split("|"), strict=True):
        assert word in str(report)
        assert str(path) in str(report)


def test_text_lines_are_cut_with_a_tokenizer(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(
        '{"prompt": "A is two. B?", "solution": "so two.", "model": "mine", "finished": false}\n'
        '{"prompt": "A is two. B?", "solution": ""}\n{"prompt": "A?"}\n'
    )
    traces, reports = read_traces(path, word_tokenizer())
    assert [trace.extra for trace in traces] == [{"model": "mine"}]
    assert not traces[0].finished
    assert [report.line for report in reports] == [2, 3]
    assert len(read_traces(path)[1]) == 3


def test_missing_file_and_failed_write(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_traces(tmp_path / "none.jsonl")
    traces, path = sample_file(tmp_path)
    before = path.read_bytes()
    broken = [traces[0], replace(traces[1], extra={"bad": object()})]
    with pytest.raises(TypeError):
        write_traces(path, broken)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["traces.jsonl"]
