"""Units of a sweep on the nodes of a Ray cluster; the same call as `workers.in_processes`.

A node has none of this machine's files: the base model travels to it once a process, and with each
item what the item may read of the run folder (a family's error predictor and times, the trained
model that reranking starts from). What a unit has written comes back with its result and is put
into the run folder here, so a killed sweep goes on where it stopped, on any number of nodes.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from rg_helpers.artefacts import read_json
from rg_helpers.distributed import (
    Needs,
    SentModel,
    emptied_after,
    files_made,
    on_ray,
    read_files,
    received_model,
    sent_model,
    write_files,
)
from rg_helpers.experiment.arms import ARMS
from rg_helpers.experiment.unit import Unit, unit_path
from rg_helpers.experiment.workers import Opening, opened_with

if TYPE_CHECKING:
    from rg_helpers.experiment.place import Place

OF_FAMILY = ("predictor-*", "timing-*")


@dataclass(frozen=True, eq=False)
class _Sent:
    """What a node's process needs to open a place of its own."""

    work: Callable[[Opening, Any], Any]
    opening: Opening
    model: SentModel


@dataclass(frozen=True, eq=False)
class _Seat:
    """A process of a node, ready to work: its opening, whose run folder is its own and empty."""

    work: Callable[[Opening, Any], Any]
    opening: Opening


@dataclass(frozen=True, eq=False)
class _Item:
    item: Any
    files: Mapping[str, bytes]


def units_on_nodes(needs: Needs) -> Callable[..., list[Any]]:
    """Return what runs the units of `sweep` on the cluster that this process is connected to."""
    return partial(on_nodes, needs=needs)


def on_nodes(
    work: Callable[[Opening, Any], Any],
    opening: Opening,
    items: Sequence[Any],
    jobs: int,
    title: str,
    progress: bool = True,
    *,
    needs: Needs,
) -> list[Any]:
    """Return `work(opening, item)` for every item, in their order; see `workers.in_processes`.

    How many work at once is the cluster's affair, so `jobs` is not looked at. Units that are kept
    already are read here. Raises what `distributed.on_ray` raises; what was finished until then is
    kept.
    """
    here = replace(opening, device="cpu")
    place = here.place()
    found = {n: work(here, item) for n, item in enumerate(items) if _is_kept(place, item)}
    left = [number for number in range(len(items)) if number not in found]
    if not left:
        return [found[number] for number in range(len(items))]
    there = replace(opening, threads=needs.cpus)
    sent = _Sent(work, there, sent_model(place.model, place.tokenizer))
    tasks = (_Item(items[n], _files_for(place, items[n])) for n in left)
    how = {"title": title, "total": len(left), "progress": progress}
    tell = tqdm.write if progress else None
    for task, (result, files) in on_ray(
        _run, tasks, sent, prepare=_prepare, needs=needs, tell=tell, **how
    ):
        write_files(place.folder, files)
        found[left[task]] = result
    return [found[number] for number in range(len(items))]


def _is_kept(place: Place, item: Any) -> bool:
    """Say whether an item is a unit whose record stands here, whole."""
    if not isinstance(item, Unit):
        return False
    try:
        return "cpu_seconds" in read_json(unit_path(place, item))
    except (OSError, ValueError):
        return False


def _files_for(place: Place, item: Any) -> dict[str, bytes]:
    """Return what an item may read of the run folder; an item is a unit or begins with a family."""
    if not isinstance(item, Unit):
        family = item if isinstance(item, str) else item[0]
        return read_files(place.folder, [f"{family}/{name}" for name in OF_FAMILY])
    names = [f"{item.family}/{OF_FAMILY[0]}"]
    if ARMS[item.arm].reranks:  # starts from the model of plain cross-entropy
        names.append(f"{item.family}/models/ce-n{item.size}-s{item.seed}-*/**/*")
    return read_files(place.folder, names)


def _prepare(sent: _Sent) -> _Seat:
    """Give a process of a node a run folder of its own, and the model on its device."""
    scratch = Path(tempfile.mkdtemp(prefix="rgh-units-"))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    opening = replace(sent.opening, runs=scratch)
    return _Seat(sent.work, opened_with(opening, *received_model(sent.model)))


def _run(seat: _Seat, task: _Item) -> tuple[Any, dict[str, bytes]]:
    """Do one item and return its result with the files it wrote, by their names below the place."""
    with emptied_after(seat.opening.runs):
        folder = seat.opening.place().folder
        write_files(folder, task.files)
        result = seat.work(seat.opening, task.item)
        return result, files_made(folder, task.files)
