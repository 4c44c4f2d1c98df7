"""A real S3 server behind a network that fails in every way: the output is the undisturbed one."""

from __future__ import annotations

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reranker_core.errors import OutputConflict, StoreRefused, StoreUnavailable
from reranker_core.input.shards import list_shards
from reranker_core.output import lease as lease_module
from reranker_core.output.commit import data_name, part_of
from reranker_core.output.identity import recorded
from reranker_core.output.proof import prove
from reranker_core.storage.filesystem import RangeReader, open_filesystem
from reranker_core.storage.store import Store
from tests.faults.drivers import Killed, MortalStore
from tests.faults.proxy import FAULTS, FaultyProxy, at_random
from tests.faults.watching import Reader
from tests.marks import more
from tests.outputs import Output, made_up, sizes
from tests.servers import BUCKET, clients_of, forget_clients, seaweedfs
from tests.tables import config, flat, write

ROWS = 14  # in four parts
PATIENT = 5.0  # seconds of a lease, which even a busy machine renews in time

# A driver that is killed by raising in all its threads does raise in all its threads.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture(scope="module")
def weed(tmp_path_factory):
    with seaweedfs(tmp_path_factory.mktemp("weed")) as running:
        yield running


@pytest.fixture
def server(request):
    """SeaweedFS, or what a test asks for."""
    return request.getfixturevalue(getattr(request, "param", "weed"))


exhaustive = pytest.mark.exhaustive
on_both_servers = pytest.mark.parametrize("server", ["weed", more("moto")], indirect=True)


@pytest.fixture
def proxy(server):
    with FaultyProxy(server.port) as running, clients_of(running.endpoint):
        yield running


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write(tmp_path / "in" / "a.parquet", flat(ROWS))
    return tmp_path / "in"


@pytest.fixture
def output(source: Path, tmp_path: Path) -> Output:
    return Output(source, f"s3://{BUCKET}/{tmp_path.name}")


def assert_undisturbed(output: Output) -> None:
    """Nothing lost, doubled or wrong, and proven so from every byte."""
    found = pa.concat_tables(output.tables())
    ids = [f"d{i}" for i in range(ROWS)]
    assert found["doc_id"].to_pylist() == ids
    np.testing.assert_allclose(found["score"], [made_up(i) for i in ids], atol=1e-4)
    assert prove(output.store, output.run, read_all=True).rows == ROWS
    data = [name for name in sizes(output.store) if part_of(name)]
    assert len(data) == len(output.plan.parts)
    assert output.store.exists("_SUCCESS")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("server", "faults"),
    [
        ("weed", FAULTS),
        more("moto", FAULTS),
        *(more("weed", (fault,)) for fault in FAULTS),
    ],
    indirect=["server"],
    ids=["all-weed", "all-moto", *FAULTS],
)
def test_every_kind_of_fault_is_survived(
    output: Output, proxy: FaultyProxy, faults: tuple[str, ...]
):
    proxy.choose = at_random(seed=1, rate=0.3, faults=faults)
    reader = Reader(Store(output.store.url))
    output.drive()
    reader.look()
    proxy.choose = lambda method, path: None
    assert proxy.injected.total() > 2
    assert_undisturbed(output)
    assert reader.wrong == []


@on_both_servers
def test_a_reply_that_is_lost_after_the_commit_is_no_failure(output: Output, proxy: FaultyProxy):
    lost: list[str] = []

    def lose_the_first(method: str, path: str) -> str | None:
        if method == "PUT" and path not in lost:
            lost.append(path)
            return "reply_lost"
        return None

    proxy.choose = lose_the_first
    output.drive()
    assert len(lost) >= 2 * len(output.plan.parts)
    assert_undisturbed(output)


