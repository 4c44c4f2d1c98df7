"""Nothing is waited for in silence, or for ever."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest

from reranker_core.errors import Incomplete, OutputConflict
from reranker_core.pipeline import watch
from reranker_core.pipeline.watch import watched


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_TICK", 0.02)
    monkeypatch.setattr(watch, "_FIRST_WORD", 0.1)


def nothing() -> None:
    pass


def silent(after: int = 0) -> Iterator[int]:
    yield from range(after)
    threading.Event().wait()


def test_items_come_in_order_and_the_end_is_an_end():
    assert list(watched(range(100), nothing, str, 5)) == list(range(100))


def test_an_error_of_the_stream_is_raised_after_what_came_before():
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("x")

    found = watched(broken(), nothing, str, 5)
    assert next(found) == 1
    with pytest.raises(KeyError):
        next(found)


def test_a_stall_is_incomplete_and_says_what_it_waits_for():
    found = watched(silent(after=2), nothing, lambda: "3 parts are left", 0.3)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(Incomplete, match=r"stalled.*3 parts are left.*the same command") as caught:
        next(found)
    assert caught.value.exit_code == 5


def test_slow_is_not_stalled():
    def slow() -> Iterator[int]:
        for number in range(5):
            time.sleep(0.15)
            yield number

    assert len(list(watched(slow(), nothing, str, 0.6))) == 5


def test_a_large_part_that_gets_on_is_not_stalled():
    def slow() -> Iterator[int]:
        time.sleep(1)
        yield 0

    assert list(watched(slow(), nothing, str, 0.2, silence=lambda: 0.1)) == [0]
    with pytest.raises(Incomplete):
        list(watched(slow(), nothing, str, 0.2, silence=lambda: 0.3))


def test_a_long_wait_is_told_of(caplog: pytest.LogCaptureFixture):
    with pytest.raises(Incomplete):
        next(watched(silent(), nothing, lambda: "1 node is alive", 0.4))
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert 2 <= len(told) <= 4
    assert "1 node is alive" in told[0].getMessage()


def test_what_the_check_raises_ends_the_wait():
    calls: list[float] = []

    def check() -> None:
        calls.append(time.monotonic())
        if len(calls) > 3:
            raise OutputConflict("taken over")

    with pytest.raises(OutputConflict):
        next(watched(silent(), check, str, 60))


def test_a_question_that_hangs_or_fails_hides_no_stall(monkeypatch: pytest.MonkeyPatch):
    def fails() -> str:
        raise ConnectionError

    with pytest.raises(Incomplete, match="is unknown"):
        next(watched(silent(), nothing, fails, 0.1))
    join = threading.Thread.join
    monkeypatch.setattr(threading.Thread, "join", lambda self, timeout: join(self, 0.1))
    with pytest.raises(Incomplete, match="does not answer"):
        next(watched(silent(), nothing, lambda: str(threading.Event().wait()), 0.1))
