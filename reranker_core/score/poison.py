"""Rows that end the process that scores them: found across its restarts, and left out.

Out of the machine's memory, or an assertion on a GPU, ends a replica without an exception to
catch; Ray starts another and gives it the same part again, for ever. So somebody who outlives
replicas keeps count:

1. a part that has ended a process is scored warily: each batch is announced beforehand;
2. if it ends a process again, the rows of the batch announced last are suspects, and are scored
   one by one, announced beforehand, after all others;
3. a row that ends two processes when it is alone is fatal: it is left out, and quarantined.
   Once may be a machine that was taken away.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from reranker_core.errors import Incomplete

_FATAL_ENDS = 2
_MOST_ENDS = 20  # of processes in one part: beyond it is not the rows


@dataclass(frozen=True)
class Caution:
    """How a part is to be scored that has ended processes; rows are distinct pairs of the part."""

    fatal: tuple[int, ...] = ()
    suspects: tuple[int, ...] = ()


@dataclass
class _History:
    ends: int = 0
    open: bool = False
    announced: tuple[int, ...] = ()
    fatal: set[int] = field(default_factory=set)
    suspects: set[int] = field(default_factory=set)
    alone: Counter[int] = field(default_factory=Counter)  # ends while a row was alone


class Attempts:
    """The parts that are being scored, and what happened to those that scored them."""

    def __init__(self) -> None:
        self._parts: dict[str, _History] = {}

    def begin(self, part: str) -> Caution | None:
        """A replica takes up a part; how it is to go about it, None for as usual.

        Raises:
            Incomplete: the part has ended too many processes.

        """
        history = self._parts.setdefault(part, _History())
        if history.open:
            self._ended(history)
        if history.ends >= _MOST_ENDS:
            raise Incomplete(
                f"part {part} has ended {history.ends} replica processes, whichever rows were left "
                "out. Look at the memory of nodes and GPUs and at Ray's logs; a smaller "
                "score.max_batch_tokens may help. What is committed stays; the same command "
                "resumes"
            )
        history.open, history.announced = True, ()
        if not history.ends:
            return None
        return Caution(tuple(sorted(history.fatal)), tuple(sorted(history.suspects)))

    def announce(self, part: str, rows: list[int]) -> None:
        """A replica is about to compute these rows of the part."""
        self._parts[part].announced = tuple(rows)

    def finish(self, part: str) -> None:
        """The part is scored. What is known of its rows is kept for a second time."""
        self._parts[part].open = False
        if not self._parts[part].ends:
            del self._parts[part]

    def _ended(self, history: _History) -> None:
        history.ends += 1
        history.suspects.update(history.announced)
        if len(history.announced) == 1:
            history.alone.update(history.announced)
            history.fatal = {row for row, ends in history.alone.items() if ends >= _FATAL_ENDS}
            history.suspects -= history.fatal
