"""Replies on disk: what was asked once is not asked again, and a stopped run goes on.

An entry is a JSON file named by the SHA-256 of (model, messages, parameters). The address of the
server and the API key are no part of it: two servers that offer a model under one name are taken
for one. Errors are never stored, replies of any quality are - at temperature 0 the same nonsense
would come again. To ask again, delete the folder or a file in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rg_helpers.artefacts import sha256_of, write_json


@dataclass(frozen=True)
class JudgeReply:
    """What a server answered: text, why it ended, in which format it was asked, and the cost.

    `seconds` is the time from asking to answer as measured here, retries and refusals included.
    """

    content: str
    finish_reason: str = "stop"
    response_format: str = "plain"
    model: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("content", "finish_reason", "response_format", "model"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} of a reply must be text, got {getattr(self, name)!r}")


def request_key(
    model: str, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any]
) -> str:
    """Return the name under which the reply to this request is stored (hex SHA-256).

    Raises `TypeError` for parameters that are no JSON values.
    """
    return sha256_of(model, _canonical(list(map(dict, messages))), _canonical(dict(parameters)))


class ReplyCache:
    """A folder of replies; `folder=None` stores nothing."""

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None and self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"the cache {self.folder} is a file: give a folder (it may be new)")

    def path(self, key: str) -> Path | None:
        """Return the file of an entry, whether it exists or not."""
        return None if self.folder is None else self.folder / key[:2] / f"{key}.json"

    def get(self, key: str) -> tuple[JudgeReply | None, str | None]:
        """Return the stored reply, or None and, for an entry that cannot be used, why."""
        path = self.path(key)
        if path is None or not path.is_file():
            return None, None
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            if entry["key"] != key:
                raise ValueError("it belongs to another request")
            return JudgeReply(**entry["reply"]), None
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            return None, f"{path}: {type(error).__name__}: {error}"

    def put(self, key: str, reply: JudgeReply) -> None:
        """Store a reply whole or not at all; a full disk raises `OSError` naming the cure."""
        path = self.path(key)
        if path is not None:
            write_json(path, {"key": key, "reply": asdict(reply)})


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False)