def test_attempts_at_once_leave_one_of_them(output: Output, proxy: FaultyProxy):
    output.claim()
    proxy.choose = at_random(seed=2, rate=0.2)
    reader = Reader(Store(output.store.url))
    with reader.watching(), ThreadPoolExecutor(6) as threads:
        attempts = [
            threads.submit(output.commit, part, noise=attempt * 1e-5)
            for part in output.plan.parts
            for attempt in range(4)
        ]
        receipts = [attempt.result() for attempt in attempts]
    proxy.choose = lambda method, path: None
    assert len({receipt.sha256 for receipt in receipts}) == len(output.plan.parts)
    output.drive()
    assert_undisturbed(output)
    assert reader.wrong == []
    assert reader.looks > 0


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back_is_waited_for(output: Output, tmp_path: Path):
    with seaweedfs(tmp_path / "weed") as own, clients_of(own.endpoint):
        output = Output(tmp_path / "in", f"s3://{BUCKET}/out")

        def kill_and_restart() -> None:
            while len(sizes(Store(output.store.url))) < 4:
                time.sleep(0.02)
            own.kill()
            time.sleep(1)
            own.start()

        killer = threading.Thread(target=kill_and_restart)
        killer.start()
        output.drive(term=60)
        killer.join()
        output.drive()
        assert_undisturbed(output)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drivers know nothing of each other's processes, as if they ran on other machines."""
    monkeypatch.setattr(lease_module, "_machine", lambda: None)


@pytest.mark.slow
@pytest.mark.usefixtures("elsewhere")
def test_of_two_drivers_at_once_one_runs_and_the_other_says_who(output: Output, proxy: FaultyProxy):
    proxy.choose = lambda method, path: "delay" if ".parquet" in path else None
    with ThreadPoolExecutor(2) as threads:
        drives = [threads.submit(output.drive, noise=noise) for noise in (0, 1e-5)]
        errors = [drive.exception() for drive in drives]
    (refused,) = [error for error in errors if error]
    assert isinstance(refused, OutputConflict)
    assert "another driver is writing it" in str(refused)
    assert_undisturbed(output)


@pytest.mark.slow
@pytest.mark.usefixtures("elsewhere", "proxy")
def test_a_driver_that_was_paused_beyond_its_lease_wakes_and_changes_nothing(output: Output):
    paused = MortalStore(output.store.url, pause_at=18)
    reader = Reader(Store(output.store.url))
    with reader.watching(), ThreadPoolExecutor(1) as threads:
        sleeper = threads.submit(output.drive, store=paused, noise=1e-5, term=PATIENT)
        while not paused.paused:
            time.sleep(0.01)
        time.sleep(1)  # what the paused one had sent already may still arrive, as a sign of life
        output.drive(term=PATIENT)
        before = sizes(output.store)
        paused.wake()
        assert isinstance(sleeper.exception(), OutputConflict)
    assert sizes(output.store) == before
    assert_undisturbed(output)
    assert reader.wrong == []


@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize("lives", [1, 9, 24, more(4), more(16)])
def test_a_driver_that_is_killed_at_a_request_is_succeeded(output: Output, lives: int):
    with pytest.raises(Killed):
        output.drive(store=MortalStore(output.store.url, lives=lives), term=0.3)
    assert "_SUCCESS" not in sizes(output.store)
    # It is this very process, so its lease looks alive until it runs out.
    output.drive(term=0.3)
    assert_undisturbed(output)


@on_both_servers
@pytest.mark.usefixtures("proxy")
def test_a_changed_shard_is_scored_anew_and_its_old_parts_go(tmp_path: Path, source: Path):
    url = f"s3://{BUCKET}/{tmp_path.name}"
    write(source / "b.parquet", flat(9, first=100))
    Output(source, url).drive()
    before = Output(source, url)
    write(source / "a.parquet", flat(ROWS))  # the same rows, written again
    write(source / "c.parquet", flat(5, first=200))
    (source / "b.parquet").unlink()
    reader = Reader(Store(url))
    after = Output(source, url)
    with reader.watching():
        after.drive()
    names = {data_name(part.name) for part in after.plan.parts}
    assert {name for name in sizes(after.store) if part_of(name)} == names
    assert not names & {data_name(part.name) for part in before.plan.parts}
    assert prove(after.store, after.run, read_all=True).rows == ROWS + 5
    assert reader.wrong == []


