"""Replies kept in the repository to show the format of a judge's reply and its usual faults.

They were written by hand. No model made them and no result rests on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rg_helpers.artefacts import read_json
from rg_helpers.graphs.judge.cache import JudgeReply
from rg_helpers.tokenizer import build_tokenizer
from rg_helpers.traces import Trace, trace_from_text

RECORDED_FOLDER = Path(__file__).resolve().parents[3] / "data" / "judge_replies"


@dataclass(frozen=True)
class RecordedReply:
    """A hand-written reply on a hand-written trace, and the kinds of problems it shows."""

    case: str
    note: str
    trace: Trace
    reply: JudgeReply
    problem_kinds: tuple[str, ...]


def recorded_replies(folder: str | Path = RECORDED_FOLDER) -> list[RecordedReply]:
    """Read all recorded replies, by file name. Raises as `read_json` does for a broken file."""
    paths = sorted(Path(folder).glob("*.json"))
    if not paths:
        raise FileNotFoundError(f"no recorded replies in {folder}: restore it from the repository")
    tokenizer = build_tokenizer()
    recorded = []
    for path in paths:
        entry = read_json(path)
        separator = entry["separator"]
        given, written = entry["prompt_nodes"], entry["solution_nodes"]
        trace = trace_from_text(
            tokenizer,
            prompt=separator.join(text for _, text in given),
            solution=separator.join(text for _, text in written),
            family=entry["family"],
            separator=separator,
            trace_id=path.stem,
            prompt_nodes=given,
            solution_nodes=written,
        )
        recorded.append(
            RecordedReply(
                case=path.stem,
                note=entry["note"],
                trace=trace,
                reply=JudgeReply(entry["content"], entry["finish_reason"]),
                problem_kinds=tuple(entry["problem_kinds"]),
            )
        )
    return recorded
