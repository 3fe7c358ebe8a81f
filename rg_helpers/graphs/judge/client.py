"""Ask any OpenAI-compatible server: retries, a ladder of reply formats, errors that say what to do.

Rate limits, server errors, timeouts and lost connections are retried by the `openai` client itself
with growing pauses. A server that refuses a JSON schema is asked for a JSON object, then in words
only; what it took is remembered. Three things may go wrong in the end, and each has its exception:
one request failed (`JudgeRequestError`), no server is there (`ConnectionError`), or no request can
succeed as configured (`RuntimeError`: key, model name, address).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from rg_helpers.graphs.judge.cache import JudgeReply
from rg_helpers.graphs.judge.schema import FORMATS

NO_KEY = "none"  # local servers ask for no key, but the client insists on one


class JudgeRequestError(Exception):
    """One request got no usable reply; others may."""


@dataclass(frozen=True)
class JudgeSettings:
    """Which server and model are asked, and how.

    `base_url` is the server's address up to and with its version, such as
    "http://localhost:8000/v1". `temperature`, `max_tokens` and `seed` are left out of the request
    where None; `extra` adds fields of a particular server. `timeout` is in seconds, per attempt.
    The API key is read from the environment variable `api_key_variable`, if it is set.
    """

    base_url: str
    model: str
    temperature: float | None = 0.0
    max_tokens: int | None = 4096
    seed: int | None = 0
    first_format: str = FORMATS[0]
    extra: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 120.0
    max_retries: int = 4
    api_key_variable: str = "OPENAI_API_KEY"

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model is empty: give the name under which the server offers it")
        if self.first_format not in FORMATS:
            raise ValueError(f"first_format={self.first_format!r}: use {', '.join(FORMATS)}")
        if self.max_retries < 0 or self.timeout <= 0:
            raise ValueError(
                f"max_retries={self.max_retries}, timeout={self.timeout}: expected at least 0 "
                "retries and a timeout above 0 seconds"
            )

    def parameters(self) -> dict[str, Any]:
        """Return what, besides model and messages, decides the reply: part of the cache key."""
        given = {
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
        }
        given = {name: value for name, value in given.items() if value is not None}
        return {**given, "extra": dict(self.extra), "first_format": self.first_format}


class JudgeClient:
    """A connection to one server; `ask` may be called from several threads."""

    def __init__(self, settings: JudgeSettings) -> None:
        if not settings.base_url.startswith(("http://", "https://")):
            raise ValueError(
                f"base_url={settings.base_url!r} is no address of a server: expected something "
                "like http://localhost:8000/v1"
            )
        self.settings = settings
        self._level = FORMATS.index(settings.first_format)
        self._openai = _import_openai()
        self._client = self._openai.OpenAI(
            base_url=settings.base_url,
            api_key=os.environ.get(settings.api_key_variable) or NO_KEY,
            timeout=settings.timeout,
            max_retries=settings.max_retries,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(
        self,
        messages: Sequence[Mapping[str, str]],
        form: Callable[[str], dict[str, Any] | None],
    ) -> JudgeReply:
        """Send one request and return the reply.

        `form(name)` is the request's `response_format` in one of `FORMATS`, None for "plain".
        Raises `JudgeRequestError`, `ConnectionError` or `RuntimeError`; see the module.
        """
        refusal, begin = "", time.perf_counter()
        for level in range(self._level, len(FORMATS)):
            try:
                completion = self._create(messages, form(FORMATS[level]))
            except _RefusedError as error:
                refusal = str(error)
                continue
            self._level = max(self._level, level)
            return _reply(completion, FORMATS[level], time.perf_counter() - begin)
        raise JudgeRequestError(
            f"the server refused the request in every format ({refusal}): check the model's name, "
            "its context length against the trace and max_tokens, and the request's fields"
        )

    def _create(self, messages: Sequence[Mapping[str, str]], wanted: dict[str, Any] | None) -> Any:
        settings, openai = self.settings, self._openai
        fields = settings.parameters()
        extra = fields.pop("extra")
        del fields["first_format"]
        if wanted is not None:
            fields["response_format"] = wanted
        try:
            return self._client.chat.completions.create(
                model=settings.model, messages=list(messages), extra_body=extra or None, **fields
            )
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise _RefusedError(_first_line(error)) from error
        except openai.APITimeoutError as error:
            raise JudgeRequestError(
                f"no reply within {settings.timeout:g} s, {settings.max_retries + 1} times: raise "
                "timeout, or lower concurrency or max_tokens"
            ) from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise ConnectionError(
                f"no OpenAI-compatible server answers at {settings.base_url} ({cause}): start one, "
                f"e.g. `transformers serve {settings.model} --port 8000`, and give its address as "
                "base_url"
            ) from error
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise RuntimeError(
                f"{settings.base_url} refused the API key ({_first_line(error)}): set the "
                f"environment variable {settings.api_key_variable} to a valid one"
            ) from error
        except openai.NotFoundError as error:
            raise RuntimeError(
                f"{settings.base_url} knows no such model or address ({_first_line(error)}): check "
                f"the model's name, {settings.model!r}, and that base_url ends as the server's "
                "documentation says, most often in /v1"
            ) from error
        except (openai.OpenAIError, ValueError) as error:  # ValueError: a body that is no JSON
            raise JudgeRequestError(_first_line(error)) from error


class _RefusedError(Exception):
    """The server understood the request and will not take it in this form."""


def _import_openai() -> ModuleType:
    try:
        import openai
    except ImportError as error:
        raise RuntimeError(
            "the judge needs the `openai` package: pip install 'rg_helpers[judge]' (or openai)"
        ) from error
    return openai


def _reply(completion: Any, asked_as: str, seconds: float) -> JudgeReply:
    """Read a completion; servers leave out or misspell fields, which the client lets pass."""
    try:
        choice = completion.choices[0]
        message = choice.message
        content = message.content if message.content is not None else message.refusal
        usage = completion.usage
        return JudgeReply(
            # Lone surrogates can come out of JSON escapes but can go into no file.
            content=(content or "").encode("utf-8", "replace").decode("utf-8"),
            finish_reason=choice.finish_reason or "",
            response_format=asked_as,
            model=completion.model or "",
            prompt_tokens=getattr(usage, "prompt_tokens", None),
            completion_tokens=getattr(usage, "completion_tokens", None),
            seconds=seconds,
        )
    except (AttributeError, TypeError, IndexError, ValueError) as error:
        raise JudgeRequestError(
            f"the reply is no chat completion ({type(error).__name__}: {_first_line(error)}): "
            "check that base_url leads to an OpenAI-compatible server, most often ending in /v1"
        ) from error


def _first_line(error: Exception, most: int = 300) -> str:
    """Return what an error says, with the server's own words where the client leaves them out."""
    said = next(iter(str(error).strip().splitlines()), type(error).__name__)
    body = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else None
    if body and not (isinstance(message, str) and message in said):
        said = f"{said}: {' '.join(str(body).split())}"
    return said[:most]
