"""What preflight found on each replica, as `_preflight.json` in the output."""

from __future__ import annotations

import json
import logging
import time
from types import TracebackType
from typing import Any

import ray
from ray.exceptions import RayError

from reranker_core.checks import Check
from reranker_core.config import PreflightChecks
from reranker_core.errors import PreflightRefused, RerankError
from reranker_core.output.attempts import Recorder
from reranker_core.pipeline.state import State
from reranker_core.report.night import PREFLIGHT
from reranker_core.storage.store import Store

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 30.0
_EVERY = 10.0  # seconds between two writes: the file grows with the number of replicas


class Preflights:
    """Collects the reports of the replicas that have scored, and writes them to the output.

    Args:
        store: the output.
        coordinator: the coordinator of the run.
        actions: what failed checks of each group do.
        recorder: records the replicas, too.

    """

    def __init__(
        self, store: Store, coordinator: Any, actions: PreflightChecks, recorder: Recorder
    ) -> None:
        self._store, self._coordinator, self._actions = store, coordinator, actions
        self._recorder = recorder
        self._reports: dict[str, dict[str, Any]] = {}
        self._written = float("-inf")
        self._changed = False

    def __enter__(self) -> Preflights:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.write()
        except (RayError, RerankError, OSError) as other:
            if error is None:
                raise
            log.debug("%s cannot be written: %s", PREFLIGHT, other)

    def seen(self, replica: str) -> None:
        """A part of this replica was committed; `replica` is its host and process id."""
        if replica not in self._reports:
            report = ray.get(self._coordinator.report.remote(replica))
            self._reports[replica] = {"replica": replica, **report}
            self._recorder.replica(self._reports[replica])
            self._changed = True
            self._log_relaxed(replica, report)
        if self._changed and time.monotonic() - self._written >= _EVERY:
            self.write()

    def write(self) -> None:
        """Write all that is known."""
        state: State = ray.get(self._coordinator.state.remote(), timeout=_ANSWER_SECONDS)
        aside = [vars(each) for each in state.set_aside]
        content = {
            "replicas": list(self._reports.values()),
            "replaced": state.replaced,
            "set_aside": aside,
        }
        self._recorder.aside(state.replaced, aside)
        _write(self._store, content)
        self._written, self._changed = time.monotonic(), False

    def _log_relaxed(self, replica: str, report: dict[str, Any]) -> None:
        for check in report["checks"]:
            if not check["passed"] and getattr(self._actions, check["group"]) == "warn":
                log.warning(
                    "preflight check failed on %s (not enforced): %s", replica, Check(**check)
                )


def write_refusal(store: Store, refused: PreflightRefused) -> None:
    """Record why the model was refused."""
    _write(store, {"refused": refused.report})


def _write(store: Store, content: dict[str, Any]) -> None:
    store.write(PREFLIGHT, json.dumps(content, indent=1).encode())
