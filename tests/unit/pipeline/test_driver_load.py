"""When a run is told that its driver is the limit."""

import logging
from types import SimpleNamespace

import pytest

from reranker_core.pipeline.driver_load import DriverLoad


def warned(caplog, busy, waited, parts=1600, windows=2):
    """Commit `parts` a minute, each scored in one second after `waited` seconds of waiting, by a
    driver that is busy for this share of the time.
    """
    clock = SimpleNamespace(now=0.0)
    load = DriverLoad(8192, lambda: clock.now, lambda: busy * clock.now)
    with caplog.at_level(logging.WARNING):
        for _ in range(parts * windows + 1):
            clock.now += 60 / parts
            load.committed(SimpleNamespace(seconds=1.0, waited=waited))
    return [record.getMessage() for record in caplog.records]


def test_a_busy_driver_that_replicas_wait_for_is_told_once(caplog):
    (message,) = warned(caplog, busy=0.97, waited=0.2)
    assert "wait for parts 17 %" in message
    assert "27 parts per second" in message
    assert "plan.part_rows=32768" in message


@pytest.mark.parametrize(("busy", "waited"), [(0.97, 0.01), (0.5, 0.5), (0.1, 0.0)])
def test_nothing_is_told_where_it_is_not_the_driver(caplog, busy, waited):
    assert warned(caplog, busy, waited) == []


def test_a_minute_is_looked_at_together(caplog):
    assert warned(caplog, busy=0.97, waited=0.2, parts=50, windows=0) == []
