"""Messages about entries of `input.path` without shards: the cause, with the absolute path."""

from __future__ import annotations

import posixpath
import shlex
from urllib.parse import unquote

import fsspec

from reranker_core.input.address import Address
from reranker_core.input.kinds import (
    PREDICTIONS,
    RUN,
    WEIGHTS,
    by_name,
    named_or_seen,
    suffix_of,
    summary,
)
from reranker_core.input.listing import SUFFIXES, Found
from reranker_core.storage.filesystem import is_local
from reranker_core.storage.tree import Item, children, item_at

_EXPECTED = f"expected files that end in {', '.join(SUFFIXES)}"
_BRACES = ". Braces are not glob patterns. Give a list instead: input.path=[…, …]"
_SHOWN = 3
_OF_BEIR = {"corpus.jsonl", "queries.jsonl"}


def nothing_there(where: Address) -> str:
    """Why the folder or file of an entry does not exist, as a message."""
    looked = where.path if is_local(where.filesystem) else where.url
    if item_at(where.filesystem, where.path) is not None:
        return f"{_head(where)} {looked} is a file; expected a folder before {where.steps[0]}"
    text = f"{_head(where)} {looked} does not exist"
    above = _nearest(where.filesystem, where.path)
    if above is not None:
        text += f"; the nearest folder that exists is {above}"
    decoded = unquote(where.path)
    if decoded != where.path and item_at(where.filesystem, decoded) is not None:
        text += f". {decoded} exists: input.path is not percent-decoded"
    elif "{" in where.entry:
        text += _BRACES
    return text


def not_a_file(where: Address, item: Item) -> str:
    """Why an item that is neither file nor folder is not read, as a message."""
    if item.kind == "link":
        return (
            f"{_head(where)} {item.path} is a link to {item.real}, which does not exist or "
            "cannot be read"
        )
    return f"{_head(where)} {item.path} is a pipe, a socket or a device; expected a file"


def nothing_found(where: Address, folder: Item, found: Found) -> str:
    """Why no file below the folder of an entry is a shard, as a message.

    Args:
        where: the entry.
        folder: its fixed folder, which exists.
        found: the files that were skipped.

    """
    return f"{_head(where)} {_reason(where, folder, found)}"


def _reason(where: Address, folder: Item, found: Found) -> str:
    if found.others:
        holds = "the matching files are" if where.steps else f"{folder.path} contains"
        text = f"{holds} {summary(item.name for item in found.others)}, but no Parquet file"
        text += "".join(f". {remedy}" for remedy in _remedies(where, found)) or f"; {_EXPECTED}"
        return text + (f" (also {_hidden(found)})" if found.hidden else "")
    if found.hidden:
        return (
            f"all files there were skipped: {_hidden(found)}, such as "
            f"{', '.join(sorted(found.hidden)[:_SHOWN])}. Names that begin with _ or . are read "
            "only where input.path itself names them"
        )
    if not where.steps:
        return f"{folder.path} is an empty folder; {_EXPECTED}"
    names = sorted(item.name for item in children(where.filesystem, folder))
    held = f"contains {', '.join(names[:_SHOWN])}" if names else "is empty"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    text = f"nothing matches {'/'.join(where.steps)} in {folder.path}, which {held}{more}"
    if "{" in where.entry:
        text += _BRACES
    return text


def _remedies(where: Address, found: Found) -> list[str]:
    """What to do with the files that are there, a line for each suffix that is known."""
    if any(by_name(item.name) is WEIGHTS for item in found.others):
        return [WEIGHTS.remedy]
    folders = {posixpath.dirname(item.path) for item in found.others if item.name in _OF_BEIR}
    for folder in folders:
        if {item.name for item in found.others if item.path.startswith(f"{folder}/")} >= _OF_BEIR:
            return [
                "This is a BEIR data set. Convert it first: batch-reranker convert --beir "
                f"{shlex.quote(folder)} --split test --to FOLDER, or with --run RUN for the "
                "candidates of a first stage"
            ]
    files: dict[str, str] = {}
    for item in found.others:
        folder, suffix = posixpath.split(item.path)[0], suffix_of(item.name)
        if suffix in files or (by_name(item.name) is None and len(files) >= _SHOWN):
            continue
        kind = named_or_seen(where.filesystem, item.path)
        if kind in (RUN, PREDICTIONS):
            files[suffix] = kind.remedy.replace("{file}", shlex.quote(item.path))
        elif kind is not None:
            many = f"{shlex.quote(folder)}/*{suffix}"
            files[suffix] = kind.remedy.replace("{file}", many).replace("Convert it", "Convert")
    return list(files.values())


def _head(where: Address) -> str:
    return f"input.path={where.entry}: no shards there:"


def _hidden(found: Found) -> str:
    count = len(found.hidden)
    return (
        f"{count} name{'s' if count > 1 else ''} that begin{'' if count > 1 else 's'} with _ or ."
    )


def _nearest(filesystem: fsspec.AbstractFileSystem, path: str) -> str | None:
    """The nearest folder above that exists; objects have none of their own."""
    while is_local(filesystem) and path not in ("", "/"):
        path = posixpath.dirname(path.rstrip("/"))
        if path and item_at(filesystem, path) is not None:
            return path
    return None
