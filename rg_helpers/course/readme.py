"""The generated blocks of README.md: tables written from the ledger, never by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from rg_helpers.accuracy import HARDEST
from rg_helpers.artefacts import read_json, write_text
from rg_helpers.course.claims import Claim, read_claims
from rg_helpers.course.exercise_notebooks import FOLDER
from rg_helpers.course.folders import notebooks_folder, repository, results_folder
from rg_helpers.course.hosted import badges, repository_url
from rg_helpers.course.notebook_files import find_notebooks
from rg_helpers.experiment.arms import ARMS, title_of

Claims = Mapping[str, Claim]
BENCHMARK_SCORES = {
    "time_vs_sdpa": "time, of a plain forward pass",
    "speedup_vs_eager": "times faster than eager",
    "extra_memory_vs_eager": "extra memory, of eager's",
}
STEP_SCORES = {
    "time_vs_ce": "time, of a cross-entropy step",
    "memory_vs_ce": "peak memory, of its",
    "speedup_vs_original": "times faster than the original study's step",
}
PREDICTORS = {
    "all_baselines": "length, log-probability, entropy",
    "self_consistency": "self-consistency of the samples",
    "probe": "probe on hidden states",
    "gcn": "attention graphs, a graph network (GCN)",
    "attention_boosting": "attention graphs, features and boosting",
    "text_boosting": "words alone, no model: their graph, sums and truths worked out again",
    "graphs_boosting": "all graphs",
}
INCREMENTS = {
    "gain of the model's graphs over every baseline": "delta_auroc_model_graphs",
    "gain of all graphs over every baseline": "delta_auroc",
}
POOLED = "all_students"
RIVALS = {
    "random": "gain over practice at random",
    "other": "gain over practice on another operation",
}
NOT_MEASURED = "_Not measured yet._"


def update_readme(path: str | Path | None = None) -> bool:
    """Rewrite the generated blocks of the README in place; return whether anything changed."""
    path = Path(path) if path is not None else repository() / "README.md"
    old = path.read_text(encoding="utf-8")
    new = with_generated_blocks(old, read_claims())
    if new != old:
        write_text(path, new)
    return new != old


def with_generated_blocks(text: str, claims: Claims) -> str:
    """Return `text` with every block between `<!-- NAME -->` and `<!-- /NAME -->` made anew.

    Raises `ValueError` when a block of `BLOCKS` is absent, left open or there twice.
    """
    for name, write in BLOCKS.items():
        opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
        if text.count(opening) != 1 or text.count(closing) != 1:
            raise ValueError(
                f"README.md should hold the block {opening} ... {closing} exactly once: put the "
                "two markers back where the table belongs"
            )
        start, end = text.index(opening) + len(opening), text.index(closing)
        if end < start:
            raise ValueError(f"README.md closes {name} before it opens it: swap the two markers")
        text = f"{text[:start]}\n{write(claims)}\n{text[end:]}"
    return text


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figure(claim: Claim | None, form: str = ".2f") -> str:
    """Write a claim's value with its interval, and say so when it misses its target."""
    if claim is None:
        return "–"
    text = f"{claim.value:{form}}"
    if claim.low is not None and claim.high is not None:
        text += f" [{claim.low:{form}}, {claim.high:{form}}]"
    if claim.target_met() is False:
        text += f" (missed: {claim.target})"
    return text


def _accuracy(claims: Claims) -> str:
    text = _cross_table(claims, r"base\.accuracy\.(\w+)\.(\w+)", "family")
    if text == NOT_MEASURED:
        return text
    ends = "; ".join(f"{family}: {size}" for family, size in HARDEST.items())
    return f"{text} Hard is the end of the test range ({ends})."


def _edges(claims: Claims) -> str:
    """One row a method, best first; AUROC with its interval, then AP and F1 where measured.

    Only what `rgh edges` measured, on reference solutions: `rgh compare` draws the model's own, and
    has a figure.
    """
    claims = {id: claim for id, claim in claims.items() if claim.command.startswith("rgh edges")}
    found = _matching(claims, r"edges\.([\w-]+)\.(\w+)\.auroc")
    if not found:
        return NOT_MEASURED
    families = _ordered(family for _, family in found)
    methods = _ordered(method for method, _ in found)

    def mean(method: str) -> float:
        values = [found[method, family].value for family in families if (method, family) in found]
        return sum(values) / len(values)

    def cell(method: str, family: str) -> str:
        rest = [claims.get(f"edges.{method}.{family}.{score}") for score in ("ap", "f1")]
        return " · ".join([figure(found.get((method, family))), *map(_value, rest)])

    header = ["AUROC [95 %] · AP · F1", *families]
    ranked = sorted(methods, key=mean, reverse=True)
    return table(header, [[_words(m), *(cell(m, family) for family in families)] for m in ranked])


