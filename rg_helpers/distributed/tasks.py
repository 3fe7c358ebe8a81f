"""Tasks on the nodes of a Ray cluster: lost ones are done again, and each enters once.

A node may die at any moment, and nobody can tell how far its tasks had come. So they are done
again elsewhere (at least once), and of every task one result is handed on (exactly once); results
of an execution that was given up reach nobody, since tasks write nothing that others read. Tasks
are counted and sent again here, not by Ray's `max_retries`, whose semantics this keeps (a lost
node or a killed process is tried again, an exception of the task itself is not), so that a run can
say what was lost and does not try for ever a task that no node has the memory for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from tqdm.auto import tqdm

from rg_helpers.distributed.cluster import Needs, check_needs, import_ray, tasks_at_once
from rg_helpers.distributed.program import Program, check_same, program

Task = TypeVar("Task")
Result = TypeVar("Result")

TRIES = 4  # as with max_retries=3: once, and three times more
AHEAD = 2  # tasks sent at a time, for each that the cluster can do at once
WINDOW = 8  # tasks from the first unfinished one on, likewise, where results are wanted in turn
PATIENCE_SECONDS = 5.0
_NO_MORE = object()
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_ready: tuple[str, Any] | None = None  # in a node's process: what its tasks were given, prepared


class TaskLostError(RuntimeError):
    """A task was lost with its node or process every time it was tried."""


@dataclass(frozen=True)
class _Order:
    """What all tasks have in common; `given` is a reference, fetched once a process."""

    function: Callable[[Any, Any], Any]
    prepare: Callable[[Any], Any] | None
    given: tuple[Any, ...]
    needs: Needs
    program: Program


@dataclass
class _Sent:
    number: int
    task: Any
    tries: int = 1


def on_ray(
    function: Callable[[Any, Task], Result],
    tasks: Iterable[Task],
    given: Any = None,
    *,
    prepare: Callable[[Any], Any] | None = None,
    needs: Needs | None = None,
    in_turn: bool = False,
    title: str = "",
    total: int | None = None,
    progress: bool = True,
    tell: Callable[[str], None] | None = None,
) -> Iterator[tuple[int, Result]]:
    """Yield (number, `function(given, task)`) of every task, as they are finished, each once.

    Tasks are numbered from 0 and taken from the iterable as there is room: `AHEAD` times what the
    cluster can do at once. `in_turn` also keeps them within a window of `WINDOW` times as much, so
    that a consumer who wants results in order has few waiting for a slow one. `given` is sent once
    a node; `prepare` makes of it, once a process, what `function` gets. All of them must be
    picklable, and nothing may depend on this process's folder, files or environment. `tell` hears
    of every task that is done again.

    The process must be connected (`cluster.connected`). Raises what a task raises, `TaskLostError`
    for one that is lost `TRIES` times, and `RuntimeError` where no node can do such tasks or a
    node runs another version; the tasks that were still running are then given up.
    """
    ray = import_ray()
    if not ray.is_initialized():  # else Ray would start a cluster by itself
        raise RuntimeError('no cluster: work within `with connected("auto"):`')
    needs = needs or Needs()
    check_needs(needs)
    order = ray.put(_Order(function, prepare, (ray.put(given),), needs, program()))
    remote = ray.remote(_work).options(num_cpus=needs.cpus, num_gpus=needs.gpus, max_retries=0)
    sent: dict[Any, _Sent] = {}
    todo, taken = iter(tasks), 0
    bar = tqdm(total=total, desc=title, disable=None if progress else True)
    try:
        with bar:
            while True:
                while _has_room(sent.values(), taken, tasks_at_once(needs), in_turn):
                    task = next(todo, _NO_MORE)
                    if task is _NO_MORE:
                        break
                    sent[remote.remote(order, task)] = _Sent(taken, task)
                    taken += 1
                if not sent:
                    return
                done, _ = ray.wait(list(sent), num_returns=1, timeout=PATIENCE_SECONDS)
                if not done and not tasks_at_once(needs):
                    bar.set_postfix_str("no node left: waiting for one")
                for reference in done:
                    one = sent.pop(reference)
                    try:
                        result = _result(ray, reference)
                    except _lost_errors(ray) as error:
                        _check_tries(one, error)
                        one.tries += 1
                        sent[remote.remote(order, one.task)] = one
                        if tell is not None:
                            words = f"task {one.number} was lost with its node or process"
                            tell(f"{words} ({type(error).__name__}) and is done again")
                        continue
                    bar.set_postfix_str("")
                    bar.update()
                    yield one.number, result
    finally:
        if ray.is_initialized():
            for reference in sent:
                ray.cancel(reference, force=True)


def _has_room(sent: Collection[_Sent], taken: int, at_once: int, in_turn: bool) -> bool:
    """Say whether the next task, whose number is `taken`, may be sent; see `on_ray`."""
    at_once = max(1, at_once)
    if in_turn and sent and taken - min(one.number for one in sent) >= WINDOW * at_once:
        return False
    return len(sent) < AHEAD * at_once


def _result(ray: Any, reference: Any) -> Any:
    """Return a finished task's result, or raise what it raised, with the node's traceback behind.

    A cause that cannot be pickled comes as Ray's own error.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, Exception):
            raise cause from error
        raise


def _lost_errors(ray: Any) -> tuple[type[Exception], ...]:
    found = ray.exceptions
    return (
        found.WorkerCrashedError,
        found.NodeDiedError,
        found.ObjectLostError,
        found.OutOfMemoryError,
    )


def _check_tries(one: _Sent, error: Exception) -> None:
    if one.tries >= TRIES:
        raise TaskLostError(
            f"task {one.number} was lost {one.tries} times ({type(error).__name__}): it may need "
            "more memory than a node has, or end its process; what was finished is kept, so run "
            "the command again on nodes with more memory, or with fewer CPUs each"
        ) from error


def _work(order: _Order, task: Any) -> Any:
    """Do one task; this is what runs on the nodes."""
    global _ready
    check_same(order.program)
    _limit_threads(order.needs.cpus)
    (reference,) = order.given
    if _ready is None or _ready[0] != reference.hex():
        _ready = None  # free what former tasks were given
        given = import_ray().get(reference)
        _ready = reference.hex(), given if order.prepare is None else order.prepare(given)
    return order.function(_ready[1], task)


def _limit_threads(count: int) -> None:
    for name in THREAD_VARIABLES:
        os.environ[name] = str(count)  # read by libraries that are loaded later, and by children
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
