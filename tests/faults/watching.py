"""A reader who lists an output all the time, and holds what it sees against what it may see; and a
table of what many runs met with.
"""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from reranker_core.errors import RerankError
from reranker_core.output.commit import part_of
from reranker_core.storage.store import Store


class Reader:
    """`wrong` says what was seen that must not be: half a file, a file that changed after it was
    seen, a row that is in two files of one listing.
    """

    def __init__(self, store: Store) -> None:
        self.wrong: list[str] = []
        self.looks = 0
        self._store = store
        self._seen: dict[str, tuple[object, list[str]]] = {}

    def look(self) -> None:
        """List the data files once, and read those that are new."""
        listed = {o.name: (o.size, o.md5) for o in self._store.list() if part_of(o.name)}
        rows: set[str] = set()
        for name, state in listed.items():
            if name not in self._seen:
                try:
                    table = pq.read_table(io.BytesIO(self._store.read(name)))
                except FileNotFoundError:  # retired since
                    continue
                except Exception as error:  # noqa: BLE001 - whatever it is, no reader should get it
                    self.wrong.append(f"{name}: {type(error).__name__}")
                    continue
                self._seen[name] = (state, table["doc_id"].to_pylist())
            first, ids = self._seen[name]
            if state != first:
                self.wrong.append(f"{name}: was {first}, is {state}")
            if rows.intersection(ids):
                self.wrong.append(f"{name}: its rows are in another file too")
            rows.update(ids)
        self.looks += 1

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look again and again until the end of the block."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.02):
                try:
                    self.look()
                except (RerankError, OSError):  # the server was killed
                    continue

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def show_counts(
    title: str, met: Counter[str], verdicts: Counter[str], kinds: Iterable[str]
) -> None:
    """What many runs met with, and below it what came of them."""
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    table.add_column("times", justify="right")
    for what, times in sorted(met.items()):
        table.add_row(what, str(times))
    table.add_section()
    for what in kinds:
        table.add_row(what, str(verdicts[what]))
    Console().print(table)
