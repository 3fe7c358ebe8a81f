"""Draw the committed figures of results again from their records; nothing is measured.

For a change of style: what is drawn is read from data/results, and every figure keeps its alt text
and its provenance beside it. The poster runs a model, so it has a command of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from rg_helpers.artefacts import read_json
from rg_helpers.comparison.table import read_table
from rg_helpers.course.commands import compare, experiment, gsm8k, predict
from rg_helpers.course.folders import repository, results_folder

Redraw = Callable[[Path], Path]


def _of_json(name: str, write_figure: Callable) -> Redraw:
    return lambda path: write_figure(read_json(results_folder() / name), path)


FIGURES: Mapping[str, Redraw] = {
    compare.FIGURE_NAME: lambda path: compare.write_figure(
        read_table(results_folder() / compare.RESULT_NAME), path
    ),
    predict.FIGURE_NAME: _of_json(predict.RESULT_NAME, predict.write_figure),
    gsm8k.FIGURE: _of_json(gsm8k.RESULTS["report"], predict.write_figure),
    experiment.FIGURE_NAME: _of_json(experiment.RESULT_NAME, experiment.write_figure),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh figures`."""
    parser.add_argument("--names", nargs="+", default=list(FIGURES), choices=tuple(FIGURES))
    parser.add_argument("--out", type=Path, help="folder (default: data/figures)")


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh figures`; raises `FileNotFoundError` where a result was not recorded."""
    folder = arguments.out or repository() / "data" / "figures"
    for name in arguments.names:
        print(f"written: {FIGURES[name](folder / name)}")
    return 0
