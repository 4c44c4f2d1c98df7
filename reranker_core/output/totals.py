"""What the receipts of an output add up to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from reranker_core.output.distribution import Distribution
from reranker_core.output.receipts import Receipt

_COUNTS = ("rows", "pairs", "scored", "rescued", "distinct", "tokens", "computed_tokens", "size")
_SUMMED = (*_COUNTS, "seconds", "waited", "special_tokens_in_text")


@dataclass
class Totals:
    """Sums over receipts, and the distribution of all scores; `opened` counts the files that were
    read to prove them, `without_keys` the parts whose keys are named by the receipt and missing,
    `reused` and `checked` the pairs of `Facts.reuse`.
    """

    parts: int = 0
    rows: int = 0
    pairs: int = 0
    scored: int = 0
    rescued: int = 0
    distinct: int = 0
    tokens: int = 0
    size: int = 0
    computed_tokens: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    special_tokens_in_text: int = 0
    opened: int = 0
    keys: int = 0
    reused: int = 0
    checked: int = 0
    without_keys: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    scores: Distribution = field(default_factory=Distribution, compare=False)

    def add(self, receipt: Receipt) -> None:
        """Count one more part."""
        self.parts += 1
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(receipt, name))
        self.keys += receipt.keys.get("pairs", 0)
        self.reused += receipt.reuse.get("pairs", 0)
        self.checked += receipt.reuse.get("checked", 0)
        self.quarantined.update(receipt.quarantined)
        self.scores.add(receipt.part, receipt.scored, receipt.scores)

    @property
    def quarantined_pairs(self) -> int:
        """Pairs without a score, for any reason."""
        return sum(self.quarantined.values())

    @property
    def padding_fraction(self) -> float:
        """Fraction of the computed tokens that were padding."""
        return 1 - max(self.tokens, 1) / max(self.computed_tokens, self.tokens, 1)

    @property
    def waiting_fraction(self) -> float:
        """Fraction of the time that replicas waited, between their first part and their last."""
        return self.waited / max(self.seconds + self.waited, 1e-9)

    @property
    def quarantined_fraction(self) -> float:
        """Fraction of all pairs without a score."""
        return self.quarantined_pairs / max(self.pairs, 1)
