"""Units in parallel processes: each opens the model once and takes one unit after the other."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from rg_helpers.experiment.place import Place
    from rg_helpers.experiment.plan import Recipe
    from rg_helpers.experiment.unit import Unit

THREADS = "OMP_NUM_THREADS"
_opened: dict[Opening, Place] = {}


@dataclass(frozen=True)
class Opening:
    """What a process needs to open the place of a sweep by itself.

    model: course, a folder or a hub id. threads: of one process, None = as torch chooses.
    """

    model: str
    device: str
    recipe: Recipe
    runs: Path
    keep_models: bool = False
    threads: int | None = None

    def place(self) -> Place:
        """Return the place, opened once a process."""
        if self not in _opened:
            from rg_helpers.experiment.place import Place

            options = _options(self)
            _opened[self] = Place.open(self.model, self.device, self.recipe, self.runs, **options)
        return _opened[self]


def opened_with(
    opening: Opening, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> Opening:
    """Open a place with a model that is loaded already, for this process, and return the opening.

    The model is moved to the opening's device; its name is not looked at.
    """
    from rg_helpers.experiment.place import Place

    options = _options(opening)
    model = model.to(opening.device).eval()
    _opened[opening] = Place.of(model, tokenizer, opening.recipe, opening.runs, **options)
    return opening


def unit_record(opening: Opening, unit: Unit) -> dict[str, Any]:
    """Run one unit where the opening says; the function that processes call."""
    from rg_helpers.experiment.unit import run_unit

    return run_unit(opening.place(), unit)


def fit_predictor(opening: Opening, family: str) -> None:
    """Fit a family's error predictor, so that no two processes fit it at once."""
    from rg_helpers.experiment.fitted_predictor import family_predictor

    family_predictor(opening.place(), family)


def timed_steps(opening: Opening, item: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Time the steps of a family's arms: item = (family, strengths by arm, size, learning rate)."""
    from rg_helpers.experiment.timing import timing_rows

    return timing_rows(opening.place(), *item)


def in_processes(
    work: Callable[[Any, Any], Any],
    opening: Any,
    items: Sequence[Any],
    jobs: int,
    title: str,
    progress: bool = True,
) -> list[Any]:
    """Return `work(opening, item)` for every item, in their order, `jobs` processes at a time.

    With one job everything happens in this process. The first failure ends the rest and is raised;
    what other units had finished is kept, as their results are files. Raises `RuntimeError` where
    a process was killed.
    """
    bar = tqdm(total=len(items), desc=title, disable=None if progress else True)
    if jobs <= 1 or len(items) <= 1:
        with bar:
            return [_told(bar, work(opening, item)) for item in items]
    found: dict[int, Any] = {}
    context = multiprocessing.get_context("spawn")
    former = os.environ.get(THREADS)
    threads = getattr(opening, "threads", None)
    if threads is not None:
        os.environ[THREADS] = str(threads)  # read by a process as it starts
    pool = ProcessPoolExecutor(min(jobs, len(items)), mp_context=context)
    try:
        with bar:
            waiting = {pool.submit(work, opening, item): n for n, item in enumerate(items)}
            for done in as_completed(waiting):
                found[waiting[done]] = _told(bar, done.result())
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a process of the sweep was killed, for want of memory perhaps: what was finished is "
            "kept, so run the command again, with fewer --jobs if it happens again"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if threads is not None:
            _put_back(former)
    return [found[number] for number in range(len(items))]


def _options(opening: Opening) -> dict[str, Any]:
    """Limit this process's threads and return how a place is opened in it."""
    import torch

    if opening.threads is not None:
        torch.set_num_threads(opening.threads)
    return {"progress": False, "keep_models": opening.keep_models}


def _told(bar: tqdm, result: Any) -> Any:
    bar.update()
    return result


def _put_back(former: str | None) -> None:
    if former is None:
        os.environ.pop(THREADS, None)
    else:
        os.environ[THREADS] = former
