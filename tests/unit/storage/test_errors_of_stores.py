"""What a store's errors mean, and when a request is tried again."""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from enum import Enum

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    SSLError,
)

from reranker_core.errors import (
    ConfigError,
    Incomplete,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
)
from reranker_core.storage.errors import Trouble, patiently, trouble


def answer(code: str, status: int = 400, operation: str = "PutObject") -> ClientError:
    """What botocore makes of a reply."""
    error = {"Code": code, "Message": "in its own words"}
    response = {"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)


def gcsfs_answer(code: int) -> Exception:
    """What gcsfs makes of a reply."""
    error = Exception("said so")
    error.code, error.message = code, "said so"
    return error


class AzureCode(Enum):
    """As azure-core has it, whose text is not its value."""

    CONTAINER_NOT_FOUND = "ContainerNotFound"
    BLOB_ALREADY_EXISTS = "BlobAlreadyExists"


def azure_answer(code: str | AzureCode, status: int) -> Exception:
    """What azure-core makes of a reply."""
    error = Exception("said so")
    error.status_code, error.error_code, error.message = status, code, "said so"
    return error


def untrusted() -> Exception:
    """What botocore makes of a certificate that nobody trusts."""
    try:
        raise ssl.SSLCertVerificationError("self-signed")
    except ssl.SSLCertVerificationError as cause:
        error = SSLError(endpoint_url="x", error=cause)
        error.__context__ = cause
        return error


def wrapped(cause: BaseException, by: type[Exception] = OSError) -> BaseException:
    """As s3fs raises it."""
    try:
        raise by("said otherwise") from cause
    except by as error:
        return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answer("SignatureDoesNotMatch", 403), Trouble.CREDENTIALS),
        (answer("ExpiredToken"), Trouble.CREDENTIALS),
        (NoCredentialsError(), Trouble.CREDENTIALS),
        (answer("AccessDenied", 403), Trouble.DENIED),
        (answer("403", 403), Trouble.DENIED),
        (answer("NoSuchBucket", 404), Trouble.BUCKET),
        (answer("AuthorizationHeaderMalformed"), Trouble.REGION),
        (answer("PermanentRedirect", 301), Trouble.REGION),
        (answer("SlowDown", 503), Trouble.THROTTLED),
        (answer("never heard of", 429), Trouble.THROTTLED),
        (answer("never heard of", 502), Trouble.SERVER),
        (answer("ConditionalRequestConflict", 409), Trouble.SERVER),
        (answer("PreconditionFailed", 412), Trouble.EXISTS),
        (EndpointConnectionError(endpoint_url="x"), Trouble.NETWORK),
        (ConnectTimeoutError(endpoint_url="x"), Trouble.NETWORK),
        (asyncio.IncompleteReadError(b"", 3), Trouble.NETWORK),
        (ConnectionResetError(errno.ECONNRESET, "reset"), Trouble.NETWORK),
        (TimeoutError(), Trouble.NETWORK),
        (OSError(errno.EBUSY, "busy"), Trouble.THROTTLED),
        (answer("NeverHeardOf", 418), Trouble.REFUSED),
        (answer("NotImplemented", 501), Trouble.REFUSED),
        (answer("MissingContentLength", 411), Trouble.REFUSED),
        (answer("InvalidArgument"), Trouble.REFUSED),
        (answer("XAmzContentSHA256Mismatch"), Trouble.DAMAGED),
        (answer("QuotaExceeded", 403), Trouble.FULL),
        (answer("XMinioStorageFull", 507), Trouble.FULL),
        (gcsfs_answer(403), Trouble.DENIED),
        (gcsfs_answer(418), Trouble.REFUSED),
        (azure_answer(AzureCode.BLOB_ALREADY_EXISTS, 409), Trouble.EXISTS),
        (azure_answer(AzureCode.CONTAINER_NOT_FOUND, 404), Trouble.BUCKET),
        (azure_answer("ContainerBeingDeleted", 409), Trouble.SERVER),
        (azure_answer("BlobArchived", 409), Trouble.ARCHIVED),
        (azure_answer("BlobImmutableDueToPolicy", 409), Trouble.REFUSED),
        (azure_answer("AuthenticationFailed", 403), Trouble.CREDENTIALS),
        (azure_answer("AuthorizationPermissionMismatch", 403), Trouble.DENIED),
        (untrusted(), Trouble.CERTIFICATE),
        (OSError(errno.ENOSPC, "disk full"), Trouble.FULL),
        (OSError(errno.EDQUOT, "quota"), Trouble.FULL),
        (OSError(errno.EROFS, "read-only"), Trouble.READ_ONLY),
        (PermissionError(errno.EACCES, "no"), Trouble.PERMISSION),
        (answer("RequestTimeTooSkewed", 403), Trouble.CLOCK),
        (answer("KMS.DisabledException", 403), Trouble.KEY),
        (answer("KMS.NotFoundException"), Trouble.KEY),
        (answer("KMS.KMSInternalException", 500), Trouble.SERVER),
        (answer("InvalidObjectState", 403), Trouble.ARCHIVED),
        (answer("PreconditionFailed", 412, "GetObject"), Trouble.REFUSED),
        (answer("404", 404, "ListObjectsV2"), Trouble.BUCKET),
        (answer("NoSuchKey", 404, "ListObjectsV2"), Trouble.BUCKET),
        (answer("NoSuchKey", 404), None),
        (ValueError("ours"), None),
    ],
)
@pytest.mark.parametrize("wrap", [False, True])
def test_troubles_are_told_apart_however_they_are_wrapped(error, kind, wrap):
    assert trouble(wrapped(error) if wrap else error) is kind


