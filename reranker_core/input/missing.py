"""The error for configured columns that do not exist: all at once, with similar names."""

from __future__ import annotations

from difflib import get_close_matches

import pyarrow as pa

from reranker_core.errors import InputError
from reranker_core.input.types.common_type import is_bytes, is_list, is_text

# What other data sets call the columns; also in the plural.
_USUAL = {
    "query_id": ("qid", "query-id", "queryid", "q_id", "topic"),
    "query": ("question", "query_text", "q"),
    "doc_id": ("pid", "did", "docid", "docno", "passage_id", "corpus-id", "document_id"),
    "passage": (
        "passage_text",
        "doc_text",
        "document",
        "doc",
        "content",
        "contents",
        "body",
        "text",
    ),
}


def missing_columns(
    arrow: pa.Schema,
    lacking: dict[str, str],
    passthrough: list[str],
    shard: str,
    anywhere: list[str],
    taken: dict[str, str],
) -> InputError:
    """The error for columns that a shard lacks, of which at least one is in no shard.

    Args:
        arrow: the columns of the shard.
        lacking: configuration key → configured name.
        passthrough: names of output.passthrough.
        shard: for the message.
        anywhere: names of the columns of all shards; each of them can be copied.
        taken: role → its column, for the roles whose columns exist.

    """
    names = [*lacking.values(), *passthrough]
    kinds = {name: kind for field in arrow for name, kind in _addresses(field)}
    there = list(kinds)
    roles = {key.rpartition(".")[2]: name for key, name in lacking.items()}
    proposed = _proposed(roles, kinds, taken)
    remedies = [f"input.columns.{role}={proposed.get(role, '…')}" for role in roles]
    if passthrough:
        near = [found for name in passthrough if (found := _copied(name, anywhere))]
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


def _addresses(field: pa.Field) -> list[tuple[str, pa.DataType]]:
    """The names by which the configuration can call a column, or the fields of its structs."""
    if is_list(field.type) and pa.types.is_struct(field.type.value_type):
        return [(f"{field.name}.{m.name}", pa.list_(m.type)) for m in field.type.value_type]
    return [(field.name, field.type)]


def _proposed(
    roles: dict[str, str], kinds: dict[str, pa.DataType], taken: dict[str, str]
) -> dict[str, str]:
    """A column for each role whose column is missing, where one fits by name and type. No column
    is proposed for two roles, or if another role has it.
    """
    free = {name: kind for name, kind in kinds.items() if name not in taken.values()}
    found: dict[str, str] = {}
    # The passage first: it decides whether ids are lists.
    for role in sorted(roles, key=lambda role: role != "passage"):
        passage = found.get("passage") or taken.get("passage")
        fitting = [
            name
            for name, kind in free.items()
            if name not in found.values() and _can_be(role, kind, kinds.get(passage or ""))
        ]
        near = _near(roles[role], role, fitting)
        # It may be the id or the text.
        if near is not None and not (near.lower() == "q" and "query_id" in roles):
            found[role] = near
    return found


def _can_be(role: str, kind: pa.DataType, passage: pa.DataType | None) -> bool:
    """Whether a column of a type can have a role; `passage` is the type of the passages."""
    if role == "passage":
        kind = kind.value_type if is_list(kind) else kind
        return is_text(kind) or is_bytes(kind)
    if role == "doc_id":
        return passage is None or is_list(kind) == is_list(passage)
    return not is_list(kind) and (role == "query_id" or is_text(kind) or is_bytes(kind))


def _near(name: str, role: str, there: list[str]) -> str | None:
    """A column that may be meant: of a usual name for the role, or written nearly so."""
    last = {address.rpartition(".")[2].lower(): address for address in reversed(there)}
    wanted = name.rpartition(".")[2].lower()
    for other, names in _USUAL.items():
        for taken in (other, *names) if other != role else ():
            last.pop(taken, None)  # an id is no text, and a query no passage
            last.pop(f"{taken}s", None)
    for usual in (wanted, role, *_USUAL.get(role, ())):
        for form in (usual, f"{usual}s"):
            if form in last:
                return last[form]
    near = get_close_matches(wanted, list(last), 1, 0.75)
    return last[near[0]] if near else None


def _copied(name: str, there: list[str]) -> str | None:
    """A column that may be meant in output.passthrough."""
    column = name.partition(".")[0]
    if column in there:  # a field of structs is copied with its column
        return column
    near = get_close_matches(name.lower(), [each.lower() for each in there], 1, 0.75)
    return next((each for each in there if each.lower() in near), None)
