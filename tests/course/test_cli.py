"""`rgh` itself: errors are one readable line, exit codes mean something, start-up is quick."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from rg_helpers.course import cli
from rg_helpers.course.commands import COMMANDS


def _command_raising(error: BaseException | None, exit_code: int = 0) -> types.SimpleNamespace:
    def run(arguments):
        if error is not None:
            raise error
        return exit_code

    return types.SimpleNamespace(add_arguments=lambda parser: None, run=run)


@pytest.fixture
def fake_command(monkeypatch):
    """Put a fake behind the first command of the tuple and return a caller for it."""

    def call(error: BaseException | None, *options: str, exit_code: int = 0) -> int:
        fake = _command_raising(error, exit_code)
        monkeypatch.setattr(cli.importlib, "import_module", lambda name: fake)
        return cli.main([COMMANDS[0].replace("_", "-"), *options])

    return call


@pytest.mark.parametrize(
    "error",
    [
        ValueError("layers: got 9, expected 0..3; choose a smaller one"),
        FileNotFoundError("no file there"),
        OSError("disk is full"),
        RuntimeError("no checkpoint"),
    ],
)
def test_a_users_error_is_one_message_and_exit_code_2(fake_command, capsys, error):
    assert fake_command(error) == 2
    shown = capsys.readouterr().err
    assert str(error) in shown
    assert "Traceback" not in shown


def test_debug_shows_the_traceback(fake_command, capsys):
    assert fake_command(ValueError("bad value"), "--debug") == 2
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "bad value" in shown


def test_a_defect_of_the_package_is_not_disguised(fake_command):
    with pytest.raises(ZeroDivisionError):
        fake_command(ZeroDivisionError("a defect"))


def test_interruption_gives_130_and_says_how_to_resume(fake_command, capsys):
    assert fake_command(KeyboardInterrupt()) == 130
    shown = capsys.readouterr().err
    assert f"rgh {COMMANDS[0].replace('_', '-')}" in shown
    assert "Resume" in shown


def test_the_commands_own_exit_code_is_returned(fake_command):
    assert fake_command(None, exit_code=1) == 1
    assert fake_command(None) == 0


def test_help_lists_every_command_with_its_help_text(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for module_name in COMMANDS:
        assert module_name.replace("_", "-") in shown
        assert cli._docstring(module_name).splitlines()[0].split()[0] in shown


def test_without_a_command_help_is_shown(capsys):
    assert cli.main([]) == 0
    assert "COMMAND" in capsys.readouterr().out


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["no-such-command"])
    assert stop.value.code == 2
    assert "no-such-command" in capsys.readouterr().err


@pytest.mark.parametrize("module_name", COMMANDS)
def test_every_command_keeps_the_contract(module_name, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([module_name.replace("_", "-"), "--help"])
    assert stop.value.code == 0
    first_line = cli._docstring(module_name).splitlines()[0]
    assert len(first_line) <= 100
    assert "--debug" in capsys.readouterr().out


def test_starting_the_command_line_imports_no_heavy_package():
    code = (
        "import sys; from rg_helpers.course import cli; cli.main([]);"
        "heavy = {'torch', 'transformers', 'numpy', 'pandas', 'papermill'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
