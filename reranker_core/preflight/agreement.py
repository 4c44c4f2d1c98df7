"""Agreement: all replicas compute the same scores, on all nodes.

Each replica reports the results of its preflight. No replica scores a row before the replicas that
start with the run have reported, or a time limit has passed. The largest group of replicas with the
same canary scores is taken as correct. A replica that joins later must agree with this group. A
replica that disagrees ends its process, and another one takes its place. A node on which this
happens several times stops the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reranker_core.checks import Check
from reranker_core.models.checkpoint import Checkpoint

# Shares of the range of the canary scores. Replicas on equal hardware differ only in rounding.
_TOLERANCE = {"float32": 0.01}
_HALF_TOLERANCE = 0.03
_STRIKES = 3


def check_same_files(checkpoint: Checkpoint, expected: dict[str, str]) -> Check:
    """Check that the files of the model on this node are those that the run started with."""
    differing = [name for name in expected if checkpoint.digests.get(name) != expected[name]]
    return Check(
        "agreement",
        "same_files",
        not differing,
        f"{' and '.join(differing) or 'all files'} in {checkpoint.folder} "
        f"{'differ' if differing else 'are the same as on the driver'}",
        "the files that the driver had when the run started",
        "This node has a different or damaged copy of the model, or the folder was changed "
        "during the run. Copy the model to this node again.",
    )


@dataclass(frozen=True)
class Finding:
    """Result of the preflight of one replica.

    Attributes:
        replica, node: names.
        dtype: number format of the scores.
        canaries: scores of the built-in canaries; empty if the model was refused.
        refused: message of the refusal, or ''.
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
    """Next action of a replica: `score`, `leave` (end the process) or `refuse` (stop the run)."""

    action: str
    reason: str = ""
    report: dict[str, Any] = field(default_factory=dict)


class Agreement:
    """The findings of all replicas of a run, and a verdict for each of them.

    Args:
        expected: number of replicas to wait for.
        patience: maximum seconds to wait, from the first finding on.
        enforced: whether replicas must agree. If not, each replica that passed its own preflight
            may score.
        clock: returns the time in seconds.

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
        """Record the finding of a replica."""
        if not self._findings:
            self._first = self._clock()
        self._findings.append(finding)

    def report(self, replica: str) -> dict[str, Any]:
        """All checks of a replica, as plain data. The replica must have reported."""
        return next(f.report for f in reversed(self._findings) if f.replica == replica)

    def verdict(self, finding: Finding) -> Verdict | None:
        """The next action of the replica; None if it must wait for others."""
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
        """The first member of the largest group with the same scores."""
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
            "agreement/same_scores: the canary scores differ from those of "
            f"{self._right.replica} by {apart:.2%} of their range; expected at most "
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
