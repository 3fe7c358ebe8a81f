"""Solutions that real language models wrote for GSM8K's test problems, as traces with labels.

The file (example_model_solutions.jsonl of the data set's home) holds a problem a line: its
`question` and, for every model that solved it, an object with its `solution` and whether the final
answer `is_correct`. Nothing says which step is wrong, so `wrong_answer` is the only target.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rg_helpers.datasets.annotations import plain_solution
from rg_helpers.datasets.answers import extract_answer, same_answer
from rg_helpers.datasets.word_problems import question_id, read_rows
from rg_helpers.error_prediction.labels import labels_from_extra
from rg_helpers.error_prediction.trace_set import TraceSet
from rg_helpers.traces import BadLine, Trace, trace_from_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

FAMILY = "gsm8k"
WRITER = "writer"  # the column that names the model which wrote the solution
ANSWER = "A:"  # begins the answer line; a solution without one was broken off


def read_model_solutions(
    path: str | Path, tokenizer: PreTrainedTokenizerFast, most: int | None = None
) -> tuple[TraceSet, list[BadLine]]:
    """Read the first `most` problems, each with all its solutions; bad lines are reported.

    A step is a line, without its calculator annotations. The column `writer` names who wrote it,
    `agrees` says whether comparing the answers gives the file's own verdict (None if there is no
    reference); nothing else of the file is kept. Raises `FileNotFoundError` for a missing file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give the file of model solutions")
    traces: list[Trace] = []
    bad: list[BadLine] = []
    for number, row in enumerate(read_rows(path), start=1):
        if most is not None and number > most:
            break
        try:
            if not isinstance(row, Mapping):
                raise ValueError(row if isinstance(row, str) else "no object with named columns")
            traces += _traces_of(row, tokenizer)
        except (ValueError, TypeError, KeyError) as error:
            reason = f"column {error} is missing" if isinstance(error, KeyError) else str(error)
            bad.append(BadLine(str(path), number, reason))
    return TraceSet(tuple(traces), tuple(map(labels_from_extra, traces))), bad


def label_agreement(trace_set: TraceSet) -> dict[str, Any]:
    """Return how many labels of the file our own comparison of answers gives, too."""
    said = [trace.extra.get("agrees") for trace in trace_set.traces]
    return {"compared": len(said) - said.count(None), "agreeing": said.count(True)}


def _traces_of(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast) -> list[Trace]:
    question = row["question"]
    writers = [name for name, found in row.items() if isinstance(found, Mapping)]
    if not writers:
        raise ValueError(
            "no solution: expected objects with `solution` and `is_correct` beside the question"
        )
    reference, found = row.get("ground_truth"), []
    wanted = extract_answer(reference) if isinstance(reference, str) else None
    for writer in writers:
        right, written = row[writer]["is_correct"], row[writer]["solution"]
        if not isinstance(right, bool) or not isinstance(written, str):
            raise ValueError(
                f"{writer}: is_correct is {right!r} and solution {str(written)[:30]!r}: expected "
                "true or false, and text"
            )
        text = plain_solution(written)
        lines = text.splitlines()
        kinds = ["answer" if line.startswith(ANSWER) else "step" for line in lines]
        agrees = None if wanted is None else same_answer(extract_answer(text), wanted) == right
        problem = question_id(question)
        found.append(
            trace_from_text(
                tokenizer,
                question,
                text,
                family=FAMILY,
                problem_id=problem,
                trace_id=f"{problem}-{writer}",
                solution_nodes=list(zip(kinds, lines, strict=True)),
                finished="answer" in kinds,
                allow_no_steps=True,
                extra={"correct": right, WRITER: writer, "agrees": agrees},
            )
        )
    return found
