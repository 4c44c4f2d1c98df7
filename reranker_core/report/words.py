"""Numbers in sentences."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """`1 part`, `2 parts`, `1,000 parts`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
