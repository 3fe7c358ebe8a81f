"""`rgh reader` and `rgh gsm8k`: from a folder of data to results, without a text of it in them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from gsm8k_lines import write_data

from rg_helpers.course import cli
from rg_helpers.course.claim_forms import FORMS
from rg_helpers.course.claims import read_claims
from rg_helpers.course.commands import gsm8k
from rg_helpers.course.folders import REPOSITORY_VARIABLE

SMALL = (
    "--steps 12 --copy-steps 2 --batch-tokens 512 --entries 320 --hidden-size 16 --layers 1 "
    "--heads 2 --intermediate-size 32 --no-compile"
).split()
PARTS = {"annotations", "reader", "edges", "report"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A small checkout with data beside it and a reader trained on them."""
    root = tmp_path_factory.mktemp("clone")
    (root / "data" / "results").mkdir(parents=True)
    (root / "pyproject.toml").write_text('[project]\nname = "rg_helpers"\n')
    data = write_data(root.parent / f"{root.name}-data", train=300, solved=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(REPOSITORY_VARIABLE, str(root))
        output = ["--output", str(root / "runs" / "reader")]
        assert cli.main(["reader", "--data", str(data), *output, *SMALL]) == 0
        yield root, data


@pytest.fixture
def fast(monkeypatch):
    """Two graph methods, three folds and few draws: every part is there, at its smallest."""
    sizes = {"draws": 60, "side_draws": 60, "epochs": 1, "fit_problems": 4, "folds": 3}
    monkeypatch.setattr(gsm8k.profiles, "sizes", lambda *_, **__: SimpleNamespace(**sizes))
    monkeypatch.setattr(gsm8k, "METHODS", ("attention", "text"))


def run(checkout, *words):
    root, data = checkout
    reader = ["--reader", str(root / "runs" / "reader")] if "--reader" not in words else []
    return cli.main(["gsm8k", "--data", str(data), *reader, *words])


def test_the_readers_record_says_what_it_was_made_of(checkout):
    root, _ = checkout
    record = json.loads((root / "runs" / "reader" / "record.json").read_text())
    assert record["data"]["name"] == "train.jsonl"
    assert record["data"]["problems"] == 300
    assert record["recipe"]["steps"] == 12
    assert "reader" in record["provenance"]["command"]
    assert str(root) not in json.dumps(record)


def test_all_parts_write_results_and_claims_without_the_data(checkout, capsys, fast):
    assert run(checkout, "--networks", "--record") == 0
    printed = capsys.readouterr().out
    root, data = checkout
    folder = root / "data" / "results"
    found = {part: json.loads((folder / f"gsm8k_{part}.json").read_text()) for part in PARTS}
    for one in found.values():
        assert one["provenance"]["command"].startswith("rgh gsm8k --data DATA --reader reader")
        assert set(one["files"]) == {"train.jsonl", "example_model_solutions.jsonl"}
    assert found["annotations"]["lines_consistent"]["value"] == 1
    names = [row["name"] for row in found["reader"]["losses"]]
    assert names == [
        "held_out_references", "test_references", "right_solutions", "wrong_solutions",
    ]  # fmt: skip
    assert found["reader"]["solving"]["problems"] == 20
    assert found["reader"]["reader"]["recipe"]["layers"] == 1
    assert [row["name"] for row in found["edges"]["rows"]] == [
        "attention", "text", "previous_step", "random",
    ]  # fmt: skip
    report = found["report"]
    assert report["traces"]["scored"] == 60
    assert report["labels"] == {"compared": 60, "agreeing": 60}
    rows = {row["name"]: row for row in report["families"]["gsm8k"]["rows"]}
    assert {"text_logistic", "attention_boosting", "graphs_logistic"} <= rows.keys()
    assert rows["steps"]["auroc"]["value"] > 0.9, "half-way solutions have one step less"
    assert "all graphs over writer and numbers" in printed
    assert "better than answers that nobody worked out" in printed

    claims = read_claims(folder / "claims.json")
    wanted = {"annotations.lines_consistent", "reader.accuracy", "reader.perplexity"}
    wanted |= {"predict.steps.auroc", "predict.text_logistic.within_writer_auc"}
    wanted |= {"increment.every_baseline_graphs.delta_auroc"}
    assert {f"gsm8k.{name}" for name in wanted} <= claims.keys()
    assert all(any(form.matches(id) for form in FORMS) for id in claims)
    steps = claims["gsm8k.predict.steps.auroc"]
    assert steps.value == rows["steps"]["auroc"]["value"]
    assert claims["gsm8k.annotations.lines_consistent"].target_met()

    written = "".join(path.read_text() for path in folder.glob("*.json"))
    assert "What are all of" not in written, "no text of the data in data/results"
    assert "Ana" not in written
    assert str(data) not in written
    assert (root / "data" / "figures" / "gsm8k_prediction.png").stat().st_size > 1000
    assert (root / "runs" / "gsm8k" / "traces.jsonl").is_file()


def test_without_a_reader_text_is_measured_and_the_cure_is_said(checkout, tmp_path, capsys, fast):
    words = ["--reader", "none", "--profile", "smoke", "--networks", "--out", str(tmp_path)]
    assert run(checkout, *words, "--parts", "reader", "edges", "report") == 0
    printed = capsys.readouterr().out
    assert "rgh reader --data" in printed
    assert not (tmp_path / "gsm8k_reader.json").exists()
    edges = json.loads((tmp_path / "gsm8k_edges.json").read_text())
    assert [row["name"] for row in edges["rows"]] == ["text", "previous_step", "random"]
    report = json.loads((tmp_path / "gsm8k_report.json").read_text())
    assert set(report["graphs"]["skipped"]) == {"attention"}
    assert report["reader"] is None
    assert (tmp_path / "traces.jsonl").is_file()


def test_too_few_problems_are_said_and_not_measured(checkout, tmp_path, capsys, fast):
    words = ["--reader", "none", "--limit", "3", "--networks", "--out", str(tmp_path)]
    assert run(checkout, *words, "--parts", "report") == 0
    assert "too few" in capsys.readouterr().out
    report = json.loads((tmp_path / "gsm8k_report.json").read_text())
    assert report["writers"] is None
    assert report["labels"]["compared"] == 9


def test_the_course_says_where_the_data_are(checkout, tmp_path, capsys):
    assert cli.main(["gsm8k", "--data", str(tmp_path / "absent")]) == cli.EXIT_ERROR
    assert "github.com/openai/grade-school-math" in capsys.readouterr().err
    assert cli.main(["reader", "--data", str(tmp_path)]) == cli.EXIT_ERROR
    assert "github.com/openai/grade-school-math" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--record", "--limit", "5"], "--record is for"),
        (["--record", "--reader", "none"], "--record is for"),
        (["--record", "--methods", "text"], "--record is for"),
        (["--limit", "0"], "at least 1"),
        (["--methods", "atention"], "did you mean"),
    ],
)
def test_what_makes_no_sense_is_refused(checkout, words, reason, capsys):
    assert run(checkout, *words) == cli.EXIT_ERROR
    assert reason in capsys.readouterr().err
