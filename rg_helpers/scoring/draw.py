"""Drawing the graphs of a whole file, chunk by chunk: the second of the three calls.

Memory grows with a batch and a chunk, not with the file, whose share is a few dozen bytes a
solution (the keys of what is kept and of the ids that were seen). What is worked out is kept below
the output folder at once, so a run that was stopped goes on where it was, and a rerun after lines
were repaired does these lines alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from rg_helpers.artefacts import provenance, read_json, write_json
from rg_helpers.comparison.stages import model_hash
from rg_helpers.distributed import Needs, sent_model
from rg_helpers.error_prediction.fit_traces import FitTraces
from rg_helpers.error_prediction.problem_record import problem_from_record
from rg_helpers.error_prediction.trace_set import PROBLEM
from rg_helpers.graphs.methods import find_method
from rg_helpers.graphs.step_graph import StepGraph
from rg_helpers.scoring import judging
from rg_helpers.scoring.chunks import Found, ScoredChunk, in_chunks, put_together
from rg_helpers.scoring.fitting import course_fit, own_fit
from rg_helpers.scoring.judging import METHOD as JUDGE
from rg_helpers.scoring.judging import Judge
from rg_helpers.scoring.kept import Kept
from rg_helpers.scoring.memory import Budget, memory_budget
from rg_helpers.scoring.on_nodes import Reading, draw_on_nodes
from rg_helpers.scoring.solution_file import Solution, SolutionFile
from rg_helpers.scoring.survey import Survey, memory_words, survey_file
from rg_helpers.scoring.tables import LEFT_OUT, TableWriter
from rg_helpers.scoring.work_out import Made, stages_of, tokens_of, work_out
from rg_helpers.step_attention.layer_kinds import WITHOUT_ATTENTION, layer_kinds, layer_summary
from rg_helpers.traces import BadLine

if TYPE_CHECKING:
    from transformers import PreTrainedModel

METHODS = ("attention", "text")
RECORD, LOCK = "record.json", ".rgh.lock"
SHOWN = 20  # lines left out that are kept in memory; the file holds all of them


@dataclass(frozen=True, eq=False)
class Scored:
    """A file with its graphs and numbers, which are read from `folder` when asked for.

    `left_out` counts the lines and solutions without graphs, `examples` are the first of them.
    `notes` say what a user should know (smaller batches, parts made anew). `drawn` counts what this
    run had to work out, stage by stage.
    """

    folder: Path
    solutions: SolutionFile
    kept: tuple[Kept, ...]
    fit: FitTraces | None
    model_key: str
    survey: Survey
    left_out: int = 0
    examples: tuple[BadLine, ...] = ()
    notes: tuple[str, ...] = ()
    drawn: Mapping[str, int] = field(default_factory=dict)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods whose graphs were drawn."""
        return tuple(one.stage.name for one in self.kept if one.stage.method is not None)

    @property
    def fitted_on(self) -> set[str]:
        """The problems that something was fitted on: they are not judged."""
        return self.fit.problem_ids if self.fit else set()

    def chunks(self) -> Iterator[ScoredChunk]:
        """Yield everything that was drawn, in the order of the file."""
        for solutions, _ in in_chunks(self.solutions):
            found = {one.stage.name: one.find(solutions) for one in self.kept}
            chunk = put_together(solutions, self.kept, found)
            if len(chunk):
                yield chunk

    def graphs(self, method: str) -> Iterator[StepGraph]:
        """Yield a method's graphs in the order of the file; `ValueError` for one not drawn."""
        if method not in self.methods:
            raise ValueError(f"no graphs of {method!r}: drawn are {', '.join(self.methods)}")
        for chunk in self.chunks():
            yield from chunk.blocks[method].graphs


