"""One version of a table: which files are live, and what a reader must know beside them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from urllib.parse import quote

import pyarrow as pa

from reranker_core.errors import InputError, RerankError, brief
from reranker_core.input.tables.marker import TITLES, Table

_LIBRARIES = {"delta": "deltalake", "iceberg": "pyiceberg"}
_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class LiveFile:
    """A Parquet file of a snapshot.

    Attributes:
        url: what opens it.
        name: its path below the table's folder, where it lies there.
        keys: columns with one value for the whole file that the file itself lacks, as steps
            `key=value` of a path, encoded as Hive encodes them.
        key_types: their types; those that are not told are text.
        size: bytes, as the table has it; None: it does not tell.

    """

    url: str
    name: str
    keys: str = ""
    key_types: pa.Schema | None = None
    size: int | None = None


@dataclass(frozen=True)
class Snapshot:
    """One version of a table.

    Attributes:
        version: of a Delta table; of an Iceberg table, the snapshot's id.
        files: those that are live in it.

    """

    version: int
    files: tuple[LiveFile, ...]


def read_snapshot(table: Table, url: str, version: int | None) -> Snapshot:
    """The live files of a table by its own library.

    Args:
        table: which format.
        url: of the table's folder.
        version: which snapshot; None: the newest.

    Raises:
        InputError: the library is missing, the snapshot cannot be read, or its rows are not those
            of its files (deletion vectors, delete files, mapped columns).

    """
    with _named_errors(table, url, version):
        snapshot: Snapshot = _reader(table, url).snapshot(url, version)
    return snapshot


def read_rows(table: Table, url: str, version: int | None) -> pa.RecordBatchReader:
    """The rows of a table by its own library, which leaves out deleted rows and gives columns the
    names of the table.

    Args:
        table: which format.
        url: of the table's folder.
        version: which snapshot; None: the newest.

    Raises:
        InputError: the library is missing or cannot read the table.

    """
    with _named_errors(table, url, version):
        rows: pa.RecordBatchReader = _reader(table, url).rows(url, version)

    def batches() -> Iterator[pa.RecordBatch]:
        with _named_errors(table, url, version):
            yield from rows

    return pa.RecordBatchReader.from_batches(rows.schema, batches())


def _reader(table: Table, url: str) -> ModuleType:
    title = TITLES[table.format]
    library = _LIBRARIES.get(table.format)
    if library is None:
        raise InputError(
            f"{url}: is {article(table)} {title} table, which the job cannot read. {way_out(table)}"
        )
    try:
        import_module(library)
    except ImportError:
        raise InputError(
            f"{url}: is {article(table)} {title} table, and the library {library} is not "
            f"installed. Run: pip install 'batch-reranker[{table.format}]'. Or: {way_out(table)}"
        ) from None
    return import_module(f"reranker_core.input.tables.{table.format}")


@contextmanager
def _named_errors(table: Table, url: str, version: int | None) -> Iterator[None]:
    try:
        yield
    except RerankError:
        raise
    except Exception as error:  # noqa: BLE001 - each library has its own
        asked = "" if version is None else f" at snapshot {version}"
        raise InputError(
            f"{url}: this {TITLES[table.format]} table cannot be read{asked}: {brief(error)}. "
            f"{way_out(table)}"
        ) from None


def article(table: Table) -> str:
    """That of the format's name."""
    return "an" if table.format == "iceberg" else "a"


def way_out(table: Table) -> str:
    """What to do with a table that no library here can read."""
    return (
        f"Export the rows of one version of the {TITLES[table.format]} table as Parquet files "
        "with the program that writes the table, and set input.path to their folder"
    )


def refuse(url: str, why: str) -> InputError:
    """The error for a table whose rows are not simply those of its files."""
    return InputError(
        f"{url}: {why}, so its files cannot be read one by one. Convert its rows first: "
        f"batch-reranker convert {shlex.quote(url)} --to FOLDER"
    )


def hive_steps(values: Mapping[str, str | None]) -> str:
    """Columns with one value, as Hive writes them into names of folders."""
    return "/".join(
        f"{quote(name, safe='')}={_NULL if value is None else quote(value, safe='')}"
        for name, value in values.items()
    )
