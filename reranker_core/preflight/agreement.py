"""Agreement: all replicas compute the same thing, on whatever node.

Each replica reports what its own preflight found, or why it cannot load the model. None scores a
row before those that the run starts with have reported, or have been waited for. If more may come,
the first one alone decides nothing. The group that agrees on most devices is right. A replica that
fails or does not agree starts once more in a new process; then it is set aside. The run ends only
where no replica passes, nearly all fail alike, or one that scored before others came is outvoted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from reranker_core.checks import Check
from reranker_core.errors import PreflightRefused, RerankError
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.preflight.fleet import Fleet, Origin

# Of the canaries' span. Replicas on equal hardware differ in rounding only.
_TOLERANCE = {"float32": 0.01}
_HALF_TOLERANCE = 0.03
# Fewer than one in so many may pass where all others fail alike: then the cause is not their nodes.
_NEARLY_ALL = 10


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
        origin: whose.
        dtype: the number format of the scores.
        canaries: its scores of the built-in canaries; empty where it failed.
        failure: why it cannot score; None if its preflight passed.
        kind: what failures have in common that are alike; '' without a failure.
        problem: the failure in one line; '' without one.
        report: all checks, as plain data.

    """

    origin: Origin
    dtype: str
    canaries: tuple[float, ...]
    failure: RerankError | None
    kind: str
    problem: str
    report: dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What a replica is to do.

    Attributes:
        action: `score`; `restart` (end its process, Ray starts another one); `set_aside`; or `end`
            (the run, with the error).
        reason: in words, for `restart` and `set_aside`.
        error: for `set_aside` and `end`.

    """

    action: str
    reason: str = ""
    error: RerankError | None = None


class Agreement:
    """The findings of a run's replicas, and the verdict on each.

    The replicas that fit at the start are waited for, and further ones until two on different
    devices agree: for `fleet.patience` seconds from the first that passed, or, if none has passed,
    while others load and for `fleet.wait_for_others`. `clock` gives seconds. With `enforced` off
    all replicas whose own preflight passed may score.
    """

    def __init__(self, fleet: Fleet, enforced: bool, clock: Callable[[], float]) -> None:
        self.fleet = fleet
        self._enforced, self._clock = enforced, clock
        self._latest: dict[str, Finding] = {}  # by actor
        self._groups: list[list[Finding]] | None = None  # that agree; None if not up to date
        self._reports: dict[str, dict[str, Any]] = {}  # by process
        self._last = 0.0
        self._first_pass: float | None = None
        self._decided = False
        self._right: Finding | None = None
        self._restarted: set[str] = set()
        self.replaced: list[dict[str, str]] = []

    def add(self, finding: Finding) -> None:
        """A replica has finished its preflight, or has failed."""
        self._latest[finding.origin.actor] = finding
        self._groups = None
        self._reports[finding.origin.process] = finding.report
        self._last = self._clock()
        if finding.failure is None and self._first_pass is None:
            self._first_pass = self._last

    def report(self, process: str) -> dict[str, Any]:
        """All checks of a replica that has reported, as plain data."""
        return self._reports[process]

    def verdict(self, finding: Finding, loading: int = 0) -> Verdict | None:
        """What the replica is to do; None while others are waited for. `loading` is the number of
        replicas that are still loading the model.
        """
        if not self._decided:
            if not self._heard_enough(loading):
                return self._restart_alone(finding, loading)
            self._decided, self._right = True, self._majority()
        if self._right is None:
            return Verdict("end", error=self.common_failure())
        if self._is_outvoted(self._right):
            return Verdict("end", error=self._outvoted(self._right))
        reason = self._objection(finding)
        if not reason:
            return Verdict("score")
        if finding.origin.actor not in self._restarted:
            return self._restart(finding, reason)
        error = finding.failure or PreflightRefused(reason, finding.report)
        return Verdict("set_aside", reason, error)

    def common_failure(self) -> RerankError:
        """The first error of the kind that most failed replicas have."""
        failed = [found for found in self._latest.values() if found.failure is not None]
        [(kind, _)] = Counter(found.kind for found in failed).most_common(1)
        return next(found.failure for found in failed if found.kind == kind and found.failure)

    def _restart_alone(self, finding: Finding, loading: int) -> Verdict | None:
        """The only replica so far starts again if it failed; None if it is to wait for others."""
        alone = len(self._latest) == 1 and self.fleet.fitting <= 1 and not loading
        restarted = finding.origin.actor in self._restarted
        if finding.failure is None or not alone or restarted:
            return None
        return self._restart(finding, finding.problem)

    def _restart(self, finding: Finding, reason: str) -> Verdict:
        origin = finding.origin
        self._restarted.add(origin.actor)
        self.replaced.append({"replica": origin.process, "node": origin.node, "reason": reason})
        return Verdict("restart", reason)

    def _heard_enough(self, loading: int) -> bool:
        fleet, heard = self.fleet, list(self._latest.values())
        if len(heard) >= fleet.most:
            return True
        if self._first_pass is not None:
            return self._clock() - self._first_pass >= fleet.patience or (
                len(heard) >= fleet.fitting and _devices(self._largest_group()) > 1
            )
        kinds = Counter(found.kind for found in heard)
        if max(kinds.values()) >= fleet.most - fleet.most // _NEARLY_ALL:
            return True
        wait = fleet.wait_for_others([found.origin for found in heard])
        return not loading and self._clock() - self._last >= wait

    def _majority(self) -> Finding | None:
        """A member of the largest group that agrees. None where none passed, or nearly all failed
        alike.
        """
        failed = [found for found in self._latest.values() if found.failure is not None]
        kinds = Counter(found.kind for found in failed)
        passed = len(self._latest) - len(failed)
        if not passed or max(kinds.values(), default=0) > passed * (_NEARLY_ALL - 1):
            return None
        return self._largest_group()[0]

    def _largest_group(self) -> list[Finding]:
        """The group that agrees on most devices, the earliest of equals; empty if none passed."""
        return max(self._grouped(), key=_devices, default=[])

    def _grouped(self) -> list[list[Finding]]:
        if self._groups is None:
            self._groups = []
            for finding in self._latest.values():
                if finding.failure is not None:
                    continue
                # Compared with one of each group: rounding is far below the tolerance.
                alike = (each for each in self._groups if self._agree(each[0], finding))
                group = next(alike, None)
                if group is None:
                    self._groups.append([finding])
                else:
                    group.append(finding)
        return self._groups

    def _is_outvoted(self, right: Finding) -> bool:
        """Whether more devices agree on other scores than on those that were taken for right."""
        ours = next((group for group in self._grouped() if self._agree(group[0], right)), [])
        return _devices(self._largest_group()) > max(_devices(ours), 1)

    def _outvoted(self, right: Finding) -> PreflightRefused:
        others = self._largest_group()
        apart, most = _apart(right, others[0]), _tolerance(right)
        return PreflightRefused(
            f"agreement/same_scores: replica {right.origin} was the reference before others came. "
            f"Replicas on {_devices(others)} other devices, such as {others[0].origin}, now "
            f"agree on canary scores that differ from its scores by {apart:.2%} of their span; "
            f"expected at most {most:.0%}. Scores in this output may be wrong. Remove "
            f"{right.origin.place} from the cluster. Then score again with another output.path",
            right.report,
        )

    def _objection(self, finding: Finding) -> str:
        assert self._right is not None
        if finding.failure is not None:
            return finding.problem
        if self._agree(self._right, finding):
            return ""
        apart = _apart(self._right, finding)
        return (
            "agreement/same_scores: its canary scores differ from those of "
            f"{self._right.origin.process} by {apart:.2%} of their span; expected at most "
            f"{_tolerance(finding):.0%}. The hardware or the libraries of this node compute "
            "different values"
        )

    def _agree(self, one: Finding, other: Finding) -> bool:
        if not self._enforced:
            return True
        return len(one.canaries) == len(other.canaries) and _apart(one, other) <= _tolerance(one)


def _devices(group: list[Finding]) -> int:
    return len({finding.origin.place for finding in group})


def _apart(one: Finding, other: Finding) -> float:
    mine, theirs = np.array(one.canaries), np.array(other.canaries)
    return float(np.abs(mine - theirs).max() / (np.ptp(mine) or 1.0))


def _tolerance(finding: Finding) -> float:
    return _TOLERANCE.get(finding.dtype, _HALF_TOLERANCE)
