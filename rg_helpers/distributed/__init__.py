"""Work on many machines: tasks on a Ray cluster, done at least once, entered exactly once.

    with connected("auto"):                       # or HOST:PORT of a running cluster
        for number, result in on_ray(work, tasks, given):
            ...                                   # every number once, whatever died meanwhile

A task is a pure function of what it is given. Nodes share no files with this machine: what a task
reads travels to it and what it made travels back, and only this process writes results. Every node
needs the same version of this package and of Ray (extra `ray`), which is checked.
"""

from rg_helpers.distributed.cluster import Needs, connected, tasks_at_once_here
from rg_helpers.distributed.files import emptied_after, files_made, read_files, write_files
from rg_helpers.distributed.models import SentModel, received_model, sent_model
from rg_helpers.distributed.tasks import TaskLostError, on_ray

__all__ = [
    "Needs",
    "SentModel",
    "TaskLostError",
    "connected",
    "emptied_after",
    "files_made",
    "on_ray",
    "read_files",
    "received_model",
    "sent_model",
    "tasks_at_once_here",
    "write_files",
]
