"""`rgh`: the one command line of the course; each subcommand is a module in `commands`."""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from rg_helpers.course.commands import COMMANDS

USER_ERRORS = (ValueError, OSError, RuntimeError)
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, what a shell reports for Ctrl-C


def main(argv: Sequence[str] | None = None) -> int:
    """Run one `rgh` command and return its exit code.

    `ValueError`, `OSError` (so also `FileNotFoundError`) and `RuntimeError` carry messages
    written for the reader: they are printed alone, with exit code 2; `--debug` shows where
    they came from. Ctrl-C gives 130 and says how to resume. Any other exception is a defect
    of the package and keeps its traceback.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser, subparsers = _parser()
    name = next((word for word in argv if not word.startswith("-")), None)
    if name not in subparsers:
        parser.parse_args(argv)  # exits for --help and for an unknown command
        parser.print_help()
        return 0
    try:
        command = importlib.import_module(f"rg_helpers.course.commands.{name.replace('-', '_')}")
        command.add_arguments(subparsers[name])
        return command.run(parser.parse_args(argv)) or 0
    except KeyboardInterrupt:
        again = shlex.join(["rgh", *argv])
        print(
            f"\nrgh: interrupted; what was finished is kept. Resume with: {again}",
            file=sys.stderr,
        )
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `rgh claims | head`: the reader left, nothing went wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except USER_ERRORS as error:
        if "--debug" in argv:
            traceback.print_exc()
        else:
            print(f"rgh {name}: {str(error) or type(error).__name__}", file=sys.stderr)
            print("(add --debug to see where this came from)", file=sys.stderr)
        return EXIT_ERROR


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Build the top parser and the still empty parser of every command, importing none."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show full tracebacks"
    )
    parser = argparse.ArgumentParser(
        prog="rgh",
        description="Draw, compare and train on the reasoning graphs of language models.",
        epilog="`rgh COMMAND --help` explains a command and its options.",
    )
    parser.add_argument("--debug", action="store_true", help="show full tracebacks")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    subparsers = {}
    for module_name in COMMANDS:
        documentation = _docstring(module_name)
        name = module_name.replace("_", "-")
        subparsers[name] = commands.add_parser(
            name,
            help=documentation.splitlines()[0].replace("%", "%%"),
            description=documentation.replace("%", "%%"),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[common],
        )
    return parser, subparsers


def _docstring(module_name: str) -> str:
    """Read a command's docstring from its source; importing it could cost seconds of torch."""
    path = Path(__file__).parent / "commands" / f"{module_name}.py"
    documentation = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not documentation:
        raise TypeError(f"command module {path.name} has no docstring to show as its help text")
    return documentation


if __name__ == "__main__":
    sys.exit(main())
