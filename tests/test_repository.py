"""The repository as a reader finds it: what the README says is so, and nothing private is in it."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from rg_helpers.course.claim_forms import check_ids
from rg_helpers.course.claims import check_claims, read_claims
from rg_helpers.course.notebook_files import MEASURED
from rg_helpers.course.parameters import notebook_parameters
from rg_helpers.course.readme import with_generated_blocks

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CONDA_NAMES = {"pytorch": "torch", "pytorch-geometric": "torch-geometric"}
NOT_INSTALLED = (  # extras that neither the lock nor environment.yml brings
    "sentences",
    "hub",
    "quantised",
    "vllm",
)
IMPORT_NAMES = {
    "pillow": "PIL",
    "ipython": "IPython",
    "scikit-learn": "sklearn",
    "rouge-score": "rouge_score",
    "pyyaml": "yaml",
}
MACHINE_PATH = re.compile(r"(?<![\w.~>-])/(?:work|root|home|Users|mnt|farm|tmp)/[\w.-]+")


def _tracked() -> list[Path]:
    """The files that git tracks, or all that a source archive would hold."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def _declared(without: tuple[str, ...] = NOT_INSTALLED) -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"]]
    for extra, requirements in project["optional-dependencies"].items():
        texts += [] if extra in without else requirements
    requirements = [Requirement(text) for text in texts]
    named = {canonicalize_name(requirement.name): requirement for requirement in requirements}
    named.pop("rg-helpers", None)
    return named


def _locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = (line.partition("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, _, version in pins}


def test_readme_is_short_and_names_the_two_commands():
    assert "make course" in README
    assert "make test" in README
    text = re.sub(r"<!-- ([\w:]+) -->.*?<!-- /\1 -->", "", README, flags=re.DOTALL)
    assert len(text.splitlines()) <= 120


def test_readme_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing, f"README links to {missing}"


def test_readme_tables_are_those_of_the_ledger():
    fresh = with_generated_blocks(README, read_claims())
    assert fresh == README, "run `rgh claims --readme` and commit README.md"


def test_every_claim_is_still_in_its_source_file():
    assert check_claims() == []


def test_every_claim_that_is_due_is_made():
    assert check_ids(read_claims().values()) == [], "see `rgh claims --check`"


def test_readme_example_runs(tmp_path, monkeypatch, capsys):
    from rg_helpers.language_model import new_course_model, save_model
    from rg_helpers.tokenizer import build_tokenizer

    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    save_model(tmp_path / "model", new_course_model(), build_tokenizer())
    assert '"Qwen/Qwen3-0.6B"' in code  # a test downloads nothing: a random model stands in
    code = code.replace('"Qwen/Qwen3-0.6B"', repr(str(tmp_path / "model")))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "graph.png").stat().st_size > 1000
    assert re.search(r"\(\d+, \d+, 0\.\d+\)", capsys.readouterr().out)


def test_every_rgh_command_in_the_readme_exists():
    from rg_helpers.course.commands import COMMANDS

    named = set(re.findall(r"`rgh\s+([a-z][a-z-]*)", README))
    assert named
    assert named <= {name.replace("_", "-") for name in COMMANDS}


def test_every_make_target_in_the_readme_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"course", "test", "lab", "lint", "help"} <= targets
    assert set(re.findall(r"`?make ([a-z-]+)", README)) <= targets


def test_lock_is_exact_names_no_host_and_meets_the_floors():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "--" not in text
    assert "nvidia" not in text
    for line in text.splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line), line
    locked = _locked()
    for name, requirement in _declared().items():
        assert name in locked, f"{name} is not locked: run `make lock`"
        assert requirement.specifier.contains(locked[name]), f"{requirement}: {locked[name]}"


