"""Final answers: taken out of a solution's text, and compared whatever their spelling.

Two numbers are compared exactly, as fractions. Everything else ("\\frac{x}{2}", "(1, 2]") goes to
`math-verify` (Kydlíček 2024), which compares by SymPy; where it is not installed, spellings are
compared, and the first such comparison says so.
"""

from __future__ import annotations

import functools
import re
import threading
import warnings
from fractions import Fraction
from typing import Literal

Comparison = Literal["auto", "math-verify", "numeric"]
INSTALL = "pip install rg_helpers[datasets]"

_HASHES = re.compile(r"####[ \t]*([^\n]*)")
_LETTER = re.compile(r"^A:[ \t]*(.*)$", re.MULTILINE)
_SAID = re.compile(r"\banswer\s*(?:is|:|=)\s*([^\n]+)", re.IGNORECASE)
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*")
_NUMBER = re.compile(r"[-+−]?\s*[$€£]?\s*(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?")
_FRACTION = re.compile(r"([-+]?)\\[dt]?frac\s*\{?(-?\d+)\}?\s*\{?(-?\d+)\}?")
_DROPPED = re.compile(
    r"\\[!,;: ]|\\left|\\right|\\displaystyle|\\text(?:bf)?\{[^{}]*\}|\\\$|[$€£]|\\?%|\^?\\circ"
)


def extract_answer(text: str) -> str | None:
    """Return the final answer that a solution announces; None if it announces none.

    In this order: what follows the last "####" (GSM8K), stands in the last `\\boxed{}` (MATH),
    follows "A:" at the start of a line (GSM8K's model solutions), or "the answer is". A number that
    merely stands last is not taken for an answer.
    """
    for pattern in (_HASHES, None, _LETTER, _SAID):
        found = _boxed(text) if pattern is None else _last(pattern, text)
        if found:
            return found
    return None


def same_answer(first: str | None, second: str | None, how: Comparison = "auto") -> bool:
    """Say whether two answers are equal: "1,200" and "$1200.00", "1/2" and "\\frac{1}{2}".

    `how="numeric"` never asks math-verify, "math-verify" insists on having it. An answer that is
    missing equals nothing. Raises `ValueError` for an unknown way, and where math-verify is asked
    for and not installed.
    """
    if how not in Comparison.__args__:
        raise ValueError(f"how={how!r}: expected one of {', '.join(Comparison.__args__)}")
    verifier = None if how == "numeric" else _math_verify()
    if how == "math-verify" and verifier is None:
        raise ValueError(f"math-verify is not installed: {INSTALL}, or take how='numeric'")
    if not first or not second:
        return False
    numbers = read_number(first), read_number(second)
    if None not in numbers:
        return numbers[0] == numbers[1]
    if _spelling(first) == _spelling(second):
        return True
    if verifier is None:
        if how == "auto":
            _say_once()
        return False
    return _verified(verifier, first, second)


def read_number(text: str) -> Fraction | None:
    """Return the number that an answer is, exactly; None if it is anything more than one number.

    Thousands' commas, currency and percent signs, spaces, a full stop at the end and words behind
    the number ("18 dollars") do not matter; "3/4" and "\\frac{3}{4}" are numbers.
    """
    fraction = _FRACTION.fullmatch(text.strip().strip("$").strip())
    if fraction:
        sign, top, bottom = fraction.groups()
        return None if not int(bottom) else Fraction(int(f"{sign}1") * int(top), int(bottom))
    plain = _DROPPED.sub("", text).strip().rstrip(".").strip().replace("−", "-")
    match = _NUMBER.match(plain)
    number, rest = _digits(match.group()), plain[match.end() :].strip()
    if number is None:
        return None
    if rest.startswith("/"):
        divisor = _NUMBER.match(rest[1:].strip())
        bottom = _digits(divisor.group())
        rest = rest[1:].strip()[divisor.end() :].strip()
        if not bottom:
            return None
        number /= bottom
    return number if re.fullmatch(r"(?:[A-Za-z]{2,}[A-Za-z .]*)?", rest) else None


def _digits(text: str) -> Fraction | None:
    plain = re.sub(r"[,\s$€£]", "", text).replace("−", "-")
    return Fraction(plain) if re.search(r"\d", plain) else None


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.findall(text)
    return found[-1].strip().rstrip(".").strip() or None if found else None


def _boxed(text: str) -> str | None:
    """Return what the last \\boxed or \\fbox holds; braces inside it are matched."""
    marks = list(_BOXED.finditer(text))
    if not marks:
        return None
    start = marks[-1].end()
    if not text.startswith("{", start):
        return (text[start:].split() or [""])[0].strip("$.,") or None
    depth = 0
    for index in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return text[start + 1 : index].strip() or None
    return None  # the solution broke off inside the box


def _spelling(text: str) -> str:
    plain = re.sub(r"\\[dt]frac", r"\\frac", _DROPPED.sub("", text))
    return re.sub(r"\s+", "", plain).rstrip(".").lower()


@functools.cache
def _math_verify() -> object | None:
    try:
        import math_verify
    except ImportError:
        return None
    return math_verify


@functools.cache
def _say_once() -> None:
    warnings.warn(
        "math-verify is not installed, so answers that are no plain numbers count as equal only "
        f"where they are spelt alike: {INSTALL}",
        stacklevel=3,
    )


def _verified(verifier: object, first: str, second: str) -> bool:
    # Its time limit needs signals, which only the main thread gets.
    seconds = 5 if threading.current_thread() is threading.main_thread() else None

    def read(text: str) -> list:
        bare = text.strip().strip("$")
        return verifier.parse(f"${bare}$", parsing_timeout=seconds)

    try:
        return bool(verifier.verify(read(first), read(second), timeout_seconds=seconds))
    except Exception as error:  # a text that SymPy chokes on is no equal answer
        warnings.warn(
            f"math-verify could not compare {first[:40]!r} and {second[:40]!r} "
            f"({type(error).__name__}): counted as different",
            stacklevel=3,
        )
        return False
