"""A model card says what the record says, in a header the hub's own reader understands."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard
from training_toys import course_toy, toy_data, toy_settings, toy_terms

from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.training import add_lora, export_model, train_with_graphs
from rg_helpers.training.model_card import Measured, Origin, model_card, write_model_card

ORIGIN = Origin("Qwen/Qwen3-0.6B", "apache-2.0", "made-up problems, MIT licence")
FIGURE = Measured("solved", "made-up: problems", 0.5, 0.4, 0.6, 80, "0.45 before | 0.48 shuffled")
WORDS = {"purpose": "To look at.", "limits": ["Not for homework.", "One seed."]}


@pytest.fixture(scope="module")
def run():
    """A LoRA run of two steps: tuned model and record."""
    with pytest.MonkeyPatch.context() as patch:
        import transformers.trainer

        patch.setattr(transformers.trainer, "is_datasets_available", lambda: False)
        model = add_lora(course_toy(), rank=2)
        return train_with_graphs(
            model, build_tokenizer(), toy_data(), toy_terms(0.25), toy_settings(steps=2),
            in_place=True, progress=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def record(run):
    return run[1].as_dict()


def test_the_header_is_read_back_by_the_hubs_own_reader(record):
    name = 'graphs: a "test" # of names'
    found = ModelCard(model_card(name, record, ORIGIN, measured=[FIGURE], **WORDS)).data
    assert found.license == "apache-2.0"
    assert found.base_model == "Qwen/Qwen3-0.6B"
    assert found.language == "en"
    assert found.library_name == "transformers"
    assert found.model_name == name
    (result,) = found.eval_results
    assert result.metric_value == 0.5
    assert result.dataset_name == "made-up: problems"
    assert "0.400 to 0.600" in result.metric_name


def test_the_text_says_what_the_record_says(record):
    text = model_card("toy", record, ORIGIN, measured=[FIGURE], **WORDS)
    model = record["run"]["model"]
    assert f"{model['trained_weights']:,} of {model['weights']:,} weights (LoRA), 2 steps" in text
    assert "0.25 x alignment on (layer, head) (0, 1), (1, 0)" in text
    assert "| learning_rate | 0.005 |" in text
    row = next(line for line in text.splitlines() if line.startswith("| solved |"))
    assert "0.500 [0.400, 0.600] | 80 |" in row
    assert len(re.findall(r"(?<!\\)\|", row)) == 6, "a bar inside a cell has to be escaped"
    for limit in WORDS["limits"]:
        assert f"- {limit}" in text


def test_terms_of_weight_zero_and_full_training_are_named_as_they_are(record):
    terms = [{**record["run"]["terms"][0], "weight": 0.0}]
    model = {**record["run"]["model"], "trained_weights": 7, "weights": 7}
    plain = {**record, "run": {**record["run"], "terms": terms, "model": model}}
    text = model_card("toy", plain, ORIGIN, **WORDS)
    assert "- Loss: cross-entropy of the solution's tokens\n" in text
    assert "all weights, 2 steps" in text


def test_nothing_measured_is_said_and_provenance_is_kept(record):
    made = {"date": "2026-01-02", "device": "a toaster", "versions": {"torch": "9.9"}}
    text = model_card("toy", {**record, "provenance": made}, ORIGIN, **WORDS)
    assert "Nothing was measured" in text
    assert "Made 2026-01-02 on a toaster with torch 9.9" in text
    header = yaml.safe_load(text.split("---\n")[1])
    assert "model-index" not in header


def test_a_base_model_that_is_no_hub_id_stands_in_the_text_alone(record):
    origin = replace(ORIGIN, base_model="the course's model, trained from scratch")
    text = model_card("toy", record, origin, **WORDS)
    assert "base_model" not in yaml.safe_load(text.split("---\n")[1])
    assert "- Base model: the course's model, trained from scratch" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"licence": " "}, "licence is empty"),
        ({"data": ""}, "data is empty"),
        ({"base_model": "/models/mine"}, "a path on this machine"),
        ({"base_model": "~/mine"}, "a path on this machine"),
    ],
)
def test_an_origin_that_misleads_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(ORIGIN, **change)


def test_what_a_card_cannot_do_without_is_refused(record):
    with pytest.raises(ValueError, match="at least one limit"):
        model_card("toy", record, ORIGIN, purpose="x", limits=[" "])
    with pytest.raises(ValueError, match="lacks run, settings"):
        model_card("toy", {"steps": 3}, ORIGIN, **WORDS)
    with pytest.raises(ValueError, match="does not hold the value"):
        Measured("solved", "problems", 0.5, 0.1, 0.1, 80)


def test_the_card_lies_beside_the_weights_and_its_example_runs(run, record, tmp_path):
    tuned, _ = run
    folder = tmp_path / "model"
    card = model_card("toy", record, ORIGIN, **WORDS)
    with pytest.raises(FileNotFoundError, match="export_model"):
        write_model_card(folder, card)
    export_model(folder, tuned, build_tokenizer(), record)
    assert write_model_card(folder, card).read_text(encoding="utf-8") == card
    with pytest.raises(FileExistsError, match="replace=True"):
        write_model_card(folder, "another")
    assert write_model_card(folder, "another", replace=True).read_text() == "another"

    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert "rg_helpers" not in code
    names = {"FOLDER": str(folder), "PROMPT": "Gus has 4 pens. How many pens does Gus have?"}
    exec(compile(code.replace("200", "5"), "card", "exec"), names)
    given = names["inputs"]["input_ids"].shape[1]
    assert given < names["written"].shape[1] <= given + 5
