"""Commands as a user types them."""

from __future__ import annotations

import logging
import signal
import sys

import pytest

from reranker_core.command.main import execute, group


@pytest.fixture
def typed(monkeypatch, capsys):
    """Type a command: its exit code, and what it printed to both streams."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    level = logging.getLogger("reranker_core").level

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["batch-reranker", *words])
        with pytest.raises(SystemExit) as end:
            execute(group, "batch-reranker")
        return (end.value.code, *capsys.readouterr())

    yield call
    logging.getLogger("reranker_core").setLevel(level)
    for number, handler in handlers.items():
        signal.signal(number, handler)
