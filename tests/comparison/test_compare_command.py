"""`rgh compare` from the command line, its claims, its figure, and the memory measurement."""

from __future__ import annotations

import json
import subprocess
import types

import pytest
from PIL import Image
from written_samples import TOKENIZER, sampled

from rg_helpers.comparison import memory, run
from rg_helpers.comparison.measured import COLUMNS
from rg_helpers.comparison.table import read_table, select, write_table
from rg_helpers.course import cli
from rg_helpers.course.claim_forms import check_ids
from rg_helpers.course.claims import Claim, check_claims, read_claims, write_claims
from rg_helpers.course.commands import compare
from rg_helpers.course.folders import REPOSITORY_VARIABLE
from rg_helpers.language_model import new_course_model, save_model

PROVENANCE = {
    "command": "rgh compare --profile cpu",
    "seed": 0,
    "profile": "cpu",
    "device": "CPU of the test",
    "versions": {"torch": "2"},
    "date": "2026-11-21",
}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    root = tmp_path / "clone"
    (root / "data" / "results").mkdir(parents=True)
    (root / "pyproject.toml").write_text('[project]\nname = "rg_helpers"\n')
    monkeypatch.setenv(REPOSITORY_VARIABLE, str(root))
    return root


@pytest.fixture
def folder(tmp_path):
    model = new_course_model(0, hidden_size=16, layers=2, heads=2, intermediate_size=32)
    return save_model(tmp_path / "model", model, TOKENIZER)


def test_a_small_run_writes_table_and_figure_and_no_claims(folder, checkout, monkeypatch, capsys):
    monkeypatch.setattr(run, "sampled_traces", sampled)
    words = f"compare --model {folder} --profile smoke --families program --no-memory"
    assert cli.main([*words.split(), "--methods", "attention", "text", "rollout"]) == 0
    out = checkout / "runs" / "compare" / "latest"
    table = read_table(out / "compare.parquet")
    origin = table.attrs["provenance"]
    assert origin["profile"] == "smoke"
    assert "--families program" in origin["command"]
    assert origin["plan"]["problems"] == 8
    graphs = set(select(table, kind="method", layer="chosen")["method"])
    assert graphs == {"attention", "attention_few", "attention_mean", "attention_max"} | {
        "text",
        "rollout",
    }
    layers = select(table, drawn_by="rollout", metric="auroc", difficulty="all", reading="right")
    assert sorted(layers["layer"]) == ["0", "1", "chosen"]
    record = json.loads((out / "compare.json").read_text())
    assert "in program the highest AUROC is" in record["alt"]
    assert Image.open(out / "compare.png").size[0] > 300
    assert read_claims() == {}
    printed = capsys.readouterr().out
    for word in ("program:", " right, ", "above best", "attention_few", "position_only"):
        assert word in printed


def test_wrong_names_and_sizes_are_refused(folder, checkout, capsys):
    words = f"compare --model {folder} --profile smoke"
    assert cli.main([*words.split(), "--methods", "atention"]) == 2
    assert "did you mean 'attention'" in capsys.readouterr().err
    assert cli.main([*words.split(), "--temperature", "0"]) == 2
    assert "temperature above 0" in capsys.readouterr().err
    assert cli.main([*words.split(), "--problems", "1"]) == 2
    assert "at least 2" in capsys.readouterr().err


def test_families_at_once_are_processes_of_their_own(folder, checkout, monkeypatch, capsys):
    """The processes fill the same stages; one that fails is told with its own words."""
    started = []

    class Process:
        returncode = 0

        def __init__(self, command, env, stdout, stderr):
            started.append(command)
            if "program" in command:
                stdout.write("no memory left")
                self.returncode = 1

        def poll(self):
            return self.returncode

        def terminate(self):
            started.append("ended")

        wait = terminate

    monkeypatch.setattr(subprocess, "Popen", Process)
    words = f"compare --model {folder} --profile smoke --jobs 2 --families program arithmetic"
    assert cli.main([*words.split(), "--methods", "text"]) != 0
    assert "program failed" in capsys.readouterr().err
    first = started[0]
    assert first[1:3] == ["-m", "rg_helpers.course.cli"]
    words = " ".join(first)
    for option in ("--families program", "--no-memory", "--seed 0", "--methods text", "--output"):
        assert option in words
    assert "ended" in started, "the other family's process should be ended"


