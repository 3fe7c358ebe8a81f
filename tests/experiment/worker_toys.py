"""What processes of a sweep do in tests; imported by them, so it imports nothing heavy."""

from __future__ import annotations

import os


def tens(opening: int, item: int) -> tuple[int, int]:
    return opening + 10 * item, os.getpid()


def dies_at_two(opening: int, item: int) -> int:
    if item == 2:
        os._exit(1)
    return item


def fails(opening: int, item: int) -> int:
    raise ValueError(f"item {item} cannot be done: do another")