def draw_solutions(
    solutions: SolutionFile,
    model: PreTrainedModel,
    folder: str | Path,
    methods: Sequence[str] = METHODS,
    *,
    memory: float | None = None,
    probes: bool | None = None,
    judge: Judge | None = None,
    fit: FitTraces | Literal["auto"] | None = "auto",
    fit_problems: int = 40,
    nodes: Needs | None = None,
    seed: int = 0,
    command: str = "draw_solutions",
    say: Callable[[str], None] | None = None,
    progress: bool = True,
) -> Scored:
    """Draw the graphs of every solution and write graphs, features and baselines below `folder`.

    `memory` bounds what this process holds on the model's device, in GiB, the model included.
    `probes` keeps hidden states as well, which the report wants (default: where labels exist).
    `judge` is asked by the method "judge".
    `fit` is what methods are fitted on, None for nothing (default: as `fitting` says). With `nodes`
    chunks are drawn on the Ray cluster that this process is connected to (`distributed.connected`),
    each on what `nodes` says that one task takes; `memory` then bounds every such process. `say` is
    told, before the work begins, how much memory it is estimated to take. Lines that cannot be
    scored are named in `left_out.jsonl`. Raises `ValueError` for unknown methods, a folder that
    another model filled, a model without attention, and a file without a single usable line.
    """
    folder = Path(folder)
    if solutions.positions is None:
        solutions = replace(solutions, positions=positions_of(model))
    names = tuple(dict.fromkeys((*methods, "text")))
    for name in names:
        find_method(name)
    if JUDGE in names and judge is None:
        raise ValueError(judging.CURE)
    if JUDGE in names and nodes is not None:
        raise ValueError(
            "the judge is asked from one machine: draw the other methods with --ray, then give the "
            "judge too without it; what is drawn is kept"
        )
    _check_attends(model)
    model_key = model_hash(model)
    _check_folder(folder, model_key)
    with ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            stack.enter_context(FileLock(folder / LOCK, timeout=0))
        except Timeout:
            raise RuntimeError(
                f"another run is writing into {folder}: wait for it, or give another folder"
            ) from None
        survey = survey_file(solutions, progress)
        if fit == "auto":
            fit = _fit(solutions, survey, names, fit_problems, seed)
        _check_fit(fit, model)
        probes = survey.labelled > 0 if probes is None else probes
        problems = _problems(solutions, survey, names)
        tokenizer = solutions.tokenizer
        local = [name for name in names if name != JUDGE]
        stages = stages_of(local, model, tokenizer, fit, model_key, probes, problems)
        kept = tuple(Kept.open(stage, folder) for stage in stages)
        use = judging.JudgeUse()
        if JUDGE in names:  # last: whatever a server does, the rest of a chunk is drawn and kept
            kept = (*kept, Kept.open(judging.judge_stage(judge, folder, use), folder))
        budget = memory_budget(model, memory)
        if survey.solutions and say is not None and nodes is None:
            say(memory_words(survey, [one.stage for one in kept], budget))
        notes = [
            f"{one.stage.name}: {one.outdated} kept files are of another version or setting and "
            "are made anew"
            for one in kept
            if one.outdated
        ]
        bar = tqdm(
            total=survey.tokens * len(kept),
            desc="drawing",
            unit="tok",
            unit_scale=True,
            disable=None if progress else True,
        )
        with bar, TableWriter(folder, fit) as table:
            run = _Run(kept, budget, table, solutions.path.name, bar)
            if nodes is None:
                for chunk, bad in in_chunks(solutions):
                    run.draw(chunk, bad)
            else:
                reading = Reading(
                    sent_model(model, tokenizer), model_key, names, fit, probes, problems, memory,
                    solutions.path.name, nodes,
                )  # fmt: skip
                chunks = in_chunks(solutions)
                draw_on_nodes(chunks, reading, run.known, run.enter, run.write, notes.append)
        if JUDGE in names:
            notes.append(use.words(judge.prices))
        if not table.solutions:
            first = f" ({run.examples[0]})" if run.examples else ""
            raise ValueError(
                f"none of the {table.left_out} solutions of {solutions.path.name} can be scored"
                f"{first}: {LEFT_OUT} in {folder} says why of every line"
            )
        scored = Scored(
            folder,
            solutions,
            kept,
            fit,
            model_key,
            survey,
            table.left_out,
            tuple(run.examples),
            (*notes, *budget.notes),
            run.drawn,
        )
        about = {"judge": {"model": judge.model, **use.as_dict()}} if JUDGE in names else {}
        if nodes is not None:  # every process there had a budget of its own
            about |= {"nodes": asdict(nodes), "batch_bytes": None, "largest_batch": None}
        write_json(folder / RECORD, _record(scored, budget, command, seed) | about)
    return scored


