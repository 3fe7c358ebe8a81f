"""Where problems come from: a path, the Hugging Face hub, a public address - the last two if asked.

Nothing is fetched unless it is asked for by name, and nothing that is fetched is run or unpickled.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path, PurePosixPath

from tqdm.auto import tqdm

from rg_helpers.artefacts import atomic_path
from rg_helpers.datasets.word_problems import WordProblem, problems_of, read_word_problems
from rg_helpers.traces import BadLine

HOME = "https://github.com/openai/grade-school-math"
RAW = "https://raw.githubusercontent.com/openai/grade-school-math/master/grade_school_math/data"
GSM8K_FILES = ("train.jsonl", "test.jsonl", "example_model_solutions.jsonl")
TRAIN, SOLUTIONS = "train*.jsonl", "*model_solutions*.jsonl"
INSTALL = "pip install rg_helpers[hub]"
SECONDS = 60
BLOCK = 2**16


def load_word_problems(
    source: str | Path,
    *,
    hub: bool = False,
    split: str = "test",
    name: str | None = None,
    folder: str | Path = ".",
) -> tuple[list[WordProblem], list[BadLine]]:
    """Return the problems of a path, of a public address, or with `hub` of a data set on the hub.

    A file at an address (https://...) is fetched into `folder` first, and taken from there the next
    time. On the Hugging Face hub `split` and the configuration `name` choose ("main" for
    openai/gsm8k). Raises `ValueError` or `OSError` that says what is missing.
    """
    if not hub:
        if str(source).startswith(("http://", "https://")):
            file = PurePosixPath(urllib.parse.urlsplit(str(source)).path).name
            source = download(str(source), Path(folder) / (file or "problems.jsonl"))
        return read_word_problems(source)
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ValueError(
            f"the package datasets is not installed: {INSTALL}, or fetch the file from the data "
            "set's page and give its path"
        ) from error
    try:
        rows = load_dataset(str(source), name, split=split)
    except Exception as error:  # the package's own errors have no narrower kind in common
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{source} (split {split}, configuration {name}) could not be loaded from the hub "
            f"({first}): check the id, split and name, or give a path"
        ) from error
    return problems_of(rows, f"{source}:{split}")


def download(url: str, path: str | Path) -> Path:
    """Fetch a public JSON or JSONL file to `path`, whole or not at all; a file there is kept.

    Raises `ValueError` for an address that is not http(s) or answers with a page, and `OSError`
    where it cannot be reached, asks for patience (429), falls silent or breaks off.
    """
    path = Path(path)
    if path.is_file():
        return path
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r}: expected an address that begins with https://")
    try:
        with (
            urllib.request.urlopen(url, timeout=SECONDS) as answer,
            atomic_path(path) as temporary,
            open(temporary, "wb") as file,
            tqdm(unit="B", unit_scale=True, desc=path.name, disable=None) as bar,
        ):
            told, read = answer.headers.get("content-length"), 0
            first = _block(answer)
            if not first.lstrip().startswith((b"{", b"[")):
                raise ValueError(
                    f"{url} answers with something that is no JSON ({first[:40]!r}): it may be a "
                    "page about the file; give the address of the raw file"
                )
            while first:
                file.write(first)
                read += len(first)
                bar.update(len(first))
                first = _block(answer)
            if told is not None and read != int(told):  # http.client lets this pass
                raise http.client.IncompleteRead(b"", int(told) - read)
    except urllib.error.URLError as error:
        raise _not_fetched(url, error.reason) from error
    except TimeoutError as error:  # before the first byte
        raise _not_fetched(url, f"silent for {SECONDS} seconds") from error
    except http.client.HTTPException as error:
        raise _not_fetched(url, f"it broke off, {error}") from error
    return path


def _block(answer: http.client.HTTPResponse) -> bytes:
    """Read on; what the network does wrong must not be taken for a disk that refuses."""
    try:
        return answer.read(BLOCK)
    except OSError as error:
        why = f"silent for {SECONDS} seconds" if isinstance(error, TimeoutError) else str(error)
        raise http.client.HTTPException(why) from error


def _not_fetched(url: str, why: object) -> OSError:
    return OSError(
        f"{url} could not be fetched ({why}): try again later, or fetch it by hand and give its "
        "path"
    )


def download_gsm8k(folder: str | Path) -> list[Path]:
    """Fetch GSM8K's files (MIT licence; Cobbe et al. 2021, arXiv 2110.14168) from their home."""
    return [download(f"{RAW}/{name}", Path(folder) / name) for name in GSM8K_FILES]


def find_file(source: str | Path, pattern: str) -> Path:
    """Return `source` if it is a file, else the one file below it whose name fits `pattern`.

    Raises `FileNotFoundError` that says where the data are to be had, `ValueError` for several.
    """
    source = Path(source)
    if source.is_file():
        return source
    found = sorted(source.glob(pattern)) if source.is_dir() else []
    if not found:
        raise FileNotFoundError(
            f"no {pattern} at {source}: the data are no part of the course; fetch "
            f"{' and '.join((GSM8K_FILES[0], GSM8K_FILES[2]))} from {HOME} "
            "(folder grade_school_math/data) into a folder and give its path, or let `rgh gsm8k "
            "--data FOLDER --download` do it"
        )
    if len(found) > 1:
        raise ValueError(
            f"{source} holds {', '.join(path.name for path in found)}: give the one file that is "
            "meant, or leave only that one in the folder"
        )
    return found[0]
