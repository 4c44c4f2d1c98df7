"""A request that is not answered in time counts as failed, whatever the client thinks of it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from reranker_core.errors import StoreUnavailable
from reranker_core.input.footers import read_footers
from reranker_core.input.plan import make_plan
from reranker_core.input.reading import read_parts
from reranker_core.input.shards import list_shards
from reranker_core.storage import errors, timeout
from reranker_core.storage.store import Store
from reranker_core.storage.timeout import seconds_for, within
from tests import servers
from tests.faults.proxy import HANGS, FaultyProxy
from tests.tables import config, flat, write


def test_what_is_done_in_time_is_given_or_raised():
    assert within(5, lambda: "done") == "done"
    with pytest.raises(KeyError, match="own"):
        within(5, lambda: {}["own"])


def test_what_is_not_done_in_time_is_an_error():
    with pytest.raises(TimeoutError, match=r"no complete answer within 0\.05 s"):
        within(0.05, threading.Event().wait)


def test_large_requests_have_more_time():
    assert seconds_for(0) < seconds_for(100 << 20) < seconds_for(200 << 20)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeout, "_SECONDS", 0.1)
    monkeypatch.setattr(timeout, "_UNKNOWN", 0.1)
    monkeypatch.setattr(errors.patiently, "__defaults__", (1.0,))


@pytest.fixture
def proxy(moto: servers.Moto) -> Iterator[FaultyProxy]:
    with FaultyProxy(moto.port) as running, servers.clients_of(running.endpoint):
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("fault", HANGS)
def test_a_store_that_hangs_is_asked_again_and_then_named(
    proxy: FaultyProxy, fault: str, tmp_path: Path, request: pytest.FixtureRequest
):
    url = f"s3://{servers.BUCKET}/{uuid.uuid4()}"
    store = Store(url, patience=1.0)
    store.write("a.parquet", write(tmp_path / "a.parquet", flat(4)).read_bytes())
    plan = make_plan(config(url, tmp_path / "out"))
    request.getfixturevalue("impatient")
    asked = {
        "list": lambda: list_shards(config(url, tmp_path / "out")),
        "footer": lambda: read_footers([plan.shards[0].file]),
        "read": lambda: list(read_parts(list(plan.parts), plan.schema.columns)),
        "object": lambda: store.read("a.parquet"),
        "write": lambda: store.write("b", b"x"),
        "create": lambda: store.create("c", b"x"),
    }
    proxy.choose = lambda method, path: fault
    for name, ask in asked.items():
        with pytest.raises(StoreUnavailable, match=r"in time.* tries .* within 0\.1") as told:
            ask()
        assert url in str(told.value), name
    assert proxy.injected[fault] > len(asked)


@pytest.mark.usefixtures("impatient")
def test_a_request_that_hangs_once_does_no_harm(proxy: FaultyProxy):
    store = Store(f"s3://{servers.BUCKET}/{uuid.uuid4()}", patience=5)
    waiting = ["hang", "trickle"]
    proxy.choose = lambda method, path: waiting.pop() if waiting else None
    store.write("a", b"x")
    assert store.read("a") == b"x"
    assert not waiting
