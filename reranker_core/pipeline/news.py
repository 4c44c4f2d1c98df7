"""What happens to the workers of a run, told to its user while it happens."""

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
    """Asks the coordinator from time to time.

    Args:
        coordinator: of the run.
        progress: is told how many replicas are ready.
        replicas: that the run asks for.

    """

    def __init__(self, coordinator: Any, progress: Progress, replicas: int) -> None:
        self._coordinator = coordinator
        self._progress = progress
        self._replicas = replicas
        self._asked = time.monotonic()
        self._told: set[str] = set()

    def tell(self) -> None:
        """What is new, if it is time to ask again. An answer that does not come is no error."""
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
