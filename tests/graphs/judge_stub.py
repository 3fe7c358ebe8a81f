"""A small HTTP server whose every answer is scripted: what a real one does only on bad days."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, str], bytes]
FAST_RETRY = {"retry-after-ms": "1"}


def completion(content: str | None, finish_reason: str = "stop", **message: Any) -> Answer:
    """A chat completion as an OpenAI-compatible server sends it."""
    body = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "stub",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish_reason,
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    }
    return 200, {"content-type": "application/json"}, json.dumps(body).encode()


def refusal(status: int, message: str = "no", headers: dict[str, str] | None = None) -> Answer:
    body = json.dumps({"error": {"message": message}}).encode()
    return status, {"content-type": "application/json", **(headers or {})}, body


class Stub:
    """Answers with `script(body, number of the request)`; keeps what it was asked."""

    def __init__(self, script: Callable[[dict[str, Any], int], Answer | None]) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.most_at_once = 0
        self._at_once = 0
        lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    number = len(stub.bodies)
                    stub.bodies.append(body)
                    stub.keys.append(self.headers.get("authorization"))
                    stub._at_once += 1
                    stub.most_at_once = max(stub.most_at_once, stub._at_once)
                try:
                    answer = script(body, number)
                finally:
                    with lock:
                        stub._at_once -= 1
                if answer is None:  # hang up without a word
                    self.close_connection = True
                    return
                status, headers, content = answer
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@contextlib.contextmanager
def serving(script: Callable[[dict[str, Any], int], Answer | None]) -> Iterator[Stub]:
    stub = Stub(script)
    thread = threading.Thread(target=stub.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.server.shutdown()
        stub.server.server_close()
        thread.join()


def slowly(seconds: float, answer: Answer) -> Answer:
    time.sleep(seconds)
    return answer