def positions_of(model: PreTrainedModel) -> int | None:
    """Return the most tokens that a model has positions for; None where it says nothing."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


@dataclass(eq=False)
class _Run:
    """The state of one run: what is kept, what is written, what was left out."""

    kept: Sequence[Kept]
    budget: Budget
    table: TableWriter
    source: str
    bar: tqdm
    examples: list[BadLine] = field(default_factory=list)
    drawn: dict[str, int] = field(default_factory=dict)

    def draw(self, solutions: Sequence[Solution], bad: list[BadLine]) -> None:
        """Work out here what is missing of a chunk, keep it, and write the chunk's rows."""
        found = self._find(solutions)
        known = {name: set(rows) for name, rows in found.items()}
        stages = [one.stage for one in self.kept]
        for made in work_out(stages, solutions, known, self.budget, self.source, self._advance):
            self.enter(solutions, made)
            found[made.stage] |= {key: (one, made.words) for key, one in made.arrays.items()}
            bad += made.failed
        self._write(solutions, found, bad)

    def known(self, solutions: Sequence[Solution]) -> dict[str, set[str]]:
        """Return, by stage, the keys of those solutions that are kept whole."""
        return {name: set(rows) for name, rows in self._find(solutions).items()}

    def enter(self, solutions: Sequence[Solution], made: Made) -> None:
        """Keep what a stage made of a chunk."""
        one = next(one for one in self.kept if one.stage.name == made.stage)
        chosen = [solution for solution in solutions if solution.key in made.arrays]
        one.add(chosen, [made.arrays[solution.key] for solution in chosen], made.words)
        self.drawn[made.stage] = self.drawn.get(made.stage, 0) + len(chosen)

    def write(self, solutions: Sequence[Solution], bad: list[BadLine]) -> None:
        """Write the rows of a chunk that was worked out elsewhere, from what is kept of it."""
        self._write(solutions, self._find(solutions), bad)
        self.bar.update(tokens_of(solutions) * len(self.kept))

    def _find(self, solutions: Sequence[Solution]) -> dict[str, Found]:
        return {one.stage.name: dict(one.find(solutions)) for one in self.kept}

    def _write(
        self, solutions: Sequence[Solution], found: Mapping[str, Found], bad: list[BadLine]
    ) -> None:
        self.table.add(put_together(solutions, self.kept, found))
        self.table.leave_out(bad)
        self.examples += bad[: SHOWN - len(self.examples)]

    def _advance(self, stage: str, tokens: int) -> None:
        self.bar.update(tokens)
        self.bar.set_postfix_str(stage, refresh=False)


def _fit(
    solutions: SolutionFile, survey: Survey, methods: Sequence[str], count: int, seed: int
) -> FitTraces | None:
    if survey.from_course and survey.from_course == survey.solutions:
        return course_fit(solutions.tokenizer, survey.course, count, seed)
    return own_fit(survey.aside, methods)


def _check_attends(model: PreTrainedModel) -> None:
    """Raise `ValueError` for a model of state-space or recurrent layers alone."""
    if set(layer_kinds(model)) <= WITHOUT_ATTENTION.keys():
        raise ValueError(
            f"no layer of {type(model).__name__} attends to earlier tokens "
            f"({layer_summary(model)}), so there is nothing to draw a graph from: score with a "
            "model that has attention layers (Llama, Qwen, Gemma, GPT-2, ...)"
        )


def _check_fit(fit: FitTraces | None, model: PreTrainedModel) -> None:
    """Raise `ValueError` for fit traces whose tokens are not this model's."""
    entries = model.get_input_embeddings().num_embeddings
    largest = max((max(trace.token_ids) for trace in fit.data.traces), default=0) if fit else 0
    if largest >= entries:
        raise ValueError(
            f"what graph methods are fitted on holds token {largest}, and this model knows "
            f"{entries}: it was made for another model; score with that one"
        )


def _problems(solutions: SolutionFile, survey: Survey, methods: Sequence[str]) -> tuple[Any, ...]:
    """Return the file's generated problems where a method needs them, else none."""
    if not any("problems" in find_method(name).needs for name in methods):
        return ()
    if survey.from_course < survey.solutions:
        raise ValueError(
            "premise_replacement writes problems anew and needs generated ones, with the column "
            "problem_record: leave the method out"
        )
    problems: dict[str, Any] = {}
    for found in solutions:
        if isinstance(found, Solution) and found.trace.problem_id not in problems:
            record = found.trace.extra[PROBLEM]
            problems[found.trace.problem_id] = problem_from_record(record)
    return tuple(problems.values())


def _check_folder(folder: Path, model_key: str) -> None:
    """Raise `ValueError` if another model's results stand in the folder."""
    path = folder / RECORD
    if not path.is_file():
        return
    found = read_json(path)
    if isinstance(found, Mapping) and found.get("model_hash") not in (None, model_key):
        raise ValueError(
            f"{folder} holds what another model, or this one in another precision, has read: give "
            "another folder, or delete this one"
        )


def _record(scored: Scored, budget: Budget, command: str, seed: int) -> dict[str, Any]:
    return {
        "what": "graphs and baselines of solutions",
        "provenance": provenance(command, seed),
        "file": {"name": scored.solutions.path.name, "sha256": _file_hash(scored.solutions.path)},
        "model_hash": scored.model_key,
        "steps": scored.solutions.steps,
        "methods": list(scored.methods),
        "fitted_on": scored.fit.origin if scored.fit else "nothing is fitted; heads are averaged",
        "solutions": scored.survey.as_dict(),
        "left_out": scored.left_out,
        "labelled_by_a_judge": len(scored.solutions.judged),
        "drawn_in_the_last_run": dict(scored.drawn),
        "batch_bytes": budget.bytes,
        "largest_batch": budget.largest,
        "notes": list(scored.notes),
    }


def _file_hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
