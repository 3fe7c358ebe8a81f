"""A cluster of two nodes on this machine, one of them killed while a task runs there."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pandas
import pytest

ray = pytest.importorskip("ray")

import killer as killing  # noqa: E402
from killer import Killer, wait_to_be_killed  # noqa: E402

from rg_helpers.course import cli  # noqa: E402
from rg_helpers.course.folders import REPOSITORY_VARIABLE  # noqa: E402
from rg_helpers.course.sidecar import read_sidecar  # noqa: E402
from rg_helpers.distributed import Needs, TaskLostError, on_ray, tasks  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TESTS = Path(__file__).parents[1]
ray.cloudpickle.register_pickle_by_value(killing)  # nodes cannot import what stands in tests/


@pytest.fixture
def killer(head, second_node, tmp_path):
    """A thread, not yet started, that kills the second node; its folder is for the tasks."""
    folder = tmp_path / "begun"
    folder.mkdir()
    here = ray.get_runtime_context().get_node_id()
    return Killer(head, second_node, folder, here)


def test_a_killed_node_loses_nothing_and_doubles_nothing(killer, tmp_path, monkeypatch):
    folder = str(killer.folder)
    monkeypatch.chdir(tmp_path)  # nothing may depend on where this process stands

    def work(given, task):
        import numpy

        wait_to_be_killed(folder, str(task))
        return task, given["power"], numpy.full(50_000, float(task) ** given["power"])

    told: list[str] = []
    killer.start()
    found = list(on_ray(work, iter(range(12)), {"power": 2}, progress=False, tell=told.append))
    killer.join()
    assert killer.killed is not None, "no task ever ran on the second node"
    assert sorted(number for number, _ in found) == list(range(12)), "each once, none missing"
    for number, (task, power, array) in found:
        assert (task, power) == (number, 2)
        np.testing.assert_array_equal(array, np.full(50_000, number**2.0))
    begun = Counter(name for name, _, _ in killer.begun())
    assert begun[killer.killed] == 2, "the task that was killed began twice"
    assert set(begun) == {str(number) for number in range(12)}
    assert any(words.startswith(f"task {killer.killed} was lost") for words in told)
    assert begun.total() == 13, "and no other began twice"


def test_errors_of_tasks_and_of_their_processes(head, monkeypatch):
    def refuse(_, task):
        if task == 1:
            raise ValueError(f"task {task} cannot be done: do another")
        return task

    with pytest.raises(ValueError, match=r"^task 1 cannot be done: do another$"):
        list(on_ray(refuse, range(3), progress=False))

    def die(_, task):
        os._exit(1)

    monkeypatch.setattr(tasks, "TRIES", 2)
    with pytest.raises(TaskLostError, match="lost 2 times"):
        list(on_ray(die, range(1), progress=False))
    with pytest.raises(RuntimeError, match="no node has them"):
        next(on_ray(refuse, [0], needs=Needs(gpus=1), progress=False))


def test_few_tasks_are_ahead_of_one_that_is_slow(head):
    taken: list[int] = []
    room = tasks.AHEAD * 2  # a node that died in the last seconds may still be counted

    def numbers():
        for number in range(20):
            taken.append(number)
            yield number

    seen = []
    for number, _ in on_ray(lambda _, task: task, numbers(), progress=False):
        assert max(taken) < len(seen) + room
        seen.append(number)
    assert sorted(seen) == list(range(20))


def test_scoring_goes_on_when_a_node_dies(killer, tmp_path, monkeypatch):
    import torch

    monkeypatch.syspath_prepend(TESTS / "scoring")
    from score_toys import TOKENIZER, text_rows, tiny_reader, write_lines

    from rg_helpers.scoring import chunks, on_nodes
    from rg_helpers.scoring.draw import draw_solutions
    from rg_helpers.scoring.solution_file import read_solutions

    monkeypatch.setattr(chunks, "CHUNK_SOLUTIONS", 4)
    rows = text_rows(22)
    rows[5]["solution"] = ""
    path = write_lines(tmp_path / "rows.jsonl", rows)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    solutions = read_solutions(path, TOKENIZER)
    here = draw_solutions(solutions, tiny_reader(), tmp_path / "here", progress=False)
    torch.set_num_threads(before)

    folder = str(killer.folder)
    real = on_nodes._draw_chunk

    def watched(reader, task):
        wait_to_be_killed(folder, "chunk")
        return real(reader, task)

    monkeypatch.setattr(on_nodes, "_draw_chunk", watched)
    killer.start()
    there = draw_solutions(
        solutions, tiny_reader(), tmp_path / "there", nodes=Needs(), progress=False
    )
    killer.join()
    assert killer.killed == "chunk", "no chunk was ever drawn on the second node"
    assert any("was lost with its node" in note for note in there.notes)
    assert there.drawn == here.drawn, "each solution enters once at every stage"
    assert there.left_out == here.left_out == 1
    for name in ("baselines", "features", "steps"):
        ours, wanted = (pandas.read_parquet(s.folder / f"{name}.parquet") for s in (there, here))
        pandas.testing.assert_frame_equal(ours, wanted, rtol=1e-5, atol=1e-6)
    for method in here.methods:
        for ours, wanted in zip(there.graphs(method), here.graphs(method), strict=True):
            assert (ours.trace_id, ours.choice) == (wanted.trace_id, wanted.choice)
            np.testing.assert_allclose(ours.weights, wanted.weights, atol=1e-6)
    lines = [json.loads(line) for line in (there.folder / "left_out.jsonl").open()]
    assert [line["line"] for line in lines] == [6]
    again = draw_solutions(
        solutions, tiny_reader(), tmp_path / "there", nodes=Needs(), progress=False
    )
    assert set(again.drawn.values()) <= {0}, "a rerun does only what is missing"


def test_a_sweep_on_nodes_is_the_sweep_of_one_machine(head, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(TESTS / "experiment")
    from experiment_toys import PLAN, RECIPE, opening, planted_predictor, toy_model

    from rg_helpers.experiment import fitted_predictor
    from rg_helpers.experiment.on_nodes import units_on_nodes
    from rg_helpers.experiment.sweep import sweep

    folder = toy_model(tmp_path / "model")
    recipe = replace(RECIPE, longest=4, hardest=2, steps=1)
    plan = replace(
        PLAN,
        arms=("base", "ce", "ce_best_of_n", "ce_equal_time", "alignment"),
        ladder_arms=(),
        seeds=1,
        tries=1,
    )
    local, far = (opening(folder, tmp_path / name, recipe) for name in ("local", "far"))
    predictor = planted_predictor(local.place(), "arithmetic")
    monkeypatch.setattr(fitted_predictor, "_fit", lambda place, family: predictor)
    here = sweep(local, plan, progress=False)
    # The predictor of a random model cannot be fitted, so it is planted here, and must travel.
    fitted_predictor.family_predictor(far.place(), "arithmetic")
    monkeypatch.undo()
    there = sweep(far, plan, progress=False, run_all=units_on_nodes(Needs()))
    for ours, wanted in zip(there.records, here.records, strict=True):
        if wanted["unit"]["arm"] != "ce_equal_time":  # its steps are measured times
            assert ours["unit"] == wanted["unit"]
            assert ours["rows"] == wanted["rows"]
            assert ours["graphs"] == wanted["graphs"]
    names = {name: {path.relative_to(tmp_path / name).as_posix()
                    for path in (tmp_path / name).rglob("*") if path.is_file()}
             for name in ("local", "far")}  # fmt: skip
    assert {n for n in names["far"] if "equal_time" not in n and "timing" not in n} == {
        n for n in names["local"] if "equal_time" not in n and "timing" not in n
    }, "the run folder holds the same files, models included"
    assert any("models/ce-" in name for name in names["far"])
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "far").rglob("*.json")}
    again = sweep(far, plan, progress=False, run_all=units_on_nodes(Needs()))
    assert again.records == there.records
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "nothing is done twice"


def test_notebooks_on_nodes(head, tmp_path, monkeypatch, capsys):
    root = tmp_path / "clone"
    (root / "notebooks").mkdir(parents=True)
    (root / "data" / "results").mkdir(parents=True)
    (root / "data" / "number.txt").write_text("seventeen")
    (root / "pyproject.toml").write_text('[project]\nname = "rg_helpers"\n')
    read = "from rg_helpers.course.folders import repository\nroot = repository()\n"
    read += "print((root / 'data' / 'number.txt').read_text(), steps, root)"
    for name, source in (("00_good", read), ("01_bad", "raise KeyError('no such premise')")):
        cells = [
            nbformat.v4.new_markdown_cell(f"# {name}"),
            nbformat.v4.new_code_cell(
                'PROFILE = "cpu"\nSEED = 0\nsteps = 3', metadata={"tags": ["parameters"]}
            ),
            nbformat.v4.new_code_cell(source),
        ]
        notebook = nbformat.v4.new_notebook(cells=cells)
        nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")
    monkeypatch.setenv(REPOSITORY_VARIABLE, str(root))
    words = ["run", "--profile", "smoke", "-p", "steps=5", "--ray", "auto"]
    assert cli.main(words) == 1
    shown = capsys.readouterr().out
    assert "no such premise" in shown
    runs = root / "runs" / "smoke"
    good, bad = (runs / f"{name}@steps=5.ipynb" for name in ("00_good", "01_bad"))
    cells = nbformat.read(good, as_version=4).cells
    printed = "".join(output.text for cell in cells for output in cell.get("outputs", []))
    assert printed.startswith("seventeen 5 ")
    assert str(root) not in printed, "the node worked in a checkout of its own"
    assert read_sidecar(good).status == "finished"
    assert read_sidecar(bad).status == "failed"
    assert bad.with_suffix(".failed.ipynb").exists()
    assert not bad.exists()
    monkeypatch.setattr("rg_helpers.course.commands.run.run_on_nodes", None)
    assert cli.main([*words, "00"]) == 0, "what is finished is not run again"
