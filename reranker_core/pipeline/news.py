"""Messages about the workers during a run."""

from __future__ import annotations

import logging
import time
from typing import Any

import ray
from ray.exceptions import RayError

from reranker_core.pipeline.coordinator import State
from reranker_core.pipeline.prose import out_of_memory, taken
from reranker_core.report.progress import Progress

log = logging.getLogger(__name__)

_EVERY = 5.0  # seconds between two questions to the coordinator
_ANSWER_SECONDS = 2.0


class News:
    """Asks the coordinator for news regularly.

    Args:
        coordinator: the coordinator of the run.
        progress: receives the number of ready replicas.
        replicas: number of replicas that the run requests.

    """

    def __init__(self, coordinator: Any, progress: Progress, replicas: int) -> None:
        self._coordinator = coordinator
        self._progress = progress
        self._replicas = replicas
        self._asked = time.monotonic()
        self._told: set[str] = set()

    def tell(self) -> None:
        """Log news, if it is time to ask again. A missing answer is not an error."""
        if time.monotonic() - self._asked < _EVERY:
            return
        try:
            asked = self._coordinator.state.remote()
            state: State = ray.get(asked, timeout=_ANSWER_SECONDS)
        except RayError:
            return
        finally:
            self._asked = time.monotonic()
        shortages = [out_of_memory(text) for text in taken()]
        for trouble in [*state.troubles, *shortages]:
            if trouble and trouble not in self._told:
                self._told.add(trouble)
                log.warning("%s", trouble)
        self._progress.replicas(state.loading, state.ready, self._replicas)
