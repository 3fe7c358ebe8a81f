"""Send many requests to a judge at once: what was answered is kept at once, failures are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from tqdm.auto import tqdm

from rg_helpers.graphs.judge.cache import JudgeReply, ReplyCache
from rg_helpers.graphs.judge.client import JudgeClient, JudgeRequestError, JudgeSettings
from rg_helpers.graphs.judge.prompt import Message

Form = Callable[[str], dict[str, Any] | None]  # of a format's name: `response_format` of a request


def ask_all(
    requests: Mapping[str, list[Message]],
    forms: Mapping[str, Form],
    settings: JudgeSettings,
    store: ReplyCache,
    *,
    concurrency: int = 4,
    progress: bool = True,
) -> tuple[dict[str, JudgeReply], dict[str, str]]:
    """Send every request; return the replies and why the others failed, both by key.

    Raises `ConnectionError` if no server answers and `RuntimeError` if none can succeed; what was
    answered until then stands in the store. Raises `ValueError` for a missing address.
    """
    if not settings.base_url:
        raise ValueError(
            f"{len(requests)} replies are not in the cache: give base_url, the address of an "
            "OpenAI-compatible server such as http://localhost:8000/v1"
        )
    client = JudgeClient(settings)
    answers: dict[str, JudgeReply] = {}
    failures: dict[str, str] = {}

    def ask(key: str) -> None:
        answers[key] = client.ask(requests[key], forms[key])
        store.put(key, answers[key])

    bar = tqdm(total=len(requests), desc="judge", disable=None if progress else True)
    with bar, ThreadPoolExecutor(concurrency) as pool:
        waiting = {pool.submit(ask, key): key for key in requests}
        try:
            for done in as_completed(waiting):
                try:
                    done.result()
                except JudgeRequestError as error:
                    failures[waiting[done]] = str(error)
                    bar.set_postfix(failed=len(failures))
                bar.update()
        except (ConnectionError, RuntimeError) as error:
            pool.shutdown(wait=True, cancel_futures=True)  # replies under way are still kept
            kept = f"{len(answers)} of {len(requests)} requests were answered"
            kept += " and are kept in the cache" if store.folder is not None and answers else ""
            raise type(error)(f"{error} ({kept})") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            client.close()
    return answers, failures
