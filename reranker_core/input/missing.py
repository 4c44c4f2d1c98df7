"""The error for configured columns that do not exist: all at once, with similar names."""

from __future__ import annotations

from difflib import get_close_matches

import pyarrow as pa

from reranker_core.errors import InputError
from reranker_core.input.types.common_type import is_list

# What other data sets call the columns.
_USUAL = {
    "query_id": ("qid", "query-id", "queryid", "q_id", "topic"),
    "query": ("q", "question", "query_text"),
    "doc_id": ("pid", "did", "docid", "docno", "passage_id", "corpus-id", "document_id"),
    "passage": (
        "text",
        "document",
        "doc",
        "content",
        "contents",
        "passage_text",
        "doc_text",
        "body",
    ),
}


def missing_columns(
    arrow: pa.Schema,
    lacking: dict[str, str],
    passthrough: list[str],
    shard: str,
    anywhere: list[str],
) -> InputError:
    """The error for columns that a shard lacks, of which at least one is in no shard.

    Args:
        arrow: the columns of the shard.
        lacking: configuration key → configured name.
        passthrough: names of output.passthrough.
        shard: for the message.
        anywhere: names of the columns of all shards; each of them can be copied.

    """
    names = [*lacking.values(), *passthrough]
    there = [name for field in arrow for name in _addresses(field)]
    remedies = [f"{key}={_near(name, key, there) or '…'}" for key, name in lacking.items()]
    if passthrough:
        near = [found for name in passthrough if (found := _near(name, "", anywhere))]
        remedies.append(f"output.passthrough=[{', '.join(near) or '…'}]")
    said = "column " if len(names) == 1 else "columns "
    said += ", ".join(f"'{name}'" for name in names)
    right = "the right column" if len(names) == 1 else "the right columns"
    advice = f"Set {right} with {' '.join(remedies)}"
    if is_output(arrow) and "input.columns.passage" in lacking:
        advice = (
            "This seems to be an output of batch-reranker, without texts. Set input.path to the "
            "input of that run"
        )
    return InputError(
        f"{shard}: {said} {'is' if len(names) == 1 else 'are'} missing; the columns are "
        f"{', '.join(there) or 'none'}. {advice}"
    )


def is_output(arrow: pa.Schema) -> bool:
    """Whether these are the columns of an output of this job, under their usual names."""
    return {"score", "status"} <= set(arrow.names)


def lost_columns(names: list[str], arrow: pa.Schema, shard: str) -> InputError:
    """The error for required columns that only other shards have."""
    said = ", ".join(f"'{name}'" for name in names)
    one = len(names) == 1
    return InputError(
        f"{shard}: {'column' if one else 'columns'} {said} {'is' if one else 'are'} missing, "
        f"although other shards have {'it' if one else 'them'}; the columns are "
        f"{', '.join(arrow.names)}. Every shard must have query, passage and ids. Add the "
        f"{'column' if one else 'columns'} to this shard, or remove the shard from input.path"
    )


def _addresses(field: pa.Field) -> list[str]:
    if is_list(field.type) and pa.types.is_struct(field.type.value_type):
        return [f"{field.name}.{member.name}" for member in field.type.value_type]
    return [field.name]


def _near(name: str, key: str, there: list[str]) -> str | None:
    """A column that may be meant: of a usual name for the role, or written nearly so."""
    if not key and name.partition(".")[0] in there:  # a field of structs passes with its column
        return name.partition(".")[0]
    last = {address.rpartition(".")[2].lower(): address for address in reversed(there)}
    wanted, role = name.rpartition(".")[2].lower(), key.rpartition(".")[2]
    for other, names in _USUAL.items():
        for taken in (other, *names) if role in _USUAL and other != role else ():
            last.pop(taken, None)  # an id is no text, and a query no passage
    for usual in (wanted, *_USUAL.get(role, ())):
        if usual in last:
            return last[usual]
    near = get_close_matches(wanted, list(last), 1, 0.75)
    return last[near[0]] if near else None
