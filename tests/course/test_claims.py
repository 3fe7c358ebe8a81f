"""The ledger keeps only figures that their source files still give."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from rg_helpers.course import cli
from rg_helpers.course.claim_forms import FORMS, ClaimForm, check_ids
from rg_helpers.course.claims import (
    Claim,
    check_claims,
    claim_from_result,
    ledger_path,
    read_claims,
    write_claims,
)
from rg_helpers.course.pointers import read_pointer
from rg_helpers.course.readme import BLOCKS, figure, with_generated_blocks

PROVENANCE = {
    "command": "rgh edges",
    "seed": 3,
    "profile": "cpu",
    "device": "CPU of the test",
    "versions": {"torch": "2"},
    "date": "2026-11-21",
}
RESULT = {
    "provenance": PROVENANCE,
    "rows": [
        {"family": "arithmetic", "auroc": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 60}},
        {"family": "program", "auroc": {"value": 0.7, "low": 0.6, "high": 0.8, "n": 50}},
    ],
    "plain": [4, 5.5],
    "a/b": 7,
}
POINTER = "/rows/family=arithmetic/auroc"


@pytest.fixture
def result(checkout):
    path = checkout / "data" / "results" / "edges.json"
    path.write_text(json.dumps(RESULT))
    return path


def _claim(**changes) -> Claim:
    fields = {
        "id": "edges.attention.arithmetic.auroc",
        "statement": "Attention finds the edges",
        "value": 0.9,
        "source": "edges.json",
        "pointer": POINTER,
        "command": "rgh edges",
        "low": 0.8,
        "high": 0.95,
        "n": 60,
        "unit": "problems",
    }
    return Claim(**{**fields, **changes})


def test_claim_from_result_reads_figures_and_provenance(result):
    claim = claim_from_result(
        "edges.attention.arithmetic.auroc", "words", "edges.json", POINTER, "problems", ">= 0.5"
    )
    assert (claim.value, claim.low, claim.high, claim.n) == (0.9, 0.8, 0.95, 60)
    assert (claim.seed, claim.device, claim.profile) == (3, "CPU of the test", "cpu")
    assert claim.source == "data/results/edges.json"
    assert claim.target_met() is True
    assert check_claims([claim]) == []


@pytest.mark.parametrize("source", ["edges.json", "data/results/edges.json"])
def test_a_source_is_named_from_the_root_whichever_way_it_is_given(result, source):
    assert _claim(source=source).source == "data/results/edges.json"
    assert _claim(source=str(result)).source == "data/results/edges.json"


def test_writing_merges_by_id_and_the_newest_wins(result):
    write_claims([_claim(), _claim(id="course.minutes.cpu", value=9, low=None, high=None)])
    write_claims([_claim(value=0.91)])
    ledger = read_claims()
    assert list(ledger) == ["course.minutes.cpu", "edges.attention.arithmetic.auroc"]
    assert ledger["edges.attention.arithmetic.auroc"].value == 0.91
    assert ledger["course.minutes.cpu"].value == 9


def test_ten_processes_writing_at_once_lose_no_claim(result):
    code = (
        "import sys; from rg_helpers.course.claims import Claim, write_claims;"
        "write_claims([Claim(id=f'edges.m{sys.argv[1]}.program.auroc', statement='', value=1,"
        "source='edges.json', pointer='/plain/0', command='x')])"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(k)]) for k in range(10)]
    assert [writer.wait() for writer in writers] == [0] * 10
    assert len(read_claims()) == 10


def test_check_finds_a_changed_value(result):
    write_claims([_claim()])
    changed = json.loads(result.read_text())
    changed["rows"][0]["auroc"]["value"] = 0.89
    result.write_text(json.dumps(changed))
    (problem,) = check_claims()
    assert problem.id == "edges.attention.arithmetic.auroc"
    assert "0.9" in problem.problem
    assert "0.89" in problem.problem
    assert "rgh edges" in problem.cure


@pytest.mark.parametrize("name", ["low", "high", "n"])
def test_check_also_compares_interval_and_count(result, name):
    (problem,) = check_claims([dataclasses.replace(_claim(), **{name: 0.9 if name != "n" else 61})])
    assert name in problem.problem


def test_check_survives_reordered_rows(result):
    write_claims([_claim()])
    changed = json.loads(result.read_text())
    changed["rows"].reverse()
    result.write_text(json.dumps(changed))
    assert check_claims() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": "absent.json"}, "does not exist"),
        ({"pointer": "/rows/7/auroc"}, "2 entries"),
        ({"pointer": "/rows/family=law/auroc"}, "0 of 2 rows"),
        ({"pointer": "/nothing"}, "'nothing'"),
        ({"pointer": "/provenance/device"}, "expected a number"),
    ],
)
def test_check_names_what_is_missing(result, changes, words):
    (problem,) = check_claims([_claim(**changes)])
    assert words in problem.problem


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "Edges attention"}, "malformed"),
        ({"value": float("nan")}, "finite"),
        ({"value": True}, "finite"),
        ({"value": 0.99}, "outside its own interval"),
        ({"target": "about 0.9"}, "target"),
        ({"profile": "smoke"}, "smoke"),
        ({"source": "../../elsewhere.json"}, "outside data/results"),
    ],
)
def test_a_claim_that_says_nothing_is_refused(checkout, changes, words):
    with pytest.raises(ValueError, match=words):
        _claim(**changes)


@pytest.mark.parametrize(
    ("target", "value", "met"),
    [
        (">= 0.9", 0.9, True),
        (">= 0.9", 0.89, False),
        ("<= 1.5", 1.6, False),
        ("0.3 to 0.8", 0.5, True),
        ("0.3 to 0.8", 0.81, False),
        (None, 1.0, None),
    ],
)
def test_targets(checkout, target, value, met):
    claim = _claim(value=value, low=None, high=None, target=target)
    assert claim.target_met() is met


def test_a_broken_ledger_names_itself_and_is_not_overwritten(checkout):
    ledger_path().write_text('[{"id": "edges')
    with pytest.raises(ValueError, match=r"claims\.json is not valid JSON"):
        write_claims([_claim()])
    assert ledger_path().read_text() == '[{"id": "edges'


def test_pointers_read_tables_and_escaped_names(result):
    assert read_pointer(result, "/plain/1") == 5.5
    assert read_pointer(result, "/a~1b") == 7
    table = result.with_suffix(".csv")
    table.write_text("family,auroc\nprogram,0.5\nlaw,0.25\n")
    assert read_pointer(table, "/family=law/auroc") == 0.25
    with pytest.raises(ValueError, match="slash"):
        read_pointer(result, "plain")


def test_unknown_and_missing_ids_are_listed_with_a_cure(checkout):
    forms = (ClaimForm("base.accuracy.{a,b}.{easy,hard}", "rgh measure"), ClaimForm("edges.*.ap"))
    problems = check_ids([_claim(id="base.accuracy.a.easy"), _claim(id="edges.ap")], forms)
    assert {p.id for p in problems} == {
        "edges.ap",
        "base.accuracy.a.hard",
        "base.accuracy.b.easy",
        "base.accuracy.b.hard",
    }
    assert all(p.cure for p in problems)
    assert check_ids([_claim(id="edges.x.ap")], forms[1:]) == []


def test_every_due_id_matches_its_own_form():
    due = [(form, id) for form in FORMS for id in form.due()]
    assert due
    assert all(form.matches(id) for form, id in due)


def test_command_prints_checks_and_refuses(result, capsys):
    assert cli.main(["claims"]) == 0
    assert "no claims yet" in capsys.readouterr().out
    write_claims([_claim(target=">= 0.95")])
    assert cli.main(["claims", "edges"]) == 0
    shown = capsys.readouterr().out
    assert "MISSED" in shown
    assert "0.8 to 0.95" in shown
    assert cli.main(["claims", "edges", "--check"]) == 0
    assert cli.main(["claims", "--check"]) == 1  # ids that are due are missing
    assert "not measured yet" in capsys.readouterr().out
    assert cli.main(["claims", "nothing.like.it"]) == 2


def test_readme_blocks_are_written_from_the_ledger(result):
    text = "".join(f"<!-- {name} -->\nold words\n<!-- /{name} -->\nprose\n" for name in BLOCKS)
    claims = {
        claim.id: claim
        for claim in (
            _claim(),
            _claim(id="edges.random.arithmetic.auroc", value=0.5, low=0.4, high=0.6),
            _claim(id="base.accuracy.program.hard", value=0.2, low=None, high=None,
                   target="0.3 to 0.8"),
            _claim(id="bench.step_attention.cpu.t2048.time_vs_sdpa", value=1.3, low=None,
                   high=None, device="CPU of the test"),
        )
    }  # fmt: skip
    new = with_generated_blocks(text, claims)
    assert "old words" not in new
    assert new.count("prose") == len(BLOCKS)
    assert "0.90 [0.80, 0.95]" in new
    assert new.index("| attention |") < new.index("| random |")  # best first
    assert "missed: 0.3 to 0.8" in new
    assert "| cpu | 2048 | 1.3 |" in new
    assert with_generated_blocks(new, claims) == new


def test_readme_with_a_lost_marker_is_refused(checkout):
    with pytest.raises(ValueError, match="exactly once"):
        with_generated_blocks("no markers", {})


def test_a_missed_target_is_shown_in_the_figure(checkout):
    assert figure(_claim(target=">= 0.95")) == "0.90 [0.80, 0.95] (missed: >= 0.95)"
    assert figure(None) == "–"
