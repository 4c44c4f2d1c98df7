"""What a killed attempt did after its last record: in the receipts, and in no record."""

from __future__ import annotations

from dataclasses import dataclass

from reranker_core.errors import count
from reranker_core.output.attempts import Attempt
from reranker_core.output.totals import Totals


@dataclass(frozen=True)
class Unrecorded:
    """The receipts of an output less the records of its attempts.

    Attributes:
        attempts: numbers of those that have not recorded their end.
        parts, pairs: committed, and in no record.
        replica_hours: that replicas scored or waited for them.

    """

    attempts: tuple[int, ...]
    parts: int
    pairs: int
    replica_hours: float

    @classmethod
    def of(cls, totals: Totals, attempts: list[Attempt]) -> Unrecorded:
        """A receipt does not name its attempt, so only sums can be compared. Parts that were scored
        twice, because their shard or file has changed, hide as many others.
        """
        seconds = sum(each.scoring_seconds + each.waiting_seconds for each in attempts)
        return cls(
            tuple(each.number for each in attempts if each.end is None),
            max(0, totals.parts - sum(each.parts for each in attempts)),
            max(0, totals.pairs - sum(each.pairs for each in attempts)),
            max(0.0, totals.seconds + totals.waited - seconds) / 3600,
        )

    def at_least(self, value: str) -> str:
        """A sum over attempts, marked where some of them have not recorded their end."""
        return f"at least {value}" if self.attempts else value

    def __str__(self) -> str:
        """For a reader of the attempts; empty if their records are complete."""
        told = []
        if self.parts:
            told.append(f"{count(self.parts, 'part')} with {count(self.pairs, 'pair')}")
        if self.attempts:
            one = len(self.attempts) == 1
            who = f"attempt {self.attempts[0]}" if one else f"{len(self.attempts):,} attempts"
            told.append(
                f"{who} did not record {'its' if one else 'their'} end, so only the last record "
                "counts here, and records are about 30 s apart"
            )
        return "; ".join(told)
