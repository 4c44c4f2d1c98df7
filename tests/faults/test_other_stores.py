"""Stores that speak S3 and are not AWS: what they lack, refuse or demand ends in no traceback."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec.config
import pytest

from reranker_core.errors import StoreFull, StoreRefused
from reranker_core.output.proof import prove
from reranker_core.storage.store import Store
from tests.faults.proxy import FaultyProxy
from tests.marks import more
from tests.outputs import Output
from tests.servers import BUCKET, clients_of, forget_clients, seaweedfs
from tests.tables import flat, write

ROWS = 14  # in four parts


@pytest.fixture(scope="module")
def weed(tmp_path_factory):
    with seaweedfs(tmp_path_factory.mktemp("weed")) as running:
        yield running


@pytest.fixture
def server(request):
    """SeaweedFS, or what a test asks for."""
    return request.getfixturevalue(getattr(request, "param", "weed"))


@pytest.fixture
def proxy(server):
    with FaultyProxy(server.port) as running, clients_of(running.endpoint) as patch:
        running.patch = patch
        yield running


@pytest.fixture
def output(tmp_path: Path) -> Output:
    write(tmp_path / "in" / "a.parquet", flat(ROWS))
    return Output(tmp_path / "in", f"s3://{BUCKET}/{tmp_path.name}")


def set_up(proxy: FaultyProxy, environment: dict[str, str] | None = None, **s3: Any) -> None:
    """New clients, with these AWS_* variables and FSSPEC_S3."""
    for name, value in (environment or {}).items():
        proxy.patch.setenv(name, value)
    proxy.patch.setitem(fsspec.config.conf, "s3", s3)
    forget_clients()


def run_twice(output: Output) -> None:
    """A whole run, and the same command again, which has to remove the lease of the first."""
    for _ in range(2):
        again = Output(Path(output.config.input.path), output.config.output.path)
        again.drive()
    assert prove(again.store, again.run, read_all=True).rows == ROWS
    assert len(list(again.store.list("_lease"))) == 1
    assert again.store.exists("_SUCCESS")


def refuse(matches: Callable[[str], bool], status: int, code: str, text: str = "not here"):
    return lambda head: (status, code, text) if matches(head) else None


def many_deleted(head: str) -> bool:
    return head.startswith("POST ") and "delete" in head.split(" ")[1]


def conditional(head: str) -> bool:
    return head.startswith("PUT ") and "\r\nif-none-match:" in head.lower()


def checked(head: str) -> bool:
    lower = head.lower()
    return "x-amz-checksum-" in lower or "x-amz-sdk-checksum-algorithm" in lower


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "MissingContentMD5"),
        more(405, "MethodNotAllowed"),
        more(501, "NotImplemented"),
    ],
)
def test_a_store_without_multi_object_delete(output: Output, proxy: FaultyProxy, status, code):
    proxy.refuse = refuse(many_deleted, status, code)
    store = output.store
    for name in "abcd":
        store.write(name, b"1")
    store.delete("a", "absent", "c")
    store.delete("b", "absent")  # and is not asked again
    assert [listed.name for listed in store.list()] == ["d"]
    assert proxy.injected[code] == 1
    store.delete("d")
    run_twice(output)


def test_objects_that_a_multi_object_delete_leaves_are_told(output: Output, proxy: FaultyProxy):
    store = output.store
    store.write("a", b"1")
    store.write("b", b"1")
    path = f"/{BUCKET}/{store.root.partition('/')[2]}/a"

    def leave(reply: bytes) -> bytes:
        key = path.removeprefix(f"/{BUCKET}/")
        body = (
            f"<DeleteResult><Error><Key>{key}</Key><Code>AccessDenied</Code></Error></DeleteResult>"
        ).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nConnection: close\r\n"
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def answer(head: str) -> tuple[int, str, str] | None:
        proxy.edit_reply = leave if many_deleted(head) else lambda reply: reply
        denied = head.startswith(f"DELETE {path} ")
        return (403, "AccessDenied", "a lock is on it") if denied else None

    proxy.refuse = answer
    with pytest.raises(StoreRefused, match=r"/a: .*do not allow.*DeleteObject.*a lock is on it"):
        store.delete("a", "b")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (501, "NotImplemented"),
        (412, "PreconditionFailed"),
        more(400, "InvalidArgument"),
        more(405, "MethodNotAllowed"),
        more(403, "SignatureDoesNotMatch"),
        more(304, "NotModified"),
    ],
)
def test_a_store_that_refuses_conditional_writes_is_asked_first(
    output: Output, proxy: FaultyProxy, caplog, status, code
):
    proxy.refuse = refuse(conditional, status, code)
    run_twice(output)
    assert "does not support conditional writes (If-None-Match)" in caplog.text
    assert proxy.injected[code] == 2  # once a run: never in the middle of one


@pytest.mark.slow
@pytest.mark.parametrize("server", ["moto"], indirect=True)
def test_a_store_that_ignores_conditions_is_asked_first(output: Output, proxy: FaultyProxy, caplog):
    proxy.edit_request = lambda head: re.sub(rb"(?i)\r\nif-none-match:[^\r]*", b"", head)
    run_twice(output)
    assert "does not support conditional writes (If-None-Match)" in caplog.text


def test_a_store_that_loses_its_conditions_in_a_run_ends_it(output: Output, proxy: FaultyProxy):
    assert output.store.create("a", b"1")
    assert output.store.settle_conditions("a", b"1")
    proxy.refuse = refuse(conditional, 501, "NotImplemented")
    with pytest.raises(StoreRefused, match="PutObject was answered 501 NotImplemented: not here"):
        output.store.create("b", b"1")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (411, "MissingContentLength"),
        (403, "SignatureDoesNotMatch"),
        more(400, "InvalidArgument"),
        more(400, "InvalidRequest"),
        more(400, "XAmzContentSHA256Mismatch"),
        more(400, "AuthorizationHeaderMalformed"),
        more(501, "NotImplemented"),
    ],
)
def test_checksum_headers_are_not_sent_unless_asked_for(
    tmp_path: Path, proxy: FaultyProxy, status, code
):
    proxy.refuse = refuse(checked, status, code)
    store = Store(f"s3://{BUCKET}/{tmp_path.name}")
    assert store.create("a", b"1")
    store.write("b", b"1")
    assert store.read("a") == b"1"
    store.delete("a", "b")  # one by one, as a request for both must have a checksum
    assert list(store.list()) == []
    set_up(proxy, {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported"})
    with pytest.raises(StoreRefused, match="AWS_REQUEST_CHECKSUM_CALCULATION=when_req") as caught:
        Store(f"s3://{BUCKET}/{tmp_path.name}").create("a", b"1")
    assert f"PutObject was answered {status} {code}: not here" in str(caught.value)


@pytest.mark.parametrize(
    ("header", "setting"),
    [
        (
            "x-amz-server-side-encryption: AES256",
            {"s3_additional_kwargs": {"ServerSideEncryption": "AES256"}},
        ),
        (
            "x-amz-acl: bucket-owner-full-control",
            {"s3_additional_kwargs": {"ACL": "bucket-owner-full-control"}},
        ),
    ],
)
def test_a_header_that_a_bucket_demands_of_writes_can_be_set(
    output: Output, proxy: FaultyProxy, header: str, setting: dict[str, Any]
):
    def lacks(head: str) -> bool:
        return head.startswith("PUT ") and header not in head.lower().replace("aes", "AES")

    proxy.refuse = refuse(lacks, 403, "AccessDenied", "explicit deny")
    with pytest.raises(
        StoreRefused, match=r"demand encryption .*object-storage\.md.*explicit deny"
    ):
        output.store.create("a", b"1")
    set_up(proxy, **setting)
    run_twice(output)


def test_requester_pays_can_be_set(tmp_path: Path, output: Output, proxy: FaultyProxy):
    lacking: list[str] = []

    def lacks(head: str) -> bool:
        lacks = "x-amz-request-payer: requester" not in head.lower()
        lacking.extend([head.split("\r\n")[0]] if lacks else [])
        return lacks

    table = (tmp_path / "in" / "a.parquet").read_bytes()
    output.store.write("in/a.parquet", table)
    proxy.refuse = refuse(lacks, 403, "AccessDenied")
    set_up(proxy, s3_additional_kwargs={"RequestPayer": "requester"})
    there = Output(f"{output.store.url}/in", f"{output.store.url}-out")  # type: ignore[arg-type]
    there.drive()
    there.drive()
    assert len(there.store.read("_manifest.json")) > 0
    assert lacking == []


def test_checksums_of_a_store_that_are_no_md5_make_the_proof_read_files(
    output: Output, proxy: FaultyProxy
):
    # As of multipart uploads, of encryption by a KMS, and of stores with tags of their own.
    tag = re.compile(rb"(?i)(etag(?:: ?|>)(?:\"|&quot;|&#34;)?[0-9a-f]{30})[0-9a-f]{2}")
    proxy.edit_reply = lambda reply: tag.sub(rb"\1-1", reply)
    run_twice(output)
    assert prove(output.store, output.run, read_all=False).opened == len(output.plan.parts)


@pytest.mark.parametrize(
    ("ask", "operation", "status", "code"),
    [
        (lambda store: store.write("a", b"1"), "PutObject", 418, "Teapot"),
        (lambda store: store.write("a", b"1"), "PutObject", 501, "NotImplemented"),
        (lambda store: store.write("a", b"1"), "PutObject", 402, "PaymentRequired"),
        (lambda store: store.create("a", b"1"), "PutObject", 418, "Teapot"),
        (lambda store: store.read("a"), "GetObject", 418, "Teapot"),
        (lambda store: store.exists("a"), "HeadObject", 418, "Teapot"),
        (lambda store: store.delete("a"), "DeleteObject", 418, "Teapot"),
        (lambda store: store.delete("a", "b"), "DeleteObject", 501, "NotImplemented"),
        (lambda store: list(store.list()), "ListObjectsV2", 418, "Teapot"),
    ],
)
def test_an_unknown_answer_is_told_with_operation_code_and_text(
    output: Output, proxy: FaultyProxy, ask, operation: str, status: int, code: str
):
    proxy.refuse = refuse(lambda head: True, status, code, "in the words of the store")
    with pytest.raises(StoreRefused, match=f"{operation} was answered {status}") as caught:
        ask(output.store)
    if operation != "HeadObject":  # the answer to HEAD has no body
        assert f"{status} {code}: in the words of the store" in str(caught.value)
    assert "docs/object-storage.md" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("status", "code"), [(507, "XMinioStorageFull"), (403, "QuotaExceeded")])
def test_a_full_bucket_can_be_resumed(output: Output, proxy: FaultyProxy, status: int, code: str):
    proxy.refuse = refuse(lambda head: head.startswith("PUT "), status, code)
    with pytest.raises(StoreFull, match="is full"):
        output.store.write("a", b"1")


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "AccessDenied", "the credentials do not allow this"),
        (404, "NoSuchBucket", "there is no such bucket"),
        (403, "QuotaExceeded", "no space is left"),
    ],
)
def test_an_output_that_cannot_be_written_is_told_without_writing(
    output: Output, proxy: FaultyProxy, status: int, code: str, told: str
):
    proxy.refuse = refuse(lambda head: head.split(" ")[0] in ("PUT", "POST"), status, code)
    with pytest.raises(StoreRefused, match=f"cannot be written: {told}") as caught:
        output.store.check_writable()
    assert str(caught.value).startswith(f"output.path={output.store.url} ")
    assert caught.value.exit_code == 2


def test_a_look_at_an_output_writes_nothing(output: Output, proxy: FaultyProxy):
    output.store.check_writable()
    assert list(output.store.list()) == []
    bucket, _, prefix = output.store.root.partition("/")
    listing = output.store.filesystem.call_s3(
        "list_multipart_uploads", Bucket=bucket, Prefix=prefix
    )
    assert not listing.get("Uploads")
    # Where a store has no uploads in parts, the run itself finds out.
    proxy.refuse = refuse(lambda head: head.startswith("POST "), 501, "NotImplemented")
    output.store.check_writable()