def made_up_row(method, drawn_by, metric, value, kind="method", **more):
    usual = {"family": "program", "layer": "chosen", "choice": "", "reading": "right"}
    usual |= {"difficulty": "all", "other": "", "low": value - 0.1, "high": value + 0.05}
    usual |= {"n": 40, "traces": 160, "method": method, "drawn_by": drawn_by, "kind": kind}
    return dict.fromkeys(COLUMNS) | usual | {"metric": metric, "value": value} | more


@pytest.fixture
def table_path(checkout):
    rows = [
        made_up_row(method, drawn_by, metric, value)
        for method, drawn_by in (
            ("attention", "attention"),
            ("value_norms", "value_norms"),
            ("value_norms_few", "value_norms"),
            ("value_norms_max", "value_norms"),
        )
        for metric, value in (("auroc", 0.9), ("ap", 0.7), ("f1", 0.6))
    ]
    rows.append(made_up_row("position_only", "position_only", "auroc", 0.8, "control"))
    gap = {"low": 0.02, "high": 0.2, "p": 0.001, "other": "position_only"}
    for name, p in (("value_norms", 0.3), ("value_norms_few", 0.002)):
        wide = gap | {"p_holm": p}
        rows.append(made_up_row(name, "value_norms", "auroc_minus_best_control", 0.1, **wide))
    for name, value in (("value_norms", 12.0), ("attention", 8.0)):
        cost = {"reading": "", "low": None, "high": None}
        rows.append(made_up_row(name, name, "ms_per_trace", value, **cost))
    return write_table(checkout / "data" / "results" / "compare.parquet", rows, PROVENANCE)


def test_claims_never_overwrite_another_commands(table_path, capsys):
    taken = Claim(
        id="edges.attention.program.auroc",
        statement="measured elsewhere",
        value=0.5,
        source=str(table_path),
        pointer="/0/value",
        command="rgh edges --profile cpu",
    )
    write_claims([taken])
    compare._claim(read_table(table_path), table_path)
    claims = read_claims()
    assert claims["edges.attention.program.auroc"].value == 0.5
    assert "left as they are, measured by rgh edges: edges.attention.program.auroc" in (
        capsys.readouterr().out
    )
    own = claims["edges.value_norms_few.program.ap"]
    assert (own.value, own.n, own.command) == (0.7, 40, PROVENANCE["command"])
    assert "edges.value_norms_max.program.ap" not in claims
    fine = [claim for id, claim in claims.items() if id != "edges.attention.program.auroc"]
    assert check_claims(fine) == []
    assert not [p for p in check_ids(claims.values()) if "no known form" in p.problem]
    compare._claim(read_table(table_path), table_path)  # its own it may renew


def test_figure_rows_and_alt_text_say_what_the_table_says(table_path):
    rows, costs = compare.figure_rows(read_table(table_path))
    by_name = {row["method"]: row for row in rows}
    assert "value_norms_max" not in by_name
    assert by_name["value_norms_few"]["above"]
    assert not by_name["value_norms"]["above"]
    assert by_name["value_norms"]["control"] == pytest.approx(0.8)
    assert "control" not in by_name["position_only"]
    assert costs == {"attention": 8, "value_norms": 12, "value_norms_few": 12}


def test_memory_is_measured_in_a_process_of_its_own(folder, monkeypatch):
    asked = []

    def here(command, **_):
        asked.append(command)
        found = memory.measure_here(**json.loads(command[-1]))
        return types.SimpleNamespace(returncode=0, stdout="noise\n" + json.dumps(found))

    monkeypatch.setattr(subprocess, "run", here)
    found = memory.peak_megabytes("attention", str(folder))
    assert asked[0][1:3] == ["-m", "rg_helpers.comparison.memory"]
    assert 0 <= found["megabytes"] < 2000
    assert found["tokens"] > found["nodes"] > 5
    failed = types.SimpleNamespace(returncode=-9, stdout="", stderr="out of memory")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(RuntimeError, match="out of memory"):
        memory.peak_megabytes("attention", str(folder))
