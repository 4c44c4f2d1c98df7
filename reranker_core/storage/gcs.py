"""What is special to Google Cloud Storage, as gcsfs opens it."""

from __future__ import annotations

import logging
from urllib.parse import quote

import fsspec


def set_up() -> None:
    """Silence the client, which logs each failed request with a traceback."""
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)


def begin_upload(filesystem: fsspec.AbstractFileSystem, path: str) -> None:
    """Begin an upload, which the store forgets after a week: needs the permission to write, and
    writes nothing.
    """
    bucket, _, key = path.partition("/")
    url = f"{filesystem._location}/upload/storage/v1/b/{quote(bucket)}/o?name={quote(key)}"
    filesystem.call("POST", url, uploadType="resumable", json={"name": key})


def ask_for_bucket(filesystem: fsspec.AbstractFileSystem, bucket: str) -> None:
    """Raise FileNotFoundError if there is no such bucket, which may look like an empty one."""
    filesystem.call("GET", "b/{}/o", bucket, maxResults=1)
