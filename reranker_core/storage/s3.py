"""What is special to S3 and to the stores that speak its protocol."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import fsspec
from fsspec.config import conf

SCHEMES = ("s3://", "s3a://")
DELETED_AT_ONCE = 1000  # by one request
_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
_CHECKSUMS = ("request_checksum_calculation", "response_checksum_validation")
# Codes with which stores refuse the checksum headers of newer AWS clients, or fail over them.
_SUSPECT = (
    "MissingContentLength",
    "InvalidArgument",
    "InvalidRequest",
    "NotImplemented",
    "XAmzContentSHA256Mismatch",
    "SignatureDoesNotMatch",
    "AuthorizationHeaderMalformed",
    "MissingContentMD5",
)
_WRITES = ("PutObject", "CreateMultipartUpload", "DeleteObjects")


def options() -> dict[str, Any]:
    """What s3fs is given. FSSPEC_S3, AWS_* and the profile of the user have the last word.

    Both botocore and s3fs (twice, when reading) would retry by themselves, and multiply; and one
    request a read: s3fs would ask for the size first, and learn less when it is turned away.

    Newer AWS clients add checksum headers that stores of others refuse in several ways. There they
    are left out: a data file is proven by size and MD5, or by its bytes, before `_SUCCESS`.
    """
    ours: dict[str, Any] = {"retries": {"mode": "standard", "total_max_attempts": 1}}
    environment = tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_")))
    if _is_of_others(environment, _configured("endpoint_url"), _configured("profile")):
        ours |= dict.fromkeys(_CHECKSUMS, "when_required")
    return {"config_kwargs": ours | (_configured("config_kwargs") or {}), "max_concurrency": 1}


def sends_checksums(filesystem: fsspec.AbstractFileSystem) -> bool:
    """Whether uploads carry the checksum headers of newer AWS clients."""
    return filesystem.s3.meta.config.request_checksum_calculation != "when_required"


def advice(answer: Any, filesystem: fsspec.AbstractFileSystem) -> str:
    """What else may be the cause of an answer that refuses a request: the checksum headers."""
    if answer is None or (answer.code not in _SUSPECT and answer.status not in (400, 411, 501)):
        return ""
    if answer.operation not in _WRITES or not sends_checksums(filesystem):
        return ""
    return (
        "; if the store does not support the checksum headers of newer AWS clients, set "
        "AWS_REQUEST_CHECKSUM_CALCULATION=when_required"
    )


def put(filesystem: fsspec.AbstractFileSystem, path: str, data: bytes, new: bool) -> None:
    """Write an object in one request whatever its size, if `new` only where there is none: a
    multipart upload that must not replace anything is racy.
    """
    bucket, key = _split(path)
    condition = {"IfNoneMatch": "*"} if new else {}
    filesystem.call_s3("put_object", Bucket=bucket, Key=key, Body=data, **condition)
    filesystem.invalidate_cache(path)


def page(
    filesystem: fsspec.AbstractFileSystem, path: str, after: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """A thousand objects below `path`, and where the next page begins; None after the last one.

    As `find`, which would keep all of them, and a cache of them.
    """
    bucket, key = _split(path.rstrip("/"))
    more = {"ContinuationToken": after} if after else {}
    prefix = f"{key}/" if key else ""
    found = filesystem.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
    infos = [
        {"name": f"{bucket}/{info['Key']}", "size": info["Size"], **info}
        for info in found.get("Contents", ())
    ]
    return infos, found["NextContinuationToken"] if found.get("IsTruncated") else None


def delete(filesystem: fsspec.AbstractFileSystem, paths: Iterable[str]) -> list[str]:
    """Remove at most a thousand objects of one bucket by one request; those that were not."""
    split = [_split(path) for path in paths]
    (bucket,) = {bucket for bucket, _ in split}
    answer = filesystem.call_s3(
        "delete_objects",
        Bucket=bucket,
        Delete={"Objects": [{"Key": key} for _, key in split], "Quiet": True},
    )
    return [f"{bucket}/{error['Key']}" for error in answer.get("Errors", ())]


def delete_one(filesystem: fsspec.AbstractFileSystem, path: str) -> None:
    """Remove one object, with the request that every store has."""
    bucket, key = _split(path)
    filesystem.call_s3("delete_object", Bucket=bucket, Key=key)
    filesystem.invalidate_cache(path)


def begin_upload(filesystem: fsspec.AbstractFileSystem, path: str) -> None:
    """Begin an upload and give it up: needs the permission to write, and writes nothing."""
    bucket, key = _split(path)
    upload = filesystem.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
    with suppress(OSError):  # the store removes it by itself
        filesystem.call_s3(
            "abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload["UploadId"]
        )


def ask_for_bucket(filesystem: fsspec.AbstractFileSystem, bucket: str) -> None:
    """Raise the store's error if there is no such bucket, which s3fs takes for an empty one."""
    filesystem.call_s3("list_objects_v2", Bucket=bucket, MaxKeys=1)


@functools.lru_cache(maxsize=8)
def _is_of_others(
    environment: tuple[tuple[str, str], ...], endpoint: str | None, profile: str | None
) -> bool:
    """Whether requests go to a store that is not AWS, and nobody chose how to send checksums."""
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    set_ = dict(environment)
    session = Session(profile=profile)
    try:
        scoped, services = session.get_scoped_config(), session.full_config.get("services", {})
    except BotoCoreError:  # told by the first request
        return False
    own = services.get(scoped.get("services"), {}).get("s3", {})
    endpoint = (
        endpoint
        or set_.get("AWS_ENDPOINT_URL_S3")
        or set_.get("AWS_ENDPOINT_URL")
        or (own.get("endpoint_url") if isinstance(own, dict) else None)
        or scoped.get("endpoint_url")
    )
    chosen = "AWS_REQUEST_CHECKSUM_CALCULATION" in set_ or _CHECKSUMS[0] in scoped
    host = urlsplit(endpoint or "").hostname or ""
    return bool(endpoint) and not chosen and not host.endswith(_AWS)


def _configured(name: str) -> Any:
    """What FSSPEC_S3 or a file of fsspec's configuration sets."""
    settings = {**conf.get("s3", {}), **conf.get("s3a", {})}
    if name == "endpoint_url":
        return settings.get(name) or (settings.get("client_kwargs") or {}).get(name)
    return settings.get(name)


def _split(path: str) -> tuple[str, str]:
    bucket, _, key = path.partition("/")
    return bucket, key
