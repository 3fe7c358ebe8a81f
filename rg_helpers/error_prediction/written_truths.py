"""Truths that a line writes down: do they come out, and did earlier lines say so?

What a pocket calculator is for written sums, this is for written truths: "It is late when bonded
or joint: no or yes, so yes." is worked out again, and the truths it uses are looked up in the lines
that say them. Only the trace's own text is read, no gold solution, no checker and no model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_TRUE = {"yes": True, "no": False}
_FACT = re.compile(r"\b(?:is|are|was) (not )?(\w+)\.?\s*$")
_SAID = re.compile(r"\bis (\w+)(?: when [^:]*)?: (?:[^:]*\bso )?(yes|no)\b")
_RULE = re.compile(
    r"\bwhen (not )?(\w+)(?: (and|or) (not )?(\w+))?: "
    r"(not )?(yes|no)(?: (and|or) (not )?(yes|no))?, so (yes|no)\b"
)


def truth_numbers(texts: Sequence[str], given: int) -> list[tuple[int, int]]:
    """Return, for every text from `given` on, two counts (wrong truths, other truths).

    texts: of all nodes, the first `given` of them the prompt's. wrong truths: conclusions that do
    not follow from what stands before "so", and connectives other than the rule's. other truths:
    names whose truth the last line that says it gives otherwise, or that are called true though no
    line says so.
    """
    known: dict[str, bool] = {}
    for text in texts[:given]:
        fact = _FACT.search(text)
        if fact:
            known[fact[2]] = not fact[1]
    rows = []
    for text in texts[given:]:
        rule, said = _RULE.search(text), _SAID.search(text)
        used = _used(rule) if rule else ({said[1]: _TRUE[said[2]]} if said else {})
        other = sum(known.get(name, False) != truth for name, truth in used.items())
        rows.append((wrong_truths(text), other))
        if said:
            known[said[1]] = _TRUE[said[2]]
    return rows


def wrong_truths(text: str) -> int:
    """Count what does not come out in a line's rule: its conclusion, its words for "and" or "not".

    >>> wrong_truths("It is late when bonded or joint: no or yes, so no.")
    1
    """
    rule = _RULE.search(text)
    if rule is None:
        return 0
    first_not, _, joint, second_not, second = rule.groups()[:5]
    wrote_first_not, a, wrote_joint, wrote_second_not, b, said = rule.groups()[5:]
    wrong = (bool(first_not), joint, bool(second_not)) != (
        bool(wrote_first_not),
        wrote_joint,
        bool(wrote_second_not),
    )
    if second is None or b is None:
        holds = _TRUE[a] != bool(wrote_first_not)
    else:
        left, right = _TRUE[a] != bool(wrote_first_not), _TRUE[b] != bool(wrote_second_not)
        holds = (left and right) if wrote_joint == "and" else (left or right)
    return int(wrong) + int(holds != _TRUE[said])


def _used(rule: re.Match[str]) -> dict[str, bool]:
    used = {rule[2]: _TRUE[rule[7]]}
    if rule[5] and rule[10]:
        used[rule[5]] = _TRUE[rule[10]]
    return used
