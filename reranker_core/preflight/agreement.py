"""Agreement: all replicas compute the same thing, on whatever node.

Each replica reports what its own preflight found. None scores a row before those that the run
starts with have reported, or have been waited for; the largest group that agrees decides what is
right. A replica that joins later must agree with that group. One that does not ends its process,
so that another takes its place; a node on which that happens again and again stops the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reranker_core.checks import Check
from reranker_core.models.checkpoint import Checkpoint

# Of the canaries' span. Replicas on equal hardware differ in rounding only.
_TOLERANCE = {"float32": 0.01}
_HALF_TOLERANCE = 0.03
_STRIKES = 3


def check_same_files(checkpoint: Checkpoint, expected: dict[str, str]) -> Check:
    """The checkpoint here holds the files that the run began with."""
    differing = [name for name in expected if checkpoint.digests.get(name) != expected[name]]
    return Check(
        "agreement",
        "same_files",
        not differing,
        f"{' and '.join(differing) or 'all files'} in {checkpoint.folder} "
        f"{'differ' if differing else 'are the same as on the driver'}",
        "the files that the driver saw when the run began",
        "This node has a different or damaged copy of the model, or the folder was changed "
        "during the run. Copy the model to this node again.",
    )


@dataclass(frozen=True)
class Finding:
    """What one replica's preflight found.

    Attributes:
        replica, node: their names.
        dtype: the number format of the scores.
        canaries: its scores of the built-in canaries; empty where it was refused.
        refused: the refusal's message, or ''.
        report: all checks, as plain data.

    """

    replica: str
    node: str
    dtype: str
    canaries: tuple[float, ...]
    refused: str
    report: dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What a replica is to do: `score`, `leave` (end its process), or `refuse` (stop the run)."""

    action: str
    reason: str = ""
    report: dict[str, Any] = field(default_factory=dict)


class Agreement:
    """The findings of a run's replicas, and the verdict on each.

    `expected` replicas are waited for, for `patience` seconds from the first finding on; `clock`
    gives seconds. With `enforced` off all replicas whose own preflight passed may score.
    """

    def __init__(
        self, expected: int, patience: float, enforced: bool, clock: Callable[[], float]
    ) -> None:
        self._expected, self._patience = expected, patience
        self._enforced, self._clock = enforced, clock
        self._findings: list[Finding] = []
        self._first = 0.0
        self._right: Finding | None = None
        self._strikes: Counter[str] = Counter()
        self.outliers: list[dict[str, str]] = []

    def add(self, finding: Finding) -> None:
        """A replica has finished its preflight."""
        if not self._findings:
            self._first = self._clock()
        self._findings.append(finding)

    def report(self, replica: str) -> dict[str, Any]:
        """All checks of a replica that has reported, as plain data."""
        return next(f.report for f in reversed(self._findings) if f.replica == replica)

    def verdict(self, finding: Finding) -> Verdict | None:
        """What the replica is to do; None while others are waited for."""
        if self._right is None:
            waited = self._clock() - self._first >= self._patience
            if len(self._findings) < self._expected and not waited:
                return None
            self._right = self._majority()
        if self._right is None:  # nobody passed
            return Verdict("refuse", finding.refused, finding.report)
        reason = self._objection(finding)
        if not reason:
            return Verdict("score")
        self._strikes[finding.node] += 1
        self.outliers.append({"replica": finding.replica, "node": finding.node, "reason": reason})
        if self._strikes[finding.node] >= _STRIKES:
            return Verdict("refuse", self._last_word(finding, reason), finding.report)
        return Verdict("leave", reason)

    def _majority(self) -> Finding | None:
        """A member of the largest group that agrees; the earliest of equally large ones."""
        passed = [finding for finding in self._findings if not finding.refused]
        support = [sum(_agree(one, other) for other in passed) for one in passed]
        return passed[support.index(max(support))] if passed else None

    def _objection(self, finding: Finding) -> str:
        assert self._right is not None
        if finding.refused:
            return finding.refused
        if not self._enforced or _agree(self._right, finding):
            return ""
        apart = _apart(self._right, finding)
        return (
            "agreement/same_scores: its canary scores differ from those of "
            f"{self._right.replica} by {apart:.2%} of their span; expected at most "
            f"{_tolerance(finding):.0%}. The hardware or the libraries of this node compute "
            "different values"
        )

    def _last_word(self, finding: Finding, reason: str) -> str:
        return (
            f"{self._strikes[finding.node]} replicas on node {finding.node} did not agree with "
            "the others. Repair this node or remove it from the cluster, then run the same "
            f"command again. The last failure: {reason}"
        )


def _agree(one: Finding, other: Finding) -> bool:
    return len(one.canaries) == len(other.canaries) and _apart(one, other) <= _tolerance(one)


def _apart(one: Finding, other: Finding) -> float:
    mine, theirs = np.array(one.canaries), np.array(other.canaries)
    return float(np.abs(mine - theirs).max() / (np.ptp(mine) or 1.0))


def _tolerance(finding: Finding) -> float:
    return _TOLERANCE.get(finding.dtype, _HALF_TOLERANCE)