def test_conda_environment_has_the_floors_of_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (by_pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    entries = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    entries += [entry for entry in by_pip if not entry.startswith("-")]
    entries = [Requirement(entry) for entry in entries]
    conda = {
        CONDA_NAMES.get(canonicalize_name(entry.name), canonicalize_name(entry.name)): str(
            entry.specifier
        )
        for entry in entries
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(conda.pop("python").split(",")) == set(
        project["project"]["requires-python"].split(",")
    )
    conda.pop("pip")
    build = Requirement(project["build-system"]["requires"][0])
    assert conda.pop("setuptools") == str(build.specifier)
    assert conda == {name: str(entry.specifier) for name, entry in _declared().items()}


def test_everything_imported_is_declared():
    declared = _declared(without=())
    known = {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in declared}
    known |= set(sys.stdlib_module_names) | {"rg_helpers", "conftest"}
    for folder in ("benchmarks", "tests"):  # pyproject.toml and tests put them on the path
        known |= {path.stem for path in (ROOT / folder).rglob("*.py")}
        known |= {path.name for path in (ROOT / folder).iterdir() if path.is_dir()}
    undeclared = {}
    for path in _tracked():
        if path.suffix != ".py":
            continue
        siblings = {sibling.stem for sibling in path.parent.glob("*.py")}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for name in names:
                top = name.split(".")[0]
                if top not in known | siblings:
                    undeclared.setdefault(top, path.name)
    assert not undeclared, f"imported but not in pyproject.toml: {undeclared}"


def test_no_pickles_and_nothing_large():
    kinds = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".npy")
    for path in _tracked():
        assert path.suffix not in kinds, f"{path.name}: weights are safetensors, results JSON"
        assert path.stat().st_size <= 12 * 2**20, f"{path.name} is larger than 12 MiB"


def test_no_file_names_a_machine():
    for path in _tracked():
        if path == Path(__file__) or path.suffix in (".png", ".safetensors", ".parquet"):
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":  # pictures are noise of letters and slashes
            text = re.sub(r'"image/[^"]+": "[^"]*"', "", text)
        if path.parent.name == "course" and "tests" in path.parts:
            text = text.replace("/home/somebody", "")  # a stand-in of a test
        found = MACHINE_PATH.search(text)
        assert not found, f"{path.relative_to(ROOT)} holds the machine's path {found[0]}"


def test_ci_script_is_executable_and_strict():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    text = script.read_text()
    assert "set -euo pipefail" in text
    assert "make test" in text
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_the_licence_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert project["license"] == citation["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert Version(project["version"]) == Version(str(citation["version"]))
    assert importlib.util.find_spec("rg_helpers") is not None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    """Each committed notebook is whole, executed and free of traces."""

    def test_is_valid_and_starts_with_a_title(self, path):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert notebook.cells[0].cell_type == "markdown"
        assert notebook.cells[0].source.startswith("# ")

    def test_has_one_parameters_cell_with_profile_and_seed(self, path):
        parameters = notebook_parameters(path)
        assert parameters["PROFILE"] == "cpu"
        assert isinstance(parameters["SEED"], int)

    def test_is_executed_without_errors_in_order(self, path):
        cells = nbformat.read(path, as_version=4).cells
        code = [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]
        counts = [cell.execution_count for cell in code]
        assert counts == list(range(1, len(code) + 1)), "execute it: rgh run, then rgh put-back"
        kinds = {output.output_type for cell in code for output in cell.outputs}
        assert "error" not in kinds

    def test_its_code_cells_are_short(self, path):
        for cell in nbformat.read(path, as_version=4).cells:
            lines = cell.source.count("\n") + 1
            assert cell.cell_type != "code" or lines <= 20, f"{lines} lines: {cell.source[:60]}"

    def test_says_what_it_costs(self, path):
        head = nbformat.read(path, as_version=4).cells[0].source
        assert MEASURED.search(head), "minutes and memory are missing: rgh run, then rgh put-back"

    def test_has_no_widgets_and_no_bookkeeping(self, path):
        raw = json.loads(path.read_text(encoding="utf-8"))
        assert set(raw["metadata"]) == {"kernelspec", "language_info"}
        text = path.read_text(encoding="utf-8")
        for trace in ("papermill", "injected-parameters", "widget-view", "iopub."):
            assert trace not in text
