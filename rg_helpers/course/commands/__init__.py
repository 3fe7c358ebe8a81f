"""The commands of `rgh`: one module each, named in COMMANDS in the order of `rgh --help`.

A command module has a docstring whose first line is its help text, and two functions:
`add_arguments(parser: argparse.ArgumentParser) -> None` and
`run(arguments: argparse.Namespace) -> int` (the exit code). Only the module of the command
that was asked for is imported, so a command may import torch at its top.
An underscore in the module's name is a hyphen in the command's.
"""

from __future__ import annotations

COMMANDS: tuple[str, ...] = (
    "run",
    "edges",
    "compare",
    "report",
    "launch",
    "put_back",
    "exercises",
    "claims",
    "accuracy",
    "traces",
    "predict",
    "score",
    "export",
    "experiment",
    "variants",
    "tutor",
    "pretrain",
    "reader",
    "gsm8k",
    "figures",
    "poster",
    "explore",
)
