"""Signs of life of a process that loads a model."""

import threading

import pytest

from reranker_core.pipeline import life
from reranker_core.pipeline.life import signs_of_life, works

MIB = 1 << 20


@pytest.mark.parametrize(
    ("now", "busy"),
    [
        ((10.0, 0), False),
        ((10.2, 4096), False),  # threads of Ray, a log file
        ((10.6, 0), True),
        ((10.0, 5 * MIB), True),
    ],
)
def test_a_process_that_waits_is_told_from_one_that_works(now, busy):
    assert works((10.0, 0), now) is busy


def test_a_process_that_computes_gives_signs_and_stops_with_the_block(monkeypatch):
    monkeypatch.setattr(life, "_EVERY", 0.01)
    monkeypatch.setattr(life, "_BUSY_SECONDS", 0.0)
    called = threading.Event()
    before = threading.active_count()
    with signs_of_life(called.set, longest=60):
        assert called.wait(10)
    for thread in threading.enumerate():
        if thread.name == "life":
            thread.join(10)
    assert threading.active_count() == before


def test_a_process_that_computes_for_ever_gives_no_more_signs(monkeypatch):
    monkeypatch.setattr(life, "_EVERY", 0.01)
    monkeypatch.setattr(life, "_BUSY_SECONDS", 0.0)
    called = threading.Event()
    with signs_of_life(called.set, longest=0):
        for thread in threading.enumerate():
            if thread.name == "life":
                thread.join(10)
        assert not any(thread.name == "life" for thread in threading.enumerate())
    assert not called.is_set()
