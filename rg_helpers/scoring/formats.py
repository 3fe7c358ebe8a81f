"""What a line may look like: plain text, chat messages, GSM8K's files, stored traces.

Each line becomes one or several `Written`: a prompt and the solution after it, as text. Columns
that are not used are kept.

- `prompt` + `solution` (or `completion`, `response`), `problem` + `solution`, `question` +
  `answer`; a list of texts in `steps` instead of the solution says where the steps are;
- `messages` (or `conversation`): role and content, the last one the assistant's; `prompt` and
  `completion` may be lists of messages as well;
- `question` and, a model, an object with `solution` and `is_correct`: GSM8K's model solutions;
- `token_ids` and `nodes`: a trace as `rgh traces` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rg_helpers.artefacts import sha256_of
from rg_helpers.datasets.annotations import plain_solution
from rg_helpers.datasets.answers import extract_answer, same_answer
from rg_helpers.datasets.model_solutions import ANSWER, FAMILY, WRITER
from rg_helpers.datasets.word_problems import question_id

Messages = tuple[Mapping[str, str], ...]
TEXT_PAIRS = (
    ("prompt", "solution"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("problem", "solution"),
    ("question", "solution"),
    ("question", "answer"),
    ("question", "response"),
)
PROMPTS = ("prompt", "problem", "question")
CONVERSATIONS = ("messages", "conversation")
IDS = ("trace_id", "id")
GSM8K_MARKS = ("<<", "####")


@dataclass(frozen=True)
class Written:
    """A prompt and a solution as text.

    `messages` replace the prompt where it is a chat. `pieces` are the steps' (kind, text) where the
    line or its format says them; `fixed` ones hold against any other rule. `trace_id` is None where
    the line has none.
    """

    prompt: str
    solution: str
    trace_id: str | None = None
    problem_id: str | None = None
    family: str = "text"
    separator: str = "\n"
    messages: Messages = ()
    pieces: tuple[tuple[str, str], ...] | None = None
    fixed: bool = False
    finished: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)


def check_characters(text: str, column: str) -> None:
    """Raise `ValueError` for half of a surrogate pair: no tokenizer and no file takes it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"column {column} holds half a character at place {error.start} (a lone surrogate, "
            "from a wrong encoding): repair the text"
        ) from None


def readable(words: str) -> str:
    """Return words with half characters escaped, so that they can be printed and written."""
    return words.encode("utf-8", "backslashreplace").decode("utf-8")


def is_stored_trace(row: Mapping[str, Any]) -> bool:
    """Say whether a row is a whole trace, as `write_traces` writes it."""
    return "token_ids" in row and "nodes" in row


def written_of(row: Mapping[str, Any]) -> list[Written]:
    """Return the solutions of a row; raises `ValueError` that names the columns expected."""
    if any(isinstance(row.get(name), list) for name in CONVERSATIONS):
        return [_of_conversation(row)]
    writers = [name for name, found in row.items() if _is_judged(found)]
    if writers and "question" in row:
        return [_of_writer(row, name) for name in writers]
    if isinstance(row.get("steps"), list):
        return [_of_steps(row)]
    for pair in TEXT_PAIRS:
        if all(name in row for name in pair):
            return [_of_pair(row, *pair)]
    expected = "prompt + solution, question + answer, problem + steps, messages, or a stored trace"
    raise ValueError(f"columns {', '.join(map(str, row)) or 'none'}: expected {expected}")


def _of_pair(row: Mapping[str, Any], prompt: str, solution: str) -> Written:
    question, written = row[prompt], row[solution]
    used = {prompt, solution}
    if isinstance(question, list):
        messages = _messages(question, prompt)
        if isinstance(written, list):
            written = _only_reply(_messages(written, solution), solution)
        return _with_columns(row, used, "", _text(written, solution), messages=messages)
    question, written = _text(question, prompt), _text(written, solution)
    if (prompt, solution) == ("question", "answer") and any(m in written for m in GSM8K_MARKS):
        written = plain_solution(written)
        return _with_columns(
            row, used, question, written, family=FAMILY, pieces=_answer_lines(written)
        )
    return _with_columns(row, used, question, written)


def _of_steps(row: Mapping[str, Any]) -> Written:
    prompt = next((name for name in PROMPTS if name in row), None)
    if prompt is None:
        raise ValueError(f"steps without a prompt: expected a column {' or '.join(PROMPTS)}")
    steps = [_text(step, "steps").strip() for step in row["steps"]]
    if not all(steps):
        raise ValueError(f"step {steps.index('')} is blank: leave it out of the column steps")
    pieces = tuple(("step", step) for step in steps)
    return _with_columns(
        row,
        {prompt, "steps"},
        _text(row[prompt], prompt),
        "\n\n".join(steps),
        pieces=pieces,
        fixed=True,
    )


