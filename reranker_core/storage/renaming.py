"""Atomic writes for stores whose client only opens files: HDFS, SFTP, WebDAV. An object is
written under a temporary name, then renamed. Readers never see a part of it.
"""

from __future__ import annotations

import uuid
from contextlib import suppress

import fsspec


def needs_renaming(filesystem: fsspec.AbstractFileSystem) -> bool:
    """Whether fsspec has no request of its own for whole objects in this kind of store. Then a
    write is not atomic, and its mode `create` is not conditional.
    """
    found = getattr(filesystem.pipe_file, "__func__", None)
    return found is fsspec.AbstractFileSystem.pipe_file


def put(filesystem: fsspec.AbstractFileSystem, path: str, data: bytes) -> None:
    """Create or replace the file `path`, and the folders above it. Where the store cannot replace
    a file by renaming (HDFS), the old file is removed just before.
    """
    folder, _, name = path.rpartition("/")
    filesystem.makedirs(folder, exist_ok=True)
    temporary = f"{folder}/.{name}.{uuid.uuid4().hex}"
    filesystem.pipe_file(temporary, data)
    with suppress(OSError):
        filesystem.mv(temporary, path)
    filesystem.invalidate_cache()
    if filesystem.exists(temporary):
        if filesystem.exists(path):
            filesystem.rm_file(path)
        filesystem.mv(temporary, path)