class Sometimes:
    """Fails `times` times, then answers."""

    def __init__(self, times: int, error: BaseException) -> None:
        self.times, self.error, self.calls = times, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "answer"


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time passes only by sleeping, and at once."""
    passed: list[float] = []
    monkeypatch.setattr(time, "sleep", passed.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(passed))
    return passed


@pytest.mark.parametrize("code", ["SlowDown", "InternalError"])
def test_what_may_pass_is_tried_again(slept: list[float], code: str):
    operation = Sometimes(6, wrapped(answer(code)))
    assert patiently(operation, "s3://b/x") == "answer"
    assert len(slept) == 6


def test_delays_grow_differ_and_have_a_limit(slept: list[float]):
    operation = Sometimes(1000, answer("SlowDown", 503))
    with pytest.raises(StoreUnavailable, match="limits the request rate"):
        patiently(operation, "s3://b/x", patience=600)
    assert sum(slept) <= 600
    assert max(slept) <= 20
    assert sum(slept[:3]) < 3
    assert len(set(slept)) == len(slept)
    assert operation.calls < 150


def test_trouble_that_lasts_is_told_of_while_it_is_waited_out(slept: list[float], caplog):
    patiently(Sometimes(1, answer("SlowDown", 503)), "s3://b/x")
    assert not caplog.messages
    patiently(Sometimes(12, answer("SlowDown", 503)), "s3://b/x")
    (told,) = caplog.messages
    assert told.startswith("s3://b/x: the store limits the request rate; ")
    assert "retrying for up to 120 s" in told


def test_an_object_that_exists_on_azure_is_an_answer(slept: list[float]):
    told = wrapped(azure_answer(AzureCode.BLOB_ALREADY_EXISTS, 409), FileExistsError)
    with pytest.raises(FileExistsError):
        patiently(Sometimes(1, told), "abfs://b/x")
    assert not slept


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchBucket", "InvalidAccessKeyId"])
def test_what_does_not_pass_is_told_at_once(slept: list[float], code: str):
    operation = Sometimes(1, wrapped(answer(code), PermissionError))
    with pytest.raises(StoreRefused, match="s3://b/x"):
        patiently(operation, "s3://b/x")
    assert (operation.calls, slept) == (1, [])


@pytest.mark.parametrize(
    "error", [FileNotFoundError("x"), FileExistsError("x"), KeyError("a defect of ours")]
)
def test_answers_and_defects_are_passed_on(slept: list[float], error: Exception):
    with pytest.raises(type(error)) as caught:
        patiently(Sometimes(1, error), "x")
    assert caught.value is error


@pytest.mark.parametrize(
    "error",
    [
        wrapped(answer("NeverHeardOf", 418)),
        wrapped(answer("NotImplemented", 501)),
        answer("MethodNotAllowed", 405),
    ],
)
def test_an_answer_that_nobody_knows_is_told_in_the_words_of_the_store(slept, error: Exception):
    operation = Sometimes(1, error)
    with pytest.raises(StoreRefused, match=r"^s3://b/x: .*PutObject was answered 4|501") as caught:
        patiently(operation, "s3://b/x")
    assert "in its own words" in str(caught.value)
    assert (operation.calls, slept) == (1, [])


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOTCONN, "an error number that is not listed"),
        ValueError("Invalid endpoint: minio:9000"),
        NotImplementedError("no such method of this store"),
    ],
)
def test_whatever_else_a_client_raises_is_no_traceback(slept: list[float], error: Exception):
    with pytest.raises(StoreRefused, match=r"^s3://b/x: "):
        patiently(Sometimes(1, error), "s3://b/x")


def test_a_full_disk_can_be_resumed(slept: list[float]):
    with pytest.raises(StoreFull, match="no space is left") as caught:
        patiently(Sometimes(1, OSError(errno.ENOSPC, "No space left on device")), "/out/x")
    assert caught.value.exit_code == 5


def test_bytes_that_arrive_damaged_are_sent_again_and_not_for_minutes(slept: list[float]):
    damaged = wrapped(answer("XAmzContentSHA256Mismatch"))
    assert patiently(Sometimes(2, damaged), "s3://b/x") == "answer"
    operation = Sometimes(99, damaged)
    with pytest.raises(StoreRefused):
        patiently(operation, "s3://b/x")
    assert operation.calls == 3
    assert sum(slept) < 5


def test_a_refused_condition_is_that_the_object_exists():
    with pytest.raises(FileExistsError):
        patiently(Sometimes(1, wrapped(answer("PreconditionFailed", 412))), "x")


def test_exit_codes_say_whether_running_again_can_help():
    assert issubclass(StoreRefused, ConfigError)
    assert issubclass(StoreUnavailable, Incomplete)
    assert (StoreRefused.exit_code, StoreRefused.retryable) == (2, False)
    assert (StoreUnavailable.exit_code, StoreUnavailable.retryable) == (5, True)
