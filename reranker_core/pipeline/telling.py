"""Warnings of replicas, in the log of the driver: their own logs are files on other nodes."""

from __future__ import annotations

import logging
from typing import Any

_PACKAGE = "reranker_core"


class Telling(logging.Handler):
    """Sends warnings of this package to the coordinator, each kind of message once.

    Args:
        coordinator: the coordinator of the run.
        who: name of the replica.

    """

    def __init__(self, coordinator: Any, who: str) -> None:
        super().__init__(logging.WARNING)
        self._coordinator, self._who = coordinator, who
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Send the message, without a traceback."""
        kind = str(record.msg)
        if kind not in self._told:
            self._told.add(kind)
            self._coordinator.warn.remote(kind, f"replica {self._who}: {record.getMessage()}")

    def begin(self) -> None:
        """From now on, for the life of this process."""
        logging.getLogger(_PACKAGE).addHandler(self)
