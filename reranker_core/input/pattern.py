"""Which names below a folder a glob means, decided step by step on the way down."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence

Position = frozenset[int]

_SIGNS = re.compile(r"[*?\[]")
_NAMES_HIDDEN = re.compile(r"[_.]|\[[^!\]]*[_.]")


def is_pattern(step: str) -> bool:
    """Whether a step of a path has glob signs."""
    return _SIGNS.search(step) is not None


def is_hidden(name: str) -> bool:
    """Whether readers of data sets pass a name over: markers, logs, unfinished files."""
    return name.startswith(("_", "."))


class Pattern:
    """The steps of a glob below its fixed folder: `*`, `?` and `[…]` within a step, and `**` for
    any number of steps. Without steps it means the whole folder.

    What it matches is meant with all that lies below it, so `in`, `in/*` and `in/**/*.parquet`
    find the same Parquet files. A hidden name is matched only by a step that itself begins with
    `_` or `.`.

    A position says how much of the pattern the steps of a path have used up, in all the ways in
    which they can. Beyond the last step everything matches.
    """

    def __init__(self, steps: Sequence[str] = ()) -> None:
        self._steps = tuple(steps)
        self._expressions = [re.compile(fnmatch.translate(step)) for step in steps]
        self.start = self._closed({0})

    def enter(self, position: Position, name: str, hidden_too: bool = False) -> Position:
        """The position behind one more step of a path; empty if nothing below it can match.

        Args:
            position: where the folder stands.
            name: the next step.
            hidden_too: take hidden names for names like others.

        """
        shown = hidden_too or not is_hidden(name)
        reached: set[int] = set()
        for index in position:
            if index == len(self._steps) or self._steps[index] == "**":
                reached |= {index} if shown else set()
            elif self._expressions[index].match(name) and (
                shown or _NAMES_HIDDEN.match(self._steps[index])
            ):
                reached.add(index + 1)
        return self._closed(reached)

    def matches(self, position: Position) -> bool:
        """Whether what stands at `position` is meant."""
        return len(self._steps) in position

    def _closed(self, indices: Iterable[int]) -> Position:
        """With the positions that `**` reaches by standing for no step at all."""
        closed: set[int] = set()
        for index in indices:
            while index not in closed:
                closed.add(index)
                if index < len(self._steps) and self._steps[index] == "**":
                    index += 1
        return frozenset(closed)
