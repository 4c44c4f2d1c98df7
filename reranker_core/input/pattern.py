"""Which names below a folder match a glob pattern. Each step of a path is checked on the way
down.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence

Position = frozenset[int]

_SIGNS = re.compile(r"[*?\[]")
_NAMES_HIDDEN = re.compile(r"[_.]|\[[^!\]]*[_.]")


def is_pattern(step: str) -> bool:
    """Whether a step of a path contains glob characters."""
    return _SIGNS.search(step) is not None


def is_hidden(name: str) -> bool:
    """Whether a name is hidden: it begins with `_` or `.`, like markers, logs and unfinished
    files.
    """
    return name.startswith(("_", "."))


class Pattern:
    """The steps of a glob pattern below its fixed folder: `*`, `?` and `[…]` within a step, and
    `**` for any number of steps. A pattern without steps matches the whole folder.

    If a folder matches, everything below it matches. So `in`, `in/*` and `in/**/*.parquet` find the
    same Parquet files. A hidden name matches only a step that begins with `_` or `.` itself.

    A position is the set of all steps of the pattern that may come next. After the last step,
    everything matches.
    """

    def __init__(self, steps: Sequence[str] = ()) -> None:
        self._steps = tuple(steps)
        self._expressions = [re.compile(fnmatch.translate(step)) for step in steps]
        self.start = self._closed({0})

    def enter(self, position: Position, name: str, hidden_too: bool = False) -> Position:
        """The position after one more step of a path; empty if nothing below it can match.

        Args:
            position: the position of the folder.
            name: the next step of the path.
            hidden_too: treat hidden names like other names.

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
        """Whether a file or folder at `position` matches."""
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