@on_both_servers
@pytest.mark.usefixtures("proxy")
def test_a_listing_proves_whole_files_without_reading_them(output: Output):
    output.drive()
    totals = prove(output.store, output.run, read_all=False)
    assert (totals.parts, totals.opened) == (4, 0)
    name = data_name(output.plan.parts[2].name)
    data = bytearray(output.store.read(name))
    data[50] ^= 1
    output.store.write(name, bytes(data))
    with pytest.raises(Exception, match=f"{name}: .*SHA-256"):
        prove(output.store, output.run, read_all=False)


@on_both_servers
def test_ranges_are_read_through_every_fault(proxy: FaultyProxy, tmp_path: Path):
    table = flat(5000)
    write(tmp_path / "x.parquet", table, row_group_size=500)
    filesystem, path = open_filesystem(f"s3://{BUCKET}/ranges.parquet")
    filesystem.pipe_file(path, (tmp_path / "x.parquet").read_bytes())
    proxy.choose = at_random(seed=3, rate=0.4)
    reader = RangeReader(filesystem, path)
    assert (
        pq.ParquetFile(reader, pre_buffer=True)
        .read(columns=["passage"])
        .equals(table.select(["passage"]))
    )
    assert sum(proxy.injected.values()) > 0


@pytest.mark.slow
def test_an_object_of_many_megabytes_is_created_once(proxy: FaultyProxy, tmp_path: Path):
    store = Store(f"s3://{BUCKET}/{tmp_path.name}")
    first, second = bytes(120 << 20), b"x" * (120 << 20)
    assert store.create("large", first)
    assert not store.create("large", second)
    (listed,) = store.list()
    assert listed.size == len(first)
    assert listed.md5 is not None  # of one PUT: that of a multipart upload is no MD5


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "credentials are missing, wrong or expired"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "credentials are missing, wrong or expired"),
    ],
)
def test_bad_credentials_are_told_at_once(proxy: FaultyProxy, change: dict[str, str], told: str):
    with clients_of(proxy.endpoint) as patch:
        for name, value in change.items():
            patch.setenv(name, value)
        forget_clients()
        start = time.monotonic()
        with pytest.raises(StoreRefused, match=told) as caught:
            Store(f"s3://{BUCKET}/x").read("_run.json")
    assert time.monotonic() - start < 5
    assert "wrong-secret" not in str(caught.value)


@on_both_servers
@pytest.mark.usefixtures("proxy")
def test_a_missing_bucket_is_told_at_once():
    store = Store("s3://no-such-bucket/x")
    with pytest.raises(StoreRefused, match="no such bucket"):
        recorded(store)  # the first that a driver asks
    with pytest.raises(StoreRefused, match=r"^s3://no-such-bucket/x/_receipts: .*no such bucket"):
        list(store.list("_receipts"))


@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize("entry", ["s3://no-such-bucket/in", "s3://no-such-bucket/in/*.parquet"])
def test_a_missing_bucket_of_the_input_is_told(entry: str):
    with pytest.raises(StoreRefused, match="no such bucket"):
        list_shards(config(entry, "elsewhere"))


def test_a_wrong_region_is_told_at_once(proxy: FaultyProxy):
    proxy.choose = lambda method, path: "wrong_region"
    with pytest.raises(StoreRefused, match="in another region"):
        Store(f"s3://{BUCKET}/x").read("_run.json")


@pytest.mark.usefixtures("proxy")
def test_no_credential_is_pickled(output: Output):
    pickled = pickle.dumps((output.store, output.store.filesystem, output.plan, output.config))
    assert b"demosecret" not in pickled


def test_throttling_and_an_unreachable_server_are_told_apart(proxy: FaultyProxy):
    proxy.choose = lambda method, path: "slow_down"
    store = Store(f"s3://{BUCKET}/x", patience=1)
    with pytest.raises(StoreUnavailable, match=r"limits the request rate.*tries in 1 s"):
        store.write("a", b"1")
    proxy.choose = lambda method, path: "reset_before"
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        store.write("a", b"1")
    assert proxy.injected["slow_down"] < 10
    with clients_of("http://127.0.0.1:9"), pytest.raises(StoreUnavailable, match="be reached"):
        Store(f"s3://{BUCKET}/x", patience=1).read("a")
