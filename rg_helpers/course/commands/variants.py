"""Try variants of the alignment term on validation problems: strength, heads, layer, form, timing.

`rgh variants` trains each of them as `rgh experiment graph-loss` does, on training problems of no
measured seed, and holds it against plain cross-entropy on validation problems: a list of everything
that was looked at before concluding, wins and losses alike. Units are kept in runs/experiment, so a
killed run continues. With --record the table goes to data/results.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rg_helpers.artefacts import provenance, write_json
from rg_helpers.course import profiles
from rg_helpers.course.folders import repository, results_folder
from rg_helpers.experiment.plan import Recipe
from rg_helpers.experiment.variants import VARIANTS, variant_rows
from rg_helpers.experiment.workers import Opening
from rg_helpers.language_model import COURSE
from rg_helpers.problems import FAMILIES

RESULT_NAME = "graph_loss_variants.json"
SMOKE = {
    "steps": 2, "operations": (2, 3), "distractors": (0, 1), "tuning": 2, "longest": 60,
    "hardest": 2, "other": 2, "transfer": 2, "graphs": 2, "interventions": 0,
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rgh variants`."""
    parser.add_argument("--profile", default="cpu", choices=tuple(profiles.PROFILES))
    parser.add_argument("--families", nargs="+", choices=FAMILIES)
    parser.add_argument("--variants", nargs="+", help="only those whose name holds such a word")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, a process each")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--output", type=Path, help="folder of the result")
    parser.add_argument("--record", action="store_true", help="write data/results")


def run(arguments: argparse.Namespace) -> int:
    """Run `rgh variants`; writes JSON and prints a table."""
    size = profiles.sizes(
        arguments.profile,
        smoke={"families": ("arithmetic",), "problems": 8, "seeds": 2, "recipe": SMOKE},
        cpu={"families": FAMILIES, "problems": 64, "seeds": 2, "recipe": {"tuning": 100}},
        gpu={"families": FAMILIES, "problems": 64, "seeds": 5, "recipe": {"tuning": 300}},
    )
    families = tuple(arguments.families or size.families)
    if arguments.record and (arguments.variants or arguments.output):
        raise ValueError("--record is for all variants and no --output: leave the others out")
    if arguments.record and arguments.profile == "smoke":
        raise ValueError("the smoke profile measures nothing: use --profile cpu with --record")
    recipe = Recipe(**size.recipe)
    threads = profiles.threads(profiles.profile(arguments.profile), arguments.jobs)
    runs = repository() / "runs" / "experiment"
    opening = Opening(COURSE, arguments.device, recipe, runs, threads=threads)
    rows = variant_rows(
        opening,
        families,
        size.problems,
        size.seeds,
        arguments.jobs,
        [v for v in VARIANTS if v is VARIANTS[0] or _asked(v.name, arguments.variants)],
    )
    command = f"rgh variants --profile {arguments.profile} --families {' '.join(families)}"
    report = {
        "what": "variants of the alignment term, held against cross-entropy on validation problems",
        "rows": rows,
        "problems": size.problems,
        "seeds": size.seeds,
        "recipe": vars(recipe),
        "provenance": provenance(
            command + (" --record" if arguments.record else ""), 0, arguments.profile
        ),
    }
    folder = results_folder() if arguments.record else arguments.output or runs / "latest"
    path = write_json(folder / RESULT_NAME, report)
    print(table(rows))
    print(f"\nwritten: {path}")
    return 0


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as text, family by family."""
    lines = []
    for family in dict.fromkeys(row["family"] for row in rows):
        lines.append(f"\n{family:50}{'solved':>8}{'gain over cross-entropy':>28}")
        for row in rows:
            if row["family"] == family:
                gain = row["gain"]
                shown = f"{gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
                adjusted = f"  Holm p {gain['p_holm']:.2g}" if "p_holm" in gain else ""
                lines.append(
                    f"{row['variant'][:49]:50}{row['solved']['value']:8.3f}{shown:>28}{adjusted}"
                )
    return "\n".join(lines)


def _asked(name: str, words: Sequence[str] | None) -> bool:
    return words is None or any(word in name for word in words)
