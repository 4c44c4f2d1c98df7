"""Warnings of replicas reach the driver."""

import logging
from types import SimpleNamespace

import pytest

from reranker_core.pipeline.telling import Telling


@pytest.fixture
def told():
    """What the coordinator is told while the handler is there."""
    found = []
    warn = SimpleNamespace(remote=lambda kind, text: found.append((kind, text)))
    handler = Telling(SimpleNamespace(warn=warn), "host:1")
    handler.begin()
    yield found
    logging.getLogger("reranker_core").removeHandler(handler)


def test_each_kind_of_warning_is_told_once(told):
    log = logging.getLogger("reranker_core.score.engine")
    for tokens in (512, 256, 128):
        log.warning("batches have at most %d tokens", tokens)
    log.error("something else")
    log.info("no warning")
    logging.getLogger("ray").warning("not ours")
    assert told == [
        ("batches have at most %d tokens", "replica host:1: batches have at most 512 tokens"),
        ("something else", "replica host:1: something else"),
    ]
