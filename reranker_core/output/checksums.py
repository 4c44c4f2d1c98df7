"""Checksums of input shards on a disk: a shard with a new modification time but the same
content is unchanged.

Files on a disk have no ETag. Their size and modification time identify the state of a shard.
`touch`, a copied folder or `rsync` without times change only the time. So during a run, the driver
reads each shard on a disk once, and writes its SHA-256 to the output:

    _checksums.json    shard -> size, SHA-256, and the ETags that this content had

A later run compares the content only of shards whose time has changed. For outputs without this
file, and for shards that were not read, size and time decide.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reranker_core.errors import RerankError, count
from reranker_core.errors.redaction import without_credentials
from reranker_core.input.plan import Plan, Shard
from reranker_core.storage.filesystem import entity_tag, info_of, is_local, open_filesystem
from reranker_core.storage.store import Store

log = logging.getLogger(__name__)

CHECKSUMS = "_checksums.json"
_CHUNK = 1 << 22
_SAVED_EVERY = 10.0  # seconds


def unchanged(store: Store, shards: dict[str, Any], plan: Plan) -> dict[str, str]:
    """The shards of `plan` that have a different ETag than in `shards`, but the same content.

    Args:
        store: the output.
        shards: rows, size and ETag of each shard when the output was started.
        plan: the current input.

    Returns:
        The ETag in the output, by shard name.

    """
    suspects = [
        shard
        for shard in plan.shards
        if (before := shards.get(shard.file.name)) is not None
        and (before["rows"], before["size"]) == (shard.rows, shard.file.size)
        and before["etag"] != shard.file.etag
        and _is_on_disk(shard)
    ]
    known = _read(store) if suspects else {}
    found: dict[str, str] = {}
    same: list[str] = []
    others: list[str] = []
    for shard in suspects:
        entry, etag = known.get(shard.file.name), shards[shard.file.name]["etag"]
        if entry is None or etag not in entry["etags"]:
            continue
        if shard.file.etag not in entry["etags"]:
            is_same = _sha256(shard, threading.Event()) == entry["sha256"]
            (same if is_same else others).append(shard.file.name)
            if not is_same:
                continue
        found[shard.file.name] = etag
    if same or others:
        log.info(
            "%s: new modification time. The content is the same in %d and differs in %d%s",
            count(len(same + others), "shard"),
            len(same),
            len(others),
            without_credentials(f", such as {others[0]}") if others else "",
        )
    return found


@contextmanager
def recording(store: Store, plan: Plan) -> Iterator[None]:
    """Record the checksums of the plan's shards in a thread, within the `with` block."""
    end = threading.Event()
    thread = threading.Thread(target=record, args=(store, plan, end), daemon=True, name="checksums")
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def record(store: Store, plan: Plan, end: threading.Event) -> None:
    """Record the missing checksums of shards on a disk, until `end` is set.

    This run does not need them. An error is logged and stops the recording.
    """
    try:
        shards = [shard for shard in plan.shards if _is_on_disk(shard)]
        known = _read(store) if shards else {}
        saved, changed = time.monotonic(), False
        for shard in shards:
            if end.is_set():
                break
            entry = _looked_at(shard, known.get(shard.file.name), end)
            if entry is not None:
                known[shard.file.name], changed = entry, True
            if changed and time.monotonic() - saved > _SAVED_EVERY:
                _write(store, known)
                saved, changed = time.monotonic(), False
        if changed:
            _write(store, known)
    except (OSError, RerankError) as error:
        log.warning("checksums of the input cannot be recorded: %s", error)


def _looked_at(
    shard: Shard, entry: dict[str, Any] | None, end: threading.Event
) -> dict[str, Any] | None:
    """What to record of a shard; None if it is known already, or if the shard is being changed."""
    file = shard.file
    now = _etag(shard)
    if entry is not None and {file.etag, now} <= set(entry["etags"]):
        return None
    sha256 = _sha256(shard, end)
    if sha256 is None or _etag(shard) != now:
        return None
    if entry is not None and file.etag in entry["etags"] and sha256 == entry["sha256"]:
        return {**entry, "etags": [*entry["etags"], now]}
    if now != file.etag:
        return None
    return {"size": file.size, "sha256": sha256, "etags": [now]}


def _sha256(shard: Shard, end: threading.Event) -> str | None:
    digest = hashlib.sha256()
    with open(_path(shard), "rb") as file:
        while chunk := file.read(_CHUNK):
            if end.is_set():
                return None
            digest.update(chunk)
    return digest.hexdigest()


def _is_on_disk(shard: Shard) -> bool:
    return is_local(open_filesystem(shard.file.url)[0])


def _path(shard: Shard) -> Path:
    return Path(open_filesystem(shard.file.url)[1])


def _etag(shard: Shard) -> str:
    return entity_tag(info_of(*open_filesystem(shard.file.url)))


def _read(store: Store) -> dict[str, Any]:
    try:
        found = json.loads(store.read(CHECKSUMS))
        return {name: entry for name, entry in found.items() if {"etags", "sha256"} <= entry.keys()}
    except (FileNotFoundError, ValueError, AttributeError):
        return {}


def _write(store: Store, known: dict[str, Any]) -> None:
    store.write(CHECKSUMS, json.dumps(known, indent=1).encode())
