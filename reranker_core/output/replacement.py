"""The files of an output are replaced by those of a derived one, after a change of its columns.

    _derived/           the derived output, while it is written
    _derived/_ready     it is proven. From now on it holds the scores; its files are put in place

Until `_ready` is there, the old files are untouched, and the folder can be removed. Afterwards the
files are put in place by the next run, however often it is interrupted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reranker_core.errors import OutputConflict
from reranker_core.output.commit import data_name
from reranker_core.output.identity import RUN_FILE, recorded
from reranker_core.output.inventory import take_inventory
from reranker_core.output.lease import FOLDER as LEASES
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.store import Store

FOLDER = "_derived"
_READY = "_ready"


def derived_store(store: Store) -> Store:
    """The folder for the derived output of `store`."""
    return store.below(FOLDER)


def is_pending(store: Store) -> bool:
    """Whether the files of a derived output are being put in place."""
    return store.exists(f"{FOLDER}/{_READY}")


def make_ready(store: Store) -> None:
    """Record that the derived output is proven."""
    store.write(f"{FOLDER}/{_READY}", b"")


def begun(store: Store) -> dict[str, Any] | None:
    """The identity of the derived output; None if it is not begun."""
    try:
        return recorded(derived_store(store))
    except OutputConflict:  # remains of one that was removed
        return None


def discard(store: Store, but_lease: bool = False) -> None:
    """Remove the derived output, if there is one, with or without its lease."""
    names = {listed.name for listed in store.list(FOLDER)}
    # Not where there is none: a network may deliver a deletion after the run is over.
    if f"{FOLDER}/{_READY}" in names:
        store.delete(f"{FOLDER}/{_READY}")  # first: without it, nothing is put in place
    if names:
        derived_store(store).clear(LEASES if but_lease else None)


def put_in_place(store: Store, check: Callable[[], None]) -> None:
    """Replace the files of the output by those of its derived output, which is ready.

    May be interrupted and repeated. `check` is called before each file and raises an error if
    another driver has taken over.
    """
    source = derived_store(store)
    new, old = take_inventory(source), take_inventory(store)
    store.write(RUN_FILE, source.read(RUN_FILE))
    store.delete(*old.keys)  # they belong to one data file only
    # Before the new ones come, so that a reader never sees a row twice.
    store.delete(*(data_name(part) for part in old.data.keys() - new.data.keys()))
    store.delete(*(set(old.receipts) - set(new.receipts)))
    store.delete(*(old.quarantine - new.quarantine))

    def put(name: str) -> None:
        check()
        store.write(name, source.read(name))

    names = [*map(data_name, new.data), *new.quarantine, *new.keys, *new.receipts]
    for _ in in_parallel(put, names):
        pass
    discard(store)