def _prediction(claims: Claims) -> str:
    """One row a signal: AUROC for wrong answers, then the same between a problem's own answers."""
    found = _matching(claims, r"predict\.([a-z0-9_]+)\.(\w+)\.auroc")
    families = _ordered(family for name, family in found if name in PREDICTORS)
    if not families:
        return NOT_MEASURED

    def row(name: str) -> list[str]:
        within = [claims.get(f"predict.{name}.{f}.within_problem_auc") for f in families]
        scores = [figure(found.get((name, family))) for family in families]
        return [
            PREDICTORS[name],
            *(f"{score} · {_value(inside)}" for score, inside in zip(scores, within, strict=True)),
        ]

    def other(words: str, id: str, form: str) -> list[str]:
        return [words, *(figure(claims.get(id.format(family)), form) for family in families)]

    rows = [row(name) for name in PREDICTORS if any((name, f) in found for f in families)]
    for words, score in INCREMENTS.items():
        rows.append(other(words, f"predict.increment.{{}}.{score}", "+.3f"))
    rows.append(other("first wrong step named, F1", "predict.first_wrong_step.{}.f1", ".2f"))
    text = table(["AUROC [95 %] · within-problem AUC", *families], rows)
    cost = claims.get("predict.minutes_per_1000_traces")
    if cost is not None:
        text += (
            f"\n\nThe report takes {figure(cost, '.1f')} minutes per 1,000 solutions whose graphs "
        )
        text += f"are kept ({cost.device}, {cost.date})."
    return text


def _training(claims: Claims) -> str:
    """One row an arm: problems solved, and the gain over cross-entropy at equal wall time.

    Of reranked samples the table keeps the choices that one could really make without cost beyond
    sampling: the predictor's and the vote. Below it stands the share of data that arms needed.
    """
    found = _matching(claims, r"train\.(\w+)\.(\w+)\.accuracy_hard")
    if not found:
        return NOT_MEASURED
    families = _ordered(family for _, family in found)
    order = [name for arm in ARMS for name in (arm, f"{arm}_vote") if (name, families[0]) in found]

    def cell(arm: str, family: str) -> str:
        gain = claims.get(f"train.{arm}.{family}.gain_vs_ce_equal_time")
        solved = _value(found.get((arm, family)))
        return f"{solved} · {figure(gain, '+.3f')}" if gain else solved

    header = ["solved · gain over cross-entropy at equal wall time [95 %]", *families]
    rows = [[title_of(arm), *(cell(arm, family) for family in families)] for arm in order]
    ratios = _matching(claims, r"train\.(\w+)\.(\w+)\.data_ratio_at_equal_accuracy")
    rows += [
        [
            f"{title_of(arm)}: share of the data that it needs (2: never as good)",
            *(figure(ratios.get((arm, family)), ".2f") for family in families),
        ]
        for arm in _ordered(arm for arm, _ in ratios)
    ]
    first = next(iter(found.values()))
    sizes = first.statement.split(" solved ")[1].split(":")[0]
    return table(header, rows) + (
        f"\n\nEach of {first.n} problems {sizes}, five or more seeds; intervals over problems and "
        f"seeds, not corrected for their number ({first.device}, {first.date})."
    )


def _training_step(claims: Claims) -> str:
    found = _matching(claims, r"bench\.training_step\.(\w+)\.(\w+)\.(\w+)")
    if not found:
        return NOT_MEASURED
    text = _device_table(found, "term, on every head", STEP_SCORES)
    return text + f"\n\nMeasured on {_machines(found.values())}."


def _tutor(claims: Claims) -> str:
    """One row a student: what practice on the located gap gains over as much other practice."""
    found = _matching(claims, r"tutor\.(\w+)\.(\w+)\.gain_vs_(\w+)")
    if not found:
        return NOT_MEASURED

    def row(words: str, who: str, what: str) -> list[str]:
        return [words, *(figure(found.get((who, what, rival)), "+.3f") for rival in RIVALS)]

    students = _ordered(key[:2] for key in found if key[0] != POOLED)
    rows = [
        row(f"{family}: {planted.replace('_', ' ')}", family, planted)
        for family, planted in students
    ]
    rows.append(row("mean of the students", POOLED, "all"))
    rows.append(row("mean, problems that ask for what was planted", POOLED, "asking"))
    first, pooled = found[*students[0], "random"], found.get((POOLED, "all", "random"))
    text = table(["the gap that was planted", *RIVALS.values()], rows)
    means = f"; the means of {pooled.n} {pooled.unit}, each counted once" if pooled else ""
    return (
        f"{text}\n\nEach of {first.n} {first.unit} and several draws of practice{means}; not "
        f"corrected for their number ({first.device}, {first.date})."
    )


