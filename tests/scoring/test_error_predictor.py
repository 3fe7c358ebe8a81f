"""A saved predictor gives scikit-learn's own numbers, is plain data, and is judged honestly."""

from __future__ import annotations

import json

import numpy as np
import pytest
from score_toys import TOKENIZER, text_rows, tiny_reader, write_lines
from sklearn.metrics import roc_auc_score

from rg_helpers.error_prediction.entrants import WIDE
from rg_helpers.error_prediction.graph_columns import Columns
from rg_helpers.error_prediction.predictors import logistic
from rg_helpers.scoring.apply import apply_predictor, predictor_of
from rg_helpers.scoring.columns import chunk_columns
from rg_helpers.scoring.draw import draw_solutions
from rg_helpers.scoring.predictor import fit_predictor, load_predictor, save_predictor
from rg_helpers.scoring.solution_file import read_solutions

MODEL = tiny_reader()
MAKING = {
    "target": "wrong_answer",
    "methods": ("text",),
    "steps": "auto",
    "model": "toy",
    "model_hash": "0",
}


def planted(count=120, seed=0):
    """Two columns that tell errors, one of noise, one that is constant; some values missing."""
    generator = np.random.default_rng(seed)
    wrong = generator.random(count) < 0.4
    values = generator.normal(size=(count, 4))
    values[:, 0] += 2 * wrong
    values[:, 1] = 100 - 30 * wrong + 10 * values[:, 1]
    values[:, 3] = 7
    values[::9, 0] = np.nan
    ids = [f"p{number // 2}" for number in range(count)]
    return Columns(values, ("a", "b", "noise", "constant")), wrong, ids


def test_risks_are_those_of_the_pipeline():
    columns, wrong, ids = planted()
    predictor = fit_predictor(columns, wrong, ids, MAKING)
    wanted = logistic(WIDE).fit(columns.values, wrong).predict_proba(columns.values)[:, 1]
    np.testing.assert_allclose(predictor.risks(columns), wanted, atol=1e-10)
    shuffled = Columns(columns.values[:, ::-1], columns.names[::-1])
    np.testing.assert_allclose(predictor.risks(shuffled), wanted, atol=1e-10)
    found = predictor.making.auroc
    assert 0.8 < found["low"] <= found["value"] <= roc_auc_score(wrong, wanted) + 0.02
    noise = Columns(columns.values[:, 2:], columns.names[2:])
    assert fit_predictor(noise, wrong, ids, MAKING).making.auroc["low"] < 0.6
    with pytest.raises(ValueError, match=r"'a'.*fitted with \(toy\)"):
        predictor.risks(noise)
    with pytest.raises(ValueError, match="both right and wrong"):
        fit_predictor(columns, np.zeros(120, bool), ids, MAKING)


def test_saved_as_plain_data_and_read_back_equal(tmp_path):
    columns, wrong, ids = planted()
    predictor = fit_predictor(columns, wrong, ids, MAKING)
    save_predictor(tmp_path / "p", predictor)
    assert {path.suffix for path in (tmp_path / "p").iterdir()} == {".json", ".safetensors"}
    again = load_predictor(tmp_path / "p")
    assert again.making == predictor.making
    assert np.array_equal(again.risks(columns), predictor.risks(columns))
    record = json.loads((tmp_path / "p" / "predictor.json").read_text())
    record["columns"].pop()
    (tmp_path / "p" / "predictor.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="damaged error predictor"):
        load_predictor(tmp_path / "p")
    (tmp_path / "p" / "predictor.safetensors").write_bytes(b"\x80\x04N.")  # a pickle of None
    with pytest.raises(ValueError, match="damaged error predictor"):
        load_predictor(tmp_path / "p")
    with pytest.raises(FileNotFoundError, match="--save-predictor"):
        load_predictor(tmp_path)


def scored(folder, rows, methods=("similarity",), model=MODEL, **options):
    path = write_lines(folder / "rows.jsonl", rows)
    solutions = read_solutions(path, TOKENIZER)
    return draw_solutions(
        solutions, model, folder / "out", methods, probes=False, progress=False, **options
    )


def test_a_predictor_moves_to_another_file_with_what_it_was_fitted_on(tmp_path):
    for name in ("here", "there", "other"):
        (tmp_path / name).mkdir()
    rows = text_rows(44)
    here = scored(tmp_path / "here", rows[:24])
    predictor = predictor_of(here, "toy")
    assert not set(predictor.making.problem_ids) & here.fitted_on
    save_predictor(tmp_path / "p", predictor)
    again = load_predictor(tmp_path / "p")
    assert again.fit.hash == here.fit.hash
    there = scored(tmp_path / "there", rows[20:], fit=again.fit)
    found = apply_predictor(there, again)
    assert found.table["line"].tolist() == list(range(1, 25))
    unseen = {row["problem_id"] for row in rows[24:]}
    assert found.judged == 20 == sum(row["problem_id"] in unseen for row in rows[20:])
    assert found.auroc["low"] <= found.auroc["value"] <= found.auroc["high"]
    assert ["4 solutions belong" in note for note in found.notes] == [True]
    # The same solutions have the same risk in either file: the same centre was fitted.
    (chunk,) = here.chunks()
    first = dict(zip([t.trace_id for t in chunk.traces], again.risks(chunk_columns(chunk))))
    second = dict(zip(found.table["trace_id"], found.table["risk"]))
    both = first.keys() & second.keys()
    assert len(both) == 4
    assert max(abs(first[name] - second[name]) for name in both) < 1e-6
    other = scored(tmp_path / "other", rows[24:30], model=tiny_reader(1), fit=again.fit)
    assert "another model" in apply_predictor(other, again).notes[0]


def test_without_labels_there_is_nothing_to_fit(tmp_path):
    rows = [{k: v for k, v in row.items() if k != "correct"} for row in text_rows(4)]
    with pytest.raises(ValueError, match="no solution has a label wrong_answer"):
        predictor_of(scored(tmp_path, rows, ("text",)), "toy")
