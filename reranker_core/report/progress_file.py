"""The progress of a run as `_progress.json` in its output, for programs that look at it."""

from __future__ import annotations

import json
import logging
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from reranker_core.errors import RerankError
from reranker_core.storage.store import Store

log = logging.getLogger(__name__)

FILE = "_progress.json"
_EVERY = 10.0  # seconds between two writes


class ProgressFile:
    """Writes what it is told from time to time, in a thread: a store that is slow delays nothing.

    The file says `state: running` while the run goes on, then `ended`. Whether the run is complete
    is for `_SUCCESS` and `_manifest.json` to say. A `written` that is older than some minutes means
    that the driver has died.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._facts: dict[str, Any] = {}
        self._started = _now()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="progress")

    def tell(self, **facts: Any) -> None:
        """Replace some of the facts: plain data for JSON."""
        self._facts |= facts

    def __enter__(self) -> ProgressFile:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join(_EVERY)
        self._write("ended")

    def _run(self) -> None:
        while True:
            self._write("running")
            if self._end.wait(_EVERY):
                return

    def _write(self, state: str) -> None:
        content = {"state": state, "started": self._started, "written": _now(), **self._facts}
        try:
            self._store.write(FILE, json.dumps(content, indent=1).encode())
        except (RerankError, OSError) as error:  # what matters is written elsewhere
            log.debug("%s cannot be written: %s", FILE, error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
