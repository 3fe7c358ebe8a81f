"""What was measured on GSM8K, in words: every figure comes from the result it describes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FAILURES_SHOWN = 3


def annotation_summary(found: Mapping[str, Any]) -> str:
    """Return what the annotations give, as text."""
    graphs, copies = found["graphs"], found["copies"]
    shares = {
        "lines parsed": found["lines_parsed"],
        "lines whose arithmetic holds": found["lines_holding"],
        "operands resolved": found["operands_resolved"],
        "... beside another problem's question": found["by_chance"]["operands_resolved"],
        "lines that give a consistent graph": found["lines_consistent"],
    }
    lines = [f"{found['problems']} reference solutions, {found['lines_parsed']['n']} lines"]
    lines += [f"  {name:42}{_share(share)}" for name, share in shares.items()]
    lines.append(
        f"  graphs: {graphs['gold']} gold, {graphs['silver']} silver, "
        f"{found['without_annotation']} solutions without annotation; {found['edges']} edges"
    )
    within, across = (sum(copies[name].values()) for name in ("within_train", "test_in_train"))
    lines.append(
        f"  copies: {within} within the training problems, {across} of {copies['test']} test "
        "problems in them"
    )
    for one in found["failures"][:FAILURES_SHOWN]:
        lines.append(f"  failure: row {one['row']}, line {one['line']}: {one['reasons'][0]}")
    lines.append(f"  {len(found['failures'])} failures in all, listed in the result file")
    return "\n".join(lines)


def reader_summary(found: Mapping[str, Any]) -> str:
    """Return what the reader can do and what it cannot, as text."""
    heads = ("perplexity", "by frequency", "first choice")
    lines = [f"{'what the reader reads':28}{heads[0]:>24}{heads[1]:>14}{heads[2]:>14}"]
    for row in found["losses"]:
        lines.append(
            f"  {row['name'].replace('_', ' '):26}{interval_text(row['perplexity']):>24}"
            f"{row['frequency_perplexity']:14.1f}{row['token_accuracy']:14.1%}"
        )
    solving = found["solving"]
    blind = {
        "the most common answer": solving["most_common_answer"]["value"],
        "the question's last number": solving["last_number"]["value"],
        "its own answers dealt at random": solving["dealt_answers"],
    }
    lines.append(
        f"greedily it solves {_share(solving['accuracy'])} of {solving['problems']} problems; "
        + ", ".join(f"{name} {share:.2%}" for name, share in blind.items())
    )
    reads = all(r["perplexity"]["high"] < r["frequency_perplexity"] for r in found["losses"])
    solves = solving["accuracy"]["low"] > max(blind.values())
    lines.append(
        f"it {'foresees' if reads else 'does not foresee'} solutions better than the frequencies "
        f"of tokens do, and its answers are {'' if solves else 'not surely '}better than answers "
        "that nobody worked out"
    )
    return "\n".join(lines)


def edge_summary(found: Mapping[str, Any]) -> str:
    """Return how well graphs find the annotated edges, as text."""
    lines = [
        f"{found['edges']} annotated edges among {found['pairs']} pairs of lines of "
        f"{found['solutions']} held-out reference solutions",
        f"  {'':26}{'within a line':>24}{'at the same places':>24}",
    ]
    for row in found["rows"]:
        cells = [row["within_line_auc"], row["matched_auc"]]
        shown = "".join(f"{interval_text(cell) if cell else '-':>24}" for cell in cells)
        lines.append(f"  {row['name'].replace('_', ' '):26}{shown}")
    return "\n".join(lines)


def writer_summary(found: Mapping[str, Any]) -> str:
    """Return the comparison among solutions of one writer, as text."""
    lines = [f"\n{'among solutions of one writer':44}{'AUROC':>22}{'within writer':>22}"]
    for one in found["writers"]:
        lines.append(f"  {one['name']}: {one['wrong']:.1%} of {one['traces']} wrong")
    for row in found["rows"]:
        shown = f"{interval_text(row['auroc']):>22}{interval_text(row['within_writer_auc']):>22}"
        lines.append(f"{row['title'][:43]:44}{shown}")
    for gain in found["increments"].values():
        lines.append(
            f"  gain by all graphs over {gain['over'].replace('_', ' ')}: "
            f"{interval_text(gain, '+.3f')}, within +-{gain['margin']}: p "
            f"{gain['p_equivalent']:.2g}"
        )
    return "\n".join(lines)


def interval_text(found: Mapping[str, Any], form: str = ".3f") -> str:
    """Return a value and its interval."""
    return f"{found['value']:{form}} [{found['low']:{form}}, {found['high']:{form}}]"


def _share(share: Mapping[str, Any]) -> str:
    return f"{share['value']:.2%} [{share['low']:.2%}, {share['high']:.2%}]"