def _of_conversation(row: Mapping[str, Any]) -> Written:
    name = next(one for one in CONVERSATIONS if isinstance(row.get(one), list))
    messages = _messages(row[name], name)
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise ValueError(
            f"the {name} end with the role {messages[-1]['role']!r}: expected at least a user's "
            "message and, last, the assistant's, which is the solution"
        )
    solution = _text(messages[-1]["content"], f"{name}, last content")
    return _with_columns(row, {name}, "", solution, messages=messages[:-1])


def _of_writer(row: Mapping[str, Any], writer: str) -> Written:
    """Return one model's solution of GSM8K's file, exactly as `read_model_solutions` does."""
    right, question = row[writer]["is_correct"], _text(row["question"], "question")
    if not isinstance(right, bool):
        raise ValueError(f"{writer}: is_correct is {right!r}, expected true or false")
    check_characters(writer, ascii(writer))
    text = plain_solution(_text(row[writer]["solution"], f"solution of {writer}"))
    pieces = _answer_lines(text)
    reference = row.get("ground_truth")
    wanted = extract_answer(reference) if isinstance(reference, str) else None
    agrees = None if wanted is None else same_answer(extract_answer(text), wanted) == right
    problem = question_id(question)
    return Written(
        prompt=question,
        solution=text,
        trace_id=f"{problem}-{writer}",
        problem_id=problem,
        family=FAMILY,
        pieces=pieces,
        finished=any(kind == "answer" for kind, _ in pieces),
        extra={"correct": right, WRITER: writer, "agrees": agrees},
    )


def _with_columns(
    row: Mapping[str, Any], used: set[str], prompt: str, solution: str, **given: Any
) -> Written:
    """Fill in what a line says beside its texts: ids, family, separator, whether it is finished."""
    names = {name: row[name] for name in ("problem_id", "family", "separator") if name in row}
    for name, value in names.items():
        if isinstance(value, int) and name == "problem_id":
            names[name] = str(value)
        elif not isinstance(value, str):
            raise ValueError(f"column {name} is {str(value)[:40]!r}, expected text")
        check_characters(names[name], name)
    finished = row.get("finished", True)
    if not isinstance(finished, bool):
        raise ValueError(f"column finished is {finished!r}, expected true or false")
    trace_id = next((row[name] for name in IDS if name in row), None)
    if trace_id is not None and not isinstance(trace_id, str | int):
        raise ValueError(f"the id is {str(trace_id)[:40]!r}, expected text or a whole number")
    check_characters(str(trace_id), "id")
    known = {*used, *names, "finished", *IDS[:1]}
    extra = {name: value for name, value in row.items() if name not in known}
    options = {**given, **names}  # what the file says wins
    if "problem_id" not in options and options.get("messages"):
        options["problem_id"] = sha256_of(repr([dict(m) for m in options["messages"]]))[:16]
    return Written(
        prompt=prompt,
        solution=solution,
        trace_id=None if trace_id is None else str(trace_id),
        finished=finished,
        extra=extra,
        **options,
    )


def _answer_lines(text: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        ("answer" if line.startswith(ANSWER) else "step", line) for line in text.splitlines()
    )


def _is_judged(found: Any) -> bool:
    return isinstance(found, Mapping) and "solution" in found and "is_correct" in found


def _messages(found: Sequence[Any], column: str) -> Messages:
    messages = []
    for number, message in enumerate(found):
        given = message if isinstance(message, Mapping) else {}
        texts = {"role": given.get("role"), "content": _joined(given.get("content"))}
        if not all(isinstance(text, str) for text in texts.values()):
            raise ValueError(
                f"message {number} of {column} is {str(message)[:60]!r}: expected an object with "
                "role and content, both text"
            )
        for text in texts.values():
            check_characters(text, f"{column}, message {number},")
        messages.append(texts)
    if not messages:
        raise ValueError(f"the column {column} holds no message")
    return tuple(messages)


def _joined(content: Any) -> Any:
    """Return a content of text parts, as chat servers take it, as one text; any other as it is."""
    if not isinstance(content, list) or not all(isinstance(part, Mapping) for part in content):
        return content
    texts = [part.get("text") if part.get("type") == "text" else None for part in content]
    return "".join(texts) if texts and all(isinstance(text, str) for text in texts) else content


def _only_reply(messages: Messages, column: str) -> str:
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        raise ValueError(f"the column {column} holds {len(messages)} messages: expected one reply")
    return messages[0]["content"]


def _text(value: Any, column: str) -> str:
    """Return a column's text; blank ones and halves of surrogate pairs are refused."""
    if not isinstance(value, str):
        raise ValueError(
            f"column {column} is {type(value).__name__} {str(value)[:40]!r}: expected text"
        )
    if not value.strip():
        raise ValueError(f"column {column} is empty: leave the line out, or sample it again")
    check_characters(value, column)
    return value
