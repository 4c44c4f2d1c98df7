"""Finding the shards below a folder: the same rules for folders and glob patterns.

A file is a shard if it has a Parquet suffix. Files without such a suffix are shards only if no file
has one, and only if their content is Parquet. Names that begin with `_` or `.` are skipped,
unless the pattern contains them. Links are followed.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from dataclasses import dataclass, field

import fsspec

from reranker_core.errors import InputError
from reranker_core.input.kinds import begins_as_parquet, says_nothing, without_compression
from reranker_core.input.pattern import Pattern, Position
from reranker_core.input.tables.marker import Table, table_above, table_of, tables_in
from reranker_core.storage.filesystem import is_local
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.tree import Item, below, children

SUFFIXES = (".parquet", ".parq", ".pq")
# `convert` keeps a file of this name beside its shards until all are written.
UNFINISHED = "_unfinished_convert"


@dataclass
class Found:
    """The content of a folder.

    Attributes:
        shards: the files to read.
        others: files that match the pattern, but have no Parquet suffix.
        hidden: names that begin with `_` or `.`; a folder counts once.
        loops: links to a folder that contains them.
        tables: folders below that are tables.
        unfinished: folders that `convert` has not finished.
        targets: folders that links to files lead to.

    """

    shards: list[Item] = field(default_factory=list)
    others: list[Item] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)
    loops: list[str] = field(default_factory=list)
    tables: set[Table] = field(default_factory=set)
    unfinished: set[str] = field(default_factory=set)
    targets: set[str] = field(default_factory=set)

    @property
    def passed_over(self) -> Counter[str]:
        """Number of skipped names, by reason."""
        counts = {
            "hidden": len(self.hidden),
            "not_parquet": len(self.others),
            "link_loop": len(self.loops),
        }
        return Counter({reason: count for reason, count in counts.items() if count})


def find_shards(filesystem: fsspec.AbstractFileSystem, base: Item, pattern: Pattern) -> Found:
    """All shards below the folder `base` that match `pattern`, in any order.

    Raises:
        InputError: a link that would be a shard has no target, or something with the name of a
            shard is not a file.
        OSError: a folder cannot be listed.

    """
    found = Found()
    if not is_local(filesystem) and pattern.matches(pattern.start):
        _take_all(filesystem, base, pattern, pattern.start, found)
    else:
        _walk(filesystem, base, pattern, pattern.start, (base.real,), found)
    if not found.shards:
        _take_unnamed(filesystem, found)
    for target in found.targets:
        outside = table_above(filesystem, Item(target, target, "folder"))
        found.tables |= {outside} if outside else set()
    found.tables = {table for table in found.tables if _reads(found, table)}
    return found


def is_parquet(name: str) -> bool:
    """Whether a file is Parquet by its name. Writers may add the compression inside the file to it
    (`x.parquet.gzip`); if the whole file is compressed, reading it refuses it by name.
    """
    return without_compression(name).lower().endswith(SUFFIXES)


def _walk(
    filesystem: fsspec.AbstractFileSystem,
    folder: Item,
    pattern: Pattern,
    position: Position,
    above: tuple[str, ...],
    found: Found,
) -> None:
    items = children(filesystem, folder)
    table = table_of(filesystem, folder.path, items)
    if table is not None:
        found.tables.add(table)
    if any(item.name == UNFINISHED for item in items):
        found.unfinished.add(folder.path)
    for item in items:
        entered = pattern.enter(position, item.name)
        if not entered:
            named = pattern.enter(position, item.name, hidden_too=True)
            if named and (item.kind == "folder" or pattern.matches(named)):
                found.hidden.add(item.path)
        elif item.kind == "folder":
            if item.real in above:
                found.loops.append(item.path)
                continue
            if item.real != f"{folder.real.rstrip('/')}/{item.name}":  # a link
                outside = table_above(filesystem, item)
                found.tables |= {outside} if outside else set()
            if not is_local(filesystem) and pattern.matches(entered):
                _take_all(filesystem, item, pattern, entered, found)
            else:
                _walk(filesystem, item, pattern, entered, (*above, item.real), found)
        elif pattern.matches(entered):
            if item.real != f"{folder.real.rstrip('/')}/{item.name}":
                found.targets.add(posixpath.dirname(item.real))
            _take(item, found)


def _take_all(
    filesystem: fsspec.AbstractFileSystem,
    folder: Item,
    pattern: Pattern,
    position: Position,
    found: Found,
) -> None:
    """As `_walk` where the pattern means everything below, from one listing."""
    base = folder.path.rstrip("/")
    files = below(filesystem, folder)
    names = [item.path[len(base) :].strip("/") for item in files]
    found.tables.update(tables_in(base, names))
    found.unfinished.update(
        item.path.rpartition("/")[0] for item in files if item.name == UNFINISHED
    )
    for item, name in zip(files, names, strict=True):
        at, path = position, base
        for step in name.split("/"):
            path = f"{path}/{step}"
            at = pattern.enter(at, step)
            if not at:
                found.hidden.add(path)
                break
        else:
            _take(item, found)


def _take(item: Item, found: Found) -> None:
    if item.kind == "link" and (is_parquet(item.name) or says_nothing(item.name)):
        raise InputError(
            f"{item.path}: is a link to {item.real}, which does not exist or cannot be read. "
            "Restore the target, or remove the link"
        )
    if not is_parquet(item.name):
        found.others.append(item)
    elif item.kind != "file":
        raise InputError(f"{item.path}: is a pipe, a socket or a device; expected a Parquet file")
    else:
        found.shards.append(item)


def _take_unnamed(filesystem: fsspec.AbstractFileSystem, found: Found) -> None:
    """Take files whose names tell nothing, such as Spark's part-00000, where they are Parquet."""
    asked = [item for item in found.others if item.kind == "file" and says_nothing(item.name)]
    answers = in_parallel(lambda item: begins_as_parquet(filesystem, item.path), asked)
    taken = {item.path for item, answer in zip(asked, answers, strict=True) if answer}
    found.shards = [item for item in found.others if item.path in taken]
    found.others = [item for item in found.others if item.path not in taken]


def _reads(found: Found, table: Table) -> bool:
    """Whether files of the table would be read."""
    inside = f"{table.path.rstrip('/')}/".lstrip("/" if not table.path else "")
    return any(i.path.startswith(inside) or i.real.startswith(inside) for i in found.shards)
