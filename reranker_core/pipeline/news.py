"""Messages about the workers during a run."""

from __future__ import annotations

import logging
import time
from typing import Any

import ray
from ray.exceptions import RayError

from reranker_core.errors import count
from reranker_core.pipeline.metrics import Metrics
from reranker_core.pipeline.pool import PARTS_IN_FLIGHT
from reranker_core.pipeline.prose import out_of_memory, taken
from reranker_core.pipeline.state import State
from reranker_core.report.progress import Progress
from reranker_core.report.progress_file import ProgressFile

log = logging.getLogger(__name__)

_EVERY = 2.0  # seconds between two questions to the coordinator
_ANSWER_SECONDS = 2.0
_STILL = 20.0  # seconds without work, after which only parts that replicas hold seem to be left


class News:
    """Asks the coordinator for news regularly.

    Args:
        coordinator: the coordinator of the run.
        progress: receives the number of ready replicas.
        replicas: number of replicas that the run requests.
        left: names of the parts that are not committed yet; others change it.
        metrics, file: receive the state of the run.

    """

    def __init__(
        self,
        coordinator: Any,
        progress: Progress,
        replicas: int,
        left: set[str],
        metrics: Metrics,
        file: ProgressFile,
    ) -> None:
        self._coordinator = coordinator
        self._progress = progress
        self._replicas = replicas
        self._left = left
        self._metrics, self._file = metrics, file
        self._state = State()
        self._asked = time.monotonic()
        self._told: set[str] = set()

    def tell(self, every: float = _EVERY) -> None:
        """Log news, if it is `every` seconds since they were asked for. A missing answer is not an
        error.
        """
        if time.monotonic() - self._asked < every:
            return
        try:
            asked = self._coordinator.state.remote()
            self._state = state = ray.get(asked, timeout=_ANSWER_SECONDS)
        except RayError:
            return
        finally:
            self._asked = time.monotonic()
        replaced = [
            f"replica {each['replica']} on {each['node']} is started again: {each['reason']}"
            for each in state.replaced
        ]
        shortages = [out_of_memory(text) for text in taken()]
        for trouble in [*state.troubles, *replaced, *map(str, state.set_aside), *shortages]:
            if trouble and trouble not in self._told:
                self._told.add(trouble)
                log.warning("%s", trouble)
        self._progress.replicas(state.loading, state.ready, self._replicas)
        self._metrics.state(state, len(self._left))
        self._file.tell(
            progress=self._progress.state(),
            parts_left=len(self._left),
            replicas_loading=state.loading,
            replicas_ready=state.ready,
            set_aside=[vars(each) for each in state.set_aside],
        )
        # Ray Data keeps a receipt or two to itself, so the number alone may never be low enough.
        few = len(self._left) <= PARTS_IN_FLIGHT * state.holding
        if state.holding and (few or state.silence > _STILL):
            self._coordinator.release.remote()

    def aside_in_words(self) -> str:
        """How many replicas are set aside, and the reason of the last one; '' if there is none."""
        aside = self._state.set_aside
        if not aside:
            return ""
        return f"{count(len(aside), 'replica')} set aside, the last one because: {aside[-1].reason}"
