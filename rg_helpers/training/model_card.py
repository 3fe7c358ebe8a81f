"""A model card beside the exported weights: what was done, what was measured, what was not.

Model cards are by Mitchell et al. (2019, arXiv 1810.03993); the machine-readable header is that of
the Hugging Face Hub, written by `huggingface_hub`. A card is made from the record of a run, so that
it cannot say what did not happen, and a figure stands in it with its interval or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from rg_helpers.artefacts import write_text

CARD = "README.md"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
TAGS = ("reasoning-graphs", "graph-aware-training")
NOT_IN_SLUGS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Measured:
    """A figure of the exported model with its interval at 95 %, from `n` problems.

    `metric` and `data` say what was measured on what; `against` is what it is to be read beside (a
    control, the model before), in words with its own figure. A gain is a row of its own. Raises
    `ValueError` for an interval that does not hold its value.
    """

    metric: str
    data: str
    value: float
    low: float
    high: float
    n: int
    against: str = ""

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(
                f"{self.metric}: the interval [{self.low}, {self.high}] does not hold the value "
                f"{self.value}: give bounds, not distances from the value"
            )


@dataclass(frozen=True)
class Origin:
    """What a model and its data come from; every field is asked for, since nobody can guess it.

    `base_model`: a hub id, or words for a model that is not there (no path: it names a machine).
    `licence`: identifier of the licence the result is under, which the base model's and the data's
    have to allow. `data`: the training texts in words, who wrote them and under which licence.
    """

    base_model: str
    licence: str
    data: str
    language: str = "en"

    def __post_init__(self) -> None:
        for name in ("base_model", "licence", "data", "language"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} is empty: a card without it misleads; say what is known")
        if Path(self.base_model).expanduser().is_absolute():
            raise ValueError(
                f"base_model {self.base_model!r} is a path on this machine, which nobody else has: "
                "give its hub id, or say in words what it is"
            )


def model_card(
    name: str,
    record: Mapping[str, Any],
    origin: Origin,
    *,
    purpose: str,
    limits: Sequence[str],
    measured: Sequence[Measured] = (),
) -> str:
    """Return the card of a trained model as Markdown with the hub's header.

    record: `TrainingRecord.as_dict()`, with a `provenance` if there is one: from it come what was
    trained, by which loss, with which settings, on what machine. limits: what the model must not be
    taken for; at least one. Raises `ValueError` for a record of something else, a blank name or
    purpose, and no limits.
    """
    missing = [part for part in ("run", "settings", "steps") if part not in record]
    if missing:
        raise ValueError(
            f"the record lacks {', '.join(missing)}: give TrainingRecord.as_dict(), or the "
            "record.json of an exported folder"
        )
    if not name.strip() or not purpose.strip() or not [one for one in limits if one.strip()]:
        raise ValueError(
            "name, purpose and at least one limit are needed: what is it for, and what not?"
        )
    header = _header(name, origin, measured)
    sections = [
        f"# {name}",
        purpose.strip(),
        "## How to use it\n\n" + _use(),
        "## How it was made\n\n" + _making(record, origin),
        "## What was measured\n\n" + _results(measured),
        "## What it is not\n\n" + "\n".join(f"- {one.strip()}" for one in limits),
        "## Settings\n\n" + _settings(record),
    ]
    return f"---\n{header.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n"


def write_model_card(folder: str | Path, card: str, *, replace: bool = False) -> Path:
    """Write a card beside the weights as README.md, atomically, and return its path.

    Raises `FileNotFoundError` for a folder without an exported model and `FileExistsError` for one
    that has a card, unless `replace`.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{folder} holds no exported model (config.json): write one with export_model first"
        )
    path = folder / CARD
    if path.exists() and not replace:
        raise FileExistsError(f"{path} exists: move it away, or pass replace=True")
    return write_text(path, card)


def _header(name: str, origin: Origin, measured: Sequence[Measured]) -> ModelCardData:
    """The hub's metadata; a base model that is not there is named in the text alone."""
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=_slug(one.data),
            dataset_name=one.data,
            metric_type=_slug(one.metric),
            metric_name=f"{one.metric} (95 % interval {one.low:.3f} to {one.high:.3f}, n {one.n})",
            metric_value=round(one.value, 4),
        )
        for one in measured
    ]
    return ModelCardData(
        language=origin.language,
        license=origin.licence,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=list(TAGS),
        base_model=origin.base_model if HUB_ID.fullmatch(origin.base_model) else None,
        model_name=name if results else None,
        eval_results=results or None,
    )


def _use() -> str:
    return (
        "Plain transformers, no other code:\n\n"
        "```python\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        "tokenizer = AutoTokenizer.from_pretrained(FOLDER)\n"
        "model = AutoModelForCausalLM.from_pretrained(FOLDER)\n"
        'inputs = tokenizer(PROMPT, return_tensors="pt", return_token_type_ids=False)\n'
        "written = model.generate(**inputs, max_new_tokens=200, do_sample=False)\n"
        "print(tokenizer.decode(written[0], skip_special_tokens=True))\n"
        "```"
    )


def _making(record: Mapping[str, Any], origin: Origin) -> str:
    model = record["run"].get("model", {})
    trained, weights = model.get("trained_weights"), model.get("weights")
    lines = [f"- Base model: {origin.base_model}"]
    if trained is not None and weights:
        part = "all weights" if trained == weights else f"{trained:,} of {weights:,} weights (LoRA)"
        lines.append(f"- Trained: {part}, {record['steps']} steps")
    lines.append(f"- Loss: {_loss(record['run'].get('terms', ()))}")
    lines.append(f"- Data: {origin.data}")
    made = record.get("provenance")
    if made:
        versions = made.get("versions", {})
        used = ", ".join(f"{k} {versions[k]}" for k in ("torch", "transformers") if k in versions)
        lines.append(f"- Made {made['date']} on {made['device']}" + (f" with {used}" * bool(used)))
    return "\n".join(lines)


def _loss(terms: Sequence[Mapping[str, Any]]) -> str:
    parts = ["cross-entropy of the solution's tokens"]
    for term in terms:
        if term["weight"]:
            heads = term.get("choices", {}).get("heads")
            where = "" if heads is None or heads == "all" else f" on (layer, head) {_pairs(heads)}"
            parts.append(f"{term['weight']:g} x {term['name']}{where}")
    return " + ".join(parts)


def _pairs(heads: Sequence[Sequence[int]]) -> str:
    return ", ".join(f"({layer}, {head})" for layer, head in heads)


def _results(measured: Sequence[Measured]) -> str:
    if not measured:
        return "Nothing was measured on this model: do not quote a quality for it."
    lines = [
        "| metric | on | value [95 %] | n | to be read beside |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in measured:
        value = f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"
        cells = (one.metric, one.data, value, one.n, one.against)
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines)


def _settings(record: Mapping[str, Any]) -> str:
    lines = ["| setting | value |", "| --- | --- |"]
    lines += [
        f"| {_cell(name)} | {_cell(value)} |"
        for name, value in record["settings"].items()
        if value is not None
    ]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return " ".join(str(value).replace("|", "\\|").split())


def _slug(text: str) -> str:
    return NOT_IN_SLUGS.sub("-", text.lower()).strip("-") or "unnamed"
