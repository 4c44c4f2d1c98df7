"""Columns whose values are in the names of folders: `dt=2026-01-31/lang=en/part-0.parquet`.

Every folder `key=value` below the deepest common folder of all entries of `input.path` becomes a
column. Its values are always strings, so that its type does not depend on the set of shards. If
files have a column of that name, the column has the type of the files. Names are
percent-decoded; `__HIVE_DEFAULT_PARTITION__` is null.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from urllib.parse import unquote

import pyarrow as pa

from reranker_core.errors import InputError
from reranker_core.input.shards import ShardFile
from reranker_core.input.types.conversion import converted

_NULL = "__HIVE_DEFAULT_PARTITION__"


def key_folders(files: Sequence[ShardFile]) -> list[str]:
    """The folders of each shard that give it columns, joined by `/`; often the empty string."""
    bases = [_base(file) for file in files]
    shared = _shared_folder(bases)
    return [
        "/".join(
            step
            for step in f"{base[len(shared) :]}/{_plain_name(file)}".split("/")[:-1]
            if _is_key(step)
        )
        if file.keys is None  # else a table's log tells them
        else file.keys
        for base, file in zip(bases, files, strict=True)
    ]


def key_values(folders: str, shard: str) -> dict[str, str | None]:
    """Names and values of the columns that `folders` gives a shard, in their order.

    Raises:
        InputError: a name occurs twice.

    """
    found: dict[str, str | None] = {}
    for step in filter(None, folders.split("/")):
        name, _, value = step.partition("=")
        name, value = _decoded(name), _decoded(value)
        if name in found:
            raise InputError(
                f"{shard}: the partition key '{name}' occurs twice in its path; expected once"
            )
        found[name] = None if value == _NULL else value
    return found


def key_column(value: str | None, rows: int) -> pa.Array:
    """A column that holds the value of a partition key in each row."""
    return pa.repeat(pa.scalar(value, pa.string()), rows)


def check_key(column: pa.ChunkedArray, name: str, value: str | None, shard: str) -> None:
    """Make sure that a column of a file equals the partition key in its path.

    Raises:
        InputError: they differ.

    """
    for chunk in column.chunks:
        distinct = chunk.unique()
        try:
            expected = converted(key_column(value, 1), distinct.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            expected = None
        if expected is not None and (not len(distinct) or distinct.equals(expected)):
            continue
        raise InputError(
            f"{shard}: column '{name}' differs from the partition key {name}={value} in its "
            "path. Move the file to the right folder, or rename the column or the "
            "folder"
        )


def _decoded(text: str) -> str:
    """Percent-decoded; unchanged if that gives no UTF-8, so that different texts stay different."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text


def _is_key(step: str) -> bool:
    return step.find("=") > 0


def _base(file: ShardFile) -> str:
    """The folder that the shard's name is relative to."""
    name = _plain_name(file)
    return file.url[: -len(name)].rstrip("/") if file.url.endswith(f"/{name}") else ""


def _plain_name(file: ShardFile) -> str:
    """Without the number that tells shards of one name apart."""
    name, mark, number = file.name.rpartition(" #")
    return name if mark and number.isdigit() and not file.url.endswith(file.name) else file.name


def _shared_folder(bases: list[str]) -> str:
    if len(set(bases)) == 1:
        return bases[0]
    steps = [base.split("/") for base in bases]
    shared = []
    for level in zip(*steps, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return posixpath.sep.join(shared)
