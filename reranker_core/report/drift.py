"""What differs between an output and an earlier one, and what of it a person should look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from reranker_core.config.sections.work import GuardConfig

_NOTABLE = 0.05
# With fewer, chance alone exchanges all of them too often, and no shift is beyond chance.
_LEAST_FOR_SHIFT = 8


@dataclass(frozen=True)
class Drift:
    """Differences from an earlier output, over the sampled queries.

    Attributes:
        against: URL of the earlier output.
        sampled: fraction of the queries that were compared.
        by_pair: whether it is a fraction of the pairs of all queries instead.
        all_queries: number of queries with sampled pairs in one of the outputs.
        pairs_before, pairs_after, common: counts of sampled pairs with distinct ids.
        gone, new: fractions of the earlier and of the later pairs that the other lacks.
        changed: fraction of the common pairs whose score moved by more than 1 % of `span`.
        distance, noise, span: see `Shift`; None without scores.
        quantiles: 5, 25, 50, 75 and 95 % of the scores before and after.
        queries: number of queries with two common pairs or more.
        rank_correlation: mean over these of Spearman's correlation of the two orders; None without
            such queries.
        overlap: mean share of the ten best common pairs that are the same, over `overlap_queries`
            queries with more than ten common pairs; None where pairs were sampled.
        odd_shards: name and mean correlation of shards whose order changed much more than that of
            the others.
        movers: the common pairs whose scores moved furthest.
        mixes: what differs in the mix of the input, one sentence each.
        settings: what differs in model and settings, one line each.
        other_files: kinds of model files with another content, such as `weights`.

    """

    against: str
    sampled: float
    pairs_before: int
    pairs_after: int
    common: int
    gone: float
    new: float
    changed: float
    distance: float | None
    noise: float | None
    span: float | None
    quantiles: dict[str, list[float]]
    queries: int
    rank_correlation: float | None
    overlap: float | None
    overlap_queries: int
    odd_shards: dict[str, float] = field(default_factory=dict)
    movers: list[dict[str, Any]] = field(default_factory=list)
    mixes: list[str] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    other_files: list[str] = field(default_factory=list)
    by_pair: bool = False
    all_queries: int = 0

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Drift:
        """The inverse of `as_dict`; unknown fields are ignored. Raises TypeError."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in found.items() if name in known})

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @property
    def is_shifted(self) -> bool:
        """Whether the scores differ by more than chance gives."""
        return self.distance is not None and self.noise is not None and self.distance > self.noise

    def remarks(self) -> list[str]:
        """What a person should look at, in short."""
        notes = []
        if self.is_shifted and (self.distance or 0) > _NOTABLE:
            notes.append(f"scores shifted by {self.distance:.3f} of their range")
        if self.rank_correlation is not None and self.rank_correlation < 1 - _NOTABLE:
            notes.append(f"rank correlation {self.rank_correlation:.3f} with the earlier output")
        notes += [f"order changed in shard {shard}" for shard in self.odd_shards]
        if self.other_files:
            notes.append(
                f"another checkpoint than before (its {', '.join(self.other_files)} differ)"
            )
        return notes + [f"mix of {mix}" for mix in self.mixes]

    def exceeds(self, guard: GuardConfig) -> list[str]:
        """The limits that are exceeded, one sentence each, with how to accept the result."""
        found = []
        if (
            guard.max_drift is not None
            and self.is_shifted
            and (self.distance or 0) > guard.max_drift
        ):
            found.append(
                f"the scores differ from those of {self.against} by {self.distance:.3f} of their "
                f"range, more than guard.max_drift={guard.max_drift:g} allows (chance alone gives "
                f"at most {self.noise:.3f})."
            )
        least, correlation = guard.min_rank_correlation, self.rank_correlation
        if least is not None and correlation is not None and correlation < least:
            found.append(
                f"the order of the candidates agrees with {self.against} by a rank correlation of "
                f"{correlation:.3f}, less than guard.min_rank_correlation={least:g}."
            )
        return found

    def unchecked(self, guard: GuardConfig) -> list[str]:
        """The limits that could not be checked, one sentence each."""
        found = []
        if guard.max_drift is not None and self.all_queries < _LEAST_FOR_SHIFT:
            found.append(
                f"guard.max_drift was not checked: fewer than {_LEAST_FOR_SHIFT} queries were "
                "compared, too few to tell a shift from chance"
            )
        if guard.min_rank_correlation is not None and self.rank_correlation is None:
            found.append(
                "guard.min_rank_correlation was not checked: no query has two pairs in common "
                "with the earlier output"
            )
        return found
