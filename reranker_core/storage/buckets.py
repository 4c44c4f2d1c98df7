"""What stores with buckets have in common: S3, Google Cloud Storage, Azure (containers).

Clients take a missing bucket for an empty one, so it is asked for. The first request of an upload,
which writes nothing, shows whether an object can be written.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import fsspec

from reranker_core.storage import azure, gcs, s3
from reranker_core.storage.errors import PATIENCE, Trouble, failure, patiently
from reranker_core.storage.timeout import seconds_for

Request = Callable[[fsspec.AbstractFileSystem, str], None]


class _Requests(NamedTuple):
    begin_upload: Request
    ask_for_bucket: Request


_KINDS = {
    "s3": _Requests(s3.begin_upload, s3.ask_for_bucket),
    "gs": _Requests(gcs.begin_upload, gcs.ask_for_bucket),
    "abfs": _Requests(azure.begin_upload, azure.ask_for_container),
}


def has_buckets(filesystem: fsspec.AbstractFileSystem) -> bool:
    """Whether the first step of a path is a bucket."""
    return _requests(filesystem) is not None


def begin_upload(
    filesystem: fsspec.AbstractFileSystem, path: str, what: str, patience: float
) -> None:
    """Check that the object `path` could be written. Raises as `patiently`, and StoreRefused if
    there is no such bucket.
    """
    found = _requests(filesystem)
    assert found is not None
    _ask(partial(found.begin_upload, filesystem, path), what, patience)


def refuse_absent_bucket(filesystem: fsspec.AbstractFileSystem, path: str, what: str) -> None:
    """Raise StoreRefused if the bucket of `path` does not exist. Raises as `patiently`."""
    found = _requests(filesystem)
    bucket = path.lstrip("/").partition("/")[0]
    if found is not None and bucket:
        _ask(partial(found.ask_for_bucket, filesystem, bucket), what, PATIENCE)


def _requests(filesystem: fsspec.AbstractFileSystem) -> _Requests | None:
    protocol = filesystem.protocol
    names = (protocol,) if isinstance(protocol, str) else protocol
    return next((_KINDS[name] for name in names if name in _KINDS), None)


def _ask(request: Callable[[], None], what: str, patience: float) -> None:
    try:
        patiently(request, what, patience, limit=seconds_for(0))
    except FileNotFoundError as error:
        raise failure(error, Trouble.BUCKET, what) from None