def _generation(claims: Claims) -> str:
    """One row an engine that writes solutions; below, what scoring a file of them takes."""
    found = _matching(claims, r"bench\.generation\.(\w+)\.(\w+)_vs_batch(\d+)")
    if not found:
        return NOT_MEASURED
    sizes = _ordered(size for _, _, size in found)
    text = _device_table(found, "engine", {size: f"of `generate`, batch {size}" for size in sizes})
    told = [
        claims.get("gsm8k.score.minutes"),
        claims.get("bench.score.memory_4n_vs_n"),
        claims.get("bench.score.megabytes_per_1000_solutions"),
    ]
    text += "\n\nTokens a second of the course model, greedy."
    text += "".join(
        f" {claim.statement[0].upper()}{claim.statement[1:]}{_interval(claim)}."
        for claim in told
        if claim
    )
    return f"{text} Measured on {_machines([*found.values(), *filter(None, told)])}."


def _benchmark(claims: Claims) -> str:
    found = _matching(claims, r"bench\.step_attention\.(\w+)\.t(\d+)\.(\w+)")
    if not found:
        return NOT_MEASURED
    measured = {score for _, _, score in found}
    scores = [score for score in BENCHMARK_SCORES if score in measured]
    places = sorted({(device, int(length)) for device, length, _ in found})
    rows = [
        [device, str(length), *(figure(found.get((device, str(length), s)), ".3g") for s in scores)]
        for device, length in places
    ]
    header = ["device", "tokens", *map(BENCHMARK_SCORES.get, scores)]
    return table(header, rows) + f"\n\nMeasured on {_machines(found.values())}."


def _notebooks(claims: Claims) -> str:
    """One row a notebook; minutes and memory as measured by a full run of the cpu profile."""
    from rg_helpers.course.notebook_files import notebook_title

    notebooks = sorted(notebooks_folder().glob("*.ipynb"))
    if not notebooks:
        return "_No notebooks yet._"
    source = results_folder() / "course_minutes_cpu.json"
    measured = {}
    if source.is_file():
        measured = {row["notebook"]: row for row in read_json(source)["notebooks"]}
    rows = []
    for path in notebooks:
        row = measured.get(path.stem)
        times = [f"{row['minutes']:.1f}", f"{row['peak_memory_gib']:.1f}"] if row else ["–", "–"]
        rows.append([f"[{path.stem}](notebooks/{path.name})", notebook_title(path), *times])
    total = claims.get("course.minutes.cpu")
    if total is not None:
        rows.append(["all", f"{total.device}, {total.date}", f"{total.value:.1f}", ""])
    return table(["notebook", "what it shows", "minutes", "GiB"], rows)


def _device_table(
    found: Mapping[tuple[str, ...], Claim], of: str, scores: Mapping[str, str]
) -> str:
    """One row a device and what was measured there, one column a score (its name: its heading)."""
    rows = [
        [device, _words(name), *(figure(found.get((device, name, score))) for score in scores)]
        for device, name in _ordered((device, name) for device, name, _ in found)
    ]
    return table(["device", of, *scores.values()], rows)


def _machines(claims: Iterable[Claim]) -> str:
    return "; ".join(_ordered(f"{claim.device} ({claim.date})" for claim in claims))


def _cross_table(claims: Claims, pattern: str, corner: str) -> str:
    found = _matching(claims, pattern)
    if not found:
        return NOT_MEASURED
    rows, columns = (_ordered(key[side] for key in found) for side in (0, 1))
    counts = _ordered(f"{claim.n} {claim.unit}" for claim in found.values() if claim.n)
    text = table(
        [corner, *map(_words, columns)],
        [[row, *(figure(found.get((row, column)), ".3f") for column in columns)] for row in rows],
    )
    return text + (f"\n\nEach of {' / '.join(counts)}; 95 % intervals." if counts else "")


def _matching(claims: Claims, pattern: str) -> dict[tuple[str, ...], Claim]:
    matches = ((re.fullmatch(pattern, id), claim) for id, claim in claims.items())
    return {match.groups(): claim for match, claim in matches if match}


def _ordered(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _value(claim: Claim | None) -> str:
    return "–" if claim is None else f"{claim.value:.2f}"


def _interval(claim: Claim) -> str:
    """What stands behind a statement: its interval, and the target that it missed."""
    text = "" if claim.low is None else f" [{claim.low:.2f}, {claim.high:.2f}]"
    return text + (f" (missed: {claim.target})" if claim.target_met() is False else "")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _launch(claims: Claims) -> str:
    """Buttons that open the first chapter on hosted machines, where the course has an address."""
    url = repository_url()
    if url is None:
        return (
            "Buttons for Colab and Binder appear here once `Repository` in `[project.urls]` names "
            "the public address (`rgh launch --write`)."
        )
    first = find_notebooks(notebooks_folder())[0]
    return badges(url, f"notebooks/{FOLDER}/{first.name}")


BLOCKS: Mapping[str, Callable[[Claims], str]] = {
    "launch": _launch,
    "notebooks": _notebooks,
    "claims:accuracy": _accuracy,
    "claims:edges": _edges,
    "claims:benchmark": _benchmark,
    "claims:prediction": _prediction,
    "claims:training": _training,
    "claims:training_step": _training_step,
    "claims:tutor": _tutor,
    "claims:generation": _generation,
}
