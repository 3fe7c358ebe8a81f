"""Where problems come from: a local server stands for the public address, a stub for the hub."""

from __future__ import annotations

import contextlib
import http.server
import json
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from gsm8k_lines import train_row, write_data

from rg_helpers.datasets import sources
from rg_helpers.datasets.sources import (
    GSM8K_FILES,
    HOME,
    SOLUTIONS,
    TRAIN,
    download,
    download_gsm8k,
    find_file,
    load_word_problems,
)

SLOW = 0.5
LINES = "".join(json.dumps(train_row(seed)) + "\n" for seed in range(400)).encode()


class BrokenError(Exception):
    """As the errors of the package datasets: of no narrower kind."""


class Pages(http.server.BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self):
        self.asked.append(self.path)
        if "broken" in self.path:  # a file that is longer than what comes
            self.send_response(200)
            self.send_header("content-length", str(len(LINES) + 1))
            self.end_headers()
            self.wfile.write(LINES)
            return
        if "stalls" in self.path:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(LINES[: len(LINES) // 2])
            time.sleep(SLOW)
            return
        if "slow" in self.path:
            time.sleep(SLOW)
        if "busy" in self.path:
            self.send_error(429)
            return
        known = self.path.partition("?")[0].endswith(".jsonl")
        body = LINES if known else b"<html>a page about it</html>"
        self.send_response(404 if "absent" in self.path else 200)
        self.end_headers()
        with contextlib.suppress(OSError):  # nobody waits for the slow one
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def address():
    Pages.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_file_is_fetched_whole_and_only_once(address, tmp_path):
    path = download(f"{address}/train.jsonl", tmp_path / "data" / "train.jsonl")
    assert path.read_bytes() == LINES
    assert len(LINES) > sources.BLOCK
    download(f"{address}/train.jsonl", path)
    assert Pages.asked == ["/train.jsonl"]
    for source in (path, f"{address}/train.jsonl?raw=true"):
        problems, bad = load_word_problems(source, folder=tmp_path / "own")
        assert (len(problems), bad) == (400, [])
    assert (tmp_path / "own" / "train.jsonl").read_bytes() == LINES


def test_pages_and_absent_addresses_leave_nothing_behind(address, tmp_path):
    with pytest.raises(ValueError, match="no JSON"):
        download(f"{address}/about", tmp_path / "train.jsonl")
    with pytest.raises(OSError, match="could not be fetched"):
        download(f"{address}/absent.jsonl", tmp_path / "train.jsonl")
    with pytest.raises(ValueError, match="https"):
        download("file:///etc/hostname", tmp_path / "train.jsonl")
    assert not list(tmp_path.iterdir())


def test_servers_that_break_off_fall_silent_or_ask_for_patience(address, tmp_path, monkeypatch):
    path = tmp_path / "train.jsonl"
    with pytest.raises(OSError, match=r"broke off.*1 more expected.*try again"):
        download(f"{address}/broken.jsonl", path)
    with pytest.raises(OSError, match=r"Too Many Requests.*try again"):
        download(f"{address}/busy.jsonl", path)
    monkeypatch.setattr(sources, "SECONDS", SLOW / 5)
    with pytest.raises(OSError, match=r"could not be fetched.*(silent|timed out).*try again"):
        download(f"{address}/slow.jsonl", path)
    with pytest.raises(OSError, match=r"broke off, silent for .* seconds.*try again"):
        download(f"{address}/stalls.jsonl", path)
    assert not list(tmp_path.iterdir()), "half a file would be taken for a whole one"
    monkeypatch.undo()
    assert download(f"{address}/train.jsonl", path).read_bytes() == LINES


def test_all_files_of_gsm8k_are_fetched(address, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "RAW", address)
    assert [path.name for path in download_gsm8k(tmp_path)] == list(GSM8K_FILES)
    assert find_file(tmp_path, TRAIN).read_bytes() == LINES


def test_files_are_found_in_a_folder_or_the_cure_is_said(tmp_path):
    folder = write_data(tmp_path / "data", 2, 2)
    assert find_file(folder, TRAIN).name == "train.jsonl"
    assert find_file(folder, SOLUTIONS).name == "example_model_solutions.jsonl"
    assert find_file(folder / "train.jsonl", SOLUTIONS).name == "train.jsonl"
    with pytest.raises(FileNotFoundError, match=HOME):
        find_file(tmp_path / "absent", TRAIN)
    (folder / "train_2.jsonl").write_text("")
    with pytest.raises(ValueError, match="the one file that is meant"):
        find_file(folder, TRAIN)


def test_the_hub_is_asked_only_on_request(monkeypatch):
    asked = []

    def load_dataset(source, name, split):
        asked.append((source, name, split))
        if source == "nobody/nothing":
            raise FileNotFoundError("Dataset doesn't exist")
        if source == "nobody/broken":
            raise BrokenError("An error occurred while generating the dataset")
        return [train_row(0), {"else": 1}]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    problems, bad = load_word_problems("openai/gsm8k", hub=True, split="train", name="main")
    assert asked == [("openai/gsm8k", "main", "train")]
    assert (len(problems), len(bad)) == (1, 1)
    with pytest.raises(ValueError, match=r"could not be loaded from the hub.*doesn't exist"):
        load_word_problems("nobody/nothing", hub=True)
    with pytest.raises(ValueError, match=r"could not be loaded from the hub.*while generating"):
        load_word_problems("nobody/broken", hub=True)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"rg_helpers\[hub\]"):
        load_word_problems("openai/gsm8k", hub=True)
