"""Where a number in a solution may come from, if not from an earlier line.

Three places, from near to far: the question as it is written (digits and number words), what the
question says in other words ("20%" is also 0.2 and 80, "half" is 2 and 0.5), and everyday knowledge
(60 minutes an hour). The further away, the more numbers fit by chance; `annotations` measures that.
"""

from __future__ import annotations

import itertools
import re
from functools import cached_property

from rg_helpers.graphs.annotated import annotated_numbers

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
NUMBER_WORDS: dict[str, float] = {
    **{word: float(value) for value, word in enumerate(ONES)},
    **{word: 10.0 * value for value, word in enumerate(TENS, start=2)},
    "hundred": 100.0,
    "thousand": 1000.0,
    "million": 1e6,
    "dozen": 12.0,
}
# What a word says without being a number: the numbers that a solution writes for it.
IMPLIED: dict[str, tuple[float, ...]] = {
    "half": (2, 0.5, 1.5),
    "halve": (2, 0.5),
    "twice": (2,),
    "double": (2,),
    "pair": (2,),
    "couple": (2,),
    "both": (2,),
    "twin": (2,),
    "other": (2,),
    "triple": (3,),
    "thrice": (3,),
    "third": (3,),
    "quadruple": (4,),
    "quarter": (4, 0.25, 0.75),
    "fourth": (4, 0.25, 0.75),
    "fifth": (5, 0.2),
    "sixth": (6,),
    "seventh": (7,),
    "eighth": (8,),
    "ninth": (9,),
    "tenth": (10, 0.1),
    "nickel": (5, 0.05),
    "dime": (10, 0.1),
    "penny": (0.01,),
    "pennies": (0.01,),
    "decade": (10,),
    "century": (100,),
}
KNOWN: dict[float, str] = {
    1: "one, or the whole",
    2: "two of a pair, two halves",
    3: "feet in a yard, months in a quarter",
    4: "weeks in a month, quarters in a whole",
    5: "working days in a week",
    7: "days in a week",
    10: "millimetres in a centimetre",
    12: "months in a year, inches in a foot, a dozen",
    16: "ounces in a pound",
    24: "hours in a day",
    28: "days in February",
    30: "days in a month",
    31: "days in a month",
    36: "inches in a yard",
    52: "weeks in a year",
    60: "minutes in an hour",
    100: "per cent, cents in a dollar, centimetres in a metre",
    180: "degrees in a triangle",
    360: "degrees in a circle",
    365: "days in a year",
    1000: "metres in a kilometre, grams in a kilogram",
    2000: "pounds in a ton",
    3600: "seconds in an hour",
    5280: "feet in a mile",
    0.01: "per cent, dollars in a cent",
}
_WORD = re.compile(r"[a-z]+")
_FRACTION = re.compile(r"(\d+)\s*/\s*(\d+)")
_DIGITS = 6


def same_value(value: float) -> float:
    """Round a value, so that 0.1 + 0.2 and 0.3 are the same number."""
    return round(value, _DIGITS)


class TextNumbers:
    """The numbers of a text: `written` as digits or words, `derived` from what it says."""

    def __init__(self, text: str) -> None:
        self.text = text.lower()
        self.words = _WORD.findall(self.text)

    @cached_property
    def written(self) -> frozenset[float]:
        """Numbers written as digits, or in words, "twenty-five" included."""
        found = {same_value(number) for number in annotated_numbers(self.text)}
        values = [NUMBER_WORDS.get(word) for word in self.words]
        found |= {value for value in values if value is not None}
        for one, other in itertools.pairwise(values):
            if one is None or other is None:
                continue
            if one in range(20, 100, 10) and 1 <= other <= 9:
                found.add(one + other)
            if other >= 100:
                found.add(one * other)
        return frozenset(found)

    @cached_property
    def derived(self) -> frozenset[float]:
        """Numbers that it implies: parts and multiples, shares and their rest, cents as dollars."""
        found: set[float] = set()
        for word in self.words:
            found.update(IMPLIED.get(word) or IMPLIED.get(word.removesuffix("s")) or ())
            found.update(IMPLIED.get(word.removesuffix("d")) or ())
        if "%" in self.text or "percent" in self.text or "per cent" in self.text:
            for share in self.written:
                found |= {share / 100, 1 - share / 100, 1 + share / 100, 100 - share, 100 + share}
        if "cent" in self.text or "¢" in self.text:
            found |= {amount / 100 for amount in self.written}
        if "half" in self.text:  # "2 and a half"
            found |= {number + 0.5 for number in self.written}
        for top, bottom in _FRACTION.findall(self.text):
            whole, part = int(bottom), int(top)
            if whole:
                found |= {part / whole, 1 - part / whole, 1 + part / whole, whole - part}
        return frozenset(map(same_value, found))
