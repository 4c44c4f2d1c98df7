"""The one actor that outlives all workers: whether replicas agree, which of them are set aside,
which rows and texts end processes, and when a run is over.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from reranker_core.errors import Incomplete, RerankError
from reranker_core.pipeline import code
from reranker_core.pipeline.state import SetAside, State
from reranker_core.pipeline.troubles import Troubles
from reranker_core.preflight.agreement import Agreement, Finding, Verdict
from reranker_core.preflight.fleet import Fleet, Origin
from reranker_core.score.devices import Devices
from reranker_core.score.poison import (
    COMMITTING,
    LOADING,
    READING,
    SCORING,
    TOKENIZING,
    Attempts,
    Caution,
)

_POLL, _SLOW_POLL = 0.05, 0.5


class Coordinator:
    """Answers the workers of one run. Its methods are called one at a time."""

    def __init__(self, fleet: Fleet, agreement_enforced: bool) -> None:
        self._agreement = Agreement(fleet, agreement_enforced, time.monotonic)
        self._devices = Devices()
        works = (READING, TOKENIZING, LOADING, COMMITTING)
        self._attempts = {work.name: Attempts(work) for work in works}
        self._attempts[SCORING.name] = Attempts(SCORING, self._devices)
        self._doing: dict[str, str] = {}  # what a replica does, by its actor
        self._parked: dict[str, Origin] = {}  # those that are set aside, by their actors
        self._last_parked = 0.0
        self._admitted: set[str] = set()  # actors that Ray has given parts
        self._holding: set[str] = set()
        self._releases = 0
        self._again = False  # whether parts are scored that others have left
        self._set_aside: list[SetAside] = []
        self._last_error: RerankError | None = None  # of a replica that was set aside
        self._troubles = Troubles()
        self._last_batch = time.monotonic()

    async def load(self, origin: Origin) -> Verdict | None:
        """A replica begins to load the model. None if it may; otherwise as `admit`."""
        self._doing[origin.actor] = "loading"
        self._devices.add(origin.device)
        problem = self._devices.sickness(origin.device) or self._unwelcome(origin.device)
        if not problem:
            try:
                await self.begin("load", _seat(origin))
                return None
            except Incomplete as ended:
                problem = str(ended)
        error = Incomplete(problem)
        self._agreement.add(Finding(origin, "", (), error, problem, problem, {}))
        return await self._park(origin, Verdict("set_aside", problem, error))

    async def admit(self, finding: Finding) -> Verdict:
        """What a replica is to do, once enough others have reported. A replica that is set aside
        gets no answer before the run ends, unless Ray has given it parts: then it is to `hold`
        them.
        """
        actor = finding.origin.actor
        self._doing[actor] = "waiting"
        self._last_batch = time.monotonic()
        await self.finish("load", _seat(finding.origin))
        self._agreement.add(finding)
        while (verdict := self._agreement.verdict(finding, self._count("loading"))) is None:
            self._tell_of_waiting(finding)
            await asyncio.sleep(_POLL)
        if verdict.action == "score":
            self._doing[actor] = "ready"
            self._admitted.add(actor)
        elif verdict.action == "restart":
            self._doing[actor] = "loading"
        elif verdict.action == "set_aside":
            return await self._park(finding.origin, verdict)
        return verdict

    async def hold(self, actor: str) -> None:
        """A replica that is set aside has a part; returns when it is to give it back unscored.

        Raises:
            RerankError: no replica can score any more.

        """
        self._holding.add(actor)
        before = self._releases
        while self._releases == before:
            self._raise_if_none_can_score()
            await asyncio.sleep(_SLOW_POLL)

    async def release(self) -> None:
        """Nothing seems to be left but parts that replicas hold: these are given back. Parts that
        replicas are given afterwards are held again.
        """
        self._releases += 1

    async def score_again(self, fleet: Fleet) -> None:
        """Parts that were given back are scored by other replicas."""
        self._agreement.fleet = fleet
        self._doing.clear()
        self._parked.clear()
        self._admitted.clear()
        self._holding.clear()
        self._again = True

    async def report(self, process: str) -> dict[str, Any]:
        """What a replica's preflight measured."""
        return self._agreement.report(process)

    async def begin(self, work: str, part: str, device: str = "") -> Caution | None:
        """See `Attempts.begin`; `work` is the name of what is done with the part."""
        self._last_batch = time.monotonic()
        attempts = self._attempts[work]
        caution = attempts.begin(part, device)
        if caution is not None:
            self._troubles.tell(f"{work} {part}", attempts.told(part))
        return caution

    async def announce(self, work: str, part: str, items: list[int]) -> None:
        """See `Attempts.announce`."""
        self._last_batch = time.monotonic()
        self._attempts[work].announce(part, items)

    async def finish(self, work: str, part: str) -> None:
        """See `Attempts.finish`."""
        self._attempts[work].finish(part)

    async def fails(self, part: str, origin: Origin, problem: str) -> bool:
        """See `Attempts.fails`; a part could not be scored."""
        if not self._attempts[SCORING.name].fails(part, origin.device):
            return False
        self._troubles.tell(
            f"fails {part} {origin}",
            f"part {part} failed on {origin.device} ({problem}) and is scored on another one later",
        )
        return True

    async def lost(self, part: str, origin: Origin, problem: str) -> None:
        """A replica has lost its device; its process ends, and Ray starts another one."""
        self._troubles.tell(
            f"lost {origin}",
            f"replica {origin.process} lost {origin.device or 'its device'} while it scored part "
            f"{part} ({problem}); it is started again",
        )

    async def code(self) -> tuple[str, str]:
        """Digest and folder of the code that this process has loaded."""
        return code.digest(), str(code.FOLDER)

    async def warn(self, kind: str, text: str) -> None:
        """A replica has logged a warning. The first one of each kind is told."""
        self._troubles.tell_once(f"warning {kind}", text)

    async def state(self) -> State:
        """What the user may want to know."""
        return State(
            self._count("loading"),
            self._count("ready"),
            len(self._holding),
            len(self._suspected()),
            time.monotonic() - self._last_batch,
            self._troubles.texts(),
            self._agreement.replaced,
            self._set_aside,
        )

    async def batch_done(self) -> None:
        """A replica has computed a batch."""
        self._last_batch = time.monotonic()

    async def silence(self) -> float:
        """Seconds since a worker last began or computed something."""
        return time.monotonic() - self._last_batch

    async def run_over(self) -> None:
        """Never returns; raises where it is awaited when the run is over."""
        await asyncio.Event().wait()

    def _tell_of_waiting(self, finding: Finding) -> None:
        fleet = self._agreement.fleet
        if finding.problem:
            self._troubles.tell_once(
                "failed",
                f"replica {finding.origin} cannot score: {finding.problem}. The job waits for "
                "other replicas before it decides whether to stop",
            )
        elif fleet.fitting <= 1:
            self._troubles.tell_once(
                "alone",
                f"replica {finding.origin} waits for another one to compare scores with, for up to "
                f"{fleet.patience:g} s. If no other will come, set replicas.max=1",
            )

    def _count(self, state: str) -> int:
        return list(self._doing.values()).count(state)

    def _suspected(self) -> set[str]:
        accuses = self._attempts[SCORING.name].accuses
        aside = {each.device for each in self._set_aside}
        return aside | {device for device in self._devices.names() if accuses(device)}

    def _unwelcome(self, device: str) -> str:
        """Why other devices are to score the parts that were given back, or ''."""
        if not self._again or not device:
            return ""
        aside = {each.device for each in self._set_aside}
        if device in aside:
            return f"{device} was set aside before"
        suspected = self._suspected()
        if device in suspected and self._devices.names() - suspected:
            return f"processes crashed on {device} in the parts that are left"
        return ""

    async def _park(self, origin: Origin, verdict: Verdict) -> Verdict:
        self._doing[origin.actor] = "set aside"
        self._parked[origin.actor] = origin
        self._last_parked = self._last_batch = time.monotonic()
        if (error := verdict.error) is not None:
            error.args = (f"{error} (found by replica {origin})", *error.args[1:])
            self._last_error = error
        if not self._unwelcome(origin.device):  # of these, nothing is new
            self._set_aside.append(
                SetAside(origin.process, origin.node, origin.device, verdict.reason)
            )
        if origin.actor in self._admitted:
            return Verdict("hold", verdict.reason)
        while True:
            try:
                self._raise_if_none_can_score()
            except RerankError as error:
                return Verdict("end", error=error)
            await asyncio.sleep(_SLOW_POLL)

    def _raise_if_none_can_score(self) -> None:
        """The error of the last one, if all replicas are set aside and others do not come."""
        aside = [self._parked[actor] for actor, does in self._doing.items() if does == "set aside"]
        if not aside or len(aside) < len(self._doing) or self._last_error is None:
            return
        wait = self._agreement.fleet.wait_for_others(aside)
        if time.monotonic() - self._last_parked >= wait:
            raise self._last_error


def _seat(origin: Origin) -> str:
    return f"{origin.device or origin.node}, replica {origin.actor[:8]}"
