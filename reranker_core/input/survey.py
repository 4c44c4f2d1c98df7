"""The common schema of all shards, from their footers and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from reranker_core.config import Config
from reranker_core.errors import InputError
from reranker_core.input.columns import check_schema, common_schema
from reranker_core.input.footers import Footer
from reranker_core.input.not_kept import not_kept
from reranker_core.input.partitions import key_values
from reranker_core.input.schema import InputSchema, resolve_schema
from reranker_core.input.shards import ShardFile
from reranker_core.input.types.common_type import common_type


@dataclass(frozen=True)
class Survey:
    """Facts from the footers and names of all shards.

    Attributes:
        schema: the schema of the run.
        as_first: whether the output has just the columns and types of the first shard. Outputs
            that an earlier version began, and that do not tell their columns, have these.
        not_kept: differences between input and output columns, one line each.

    """

    schema: InputSchema
    as_first: bool
    not_kept: tuple[str, ...]


def survey(
    files: Sequence[ShardFile], footers: list[Footer], folders: list[str], config: Config
) -> Survey:
    """Resolve the configured columns against all shards, and check each shard against them.

    Raises:
        InputError: columns are missing or have the wrong type; the message names the shard.

    """
    # Shards without rows often have guessed types; they count only where there is nothing else.
    filled = [i for i, footer in enumerate(footers) if footer.rows] or [0]
    schemas = [_with_keys(footers[i].arrow, folders[i], files[i]) for i in filled]
    urls = [files[i].url for i in filled]
    union = common_schema(schemas)
    # A key is text unless files have a column of its name.
    keys = {name for each in dict.fromkeys(folders) for name in key_values(each, urls[0])}
    common = pa.schema(
        field.with_type(pa.string())
        if field.name in keys and pa.types.is_null(field.type)
        else field
        for field in union
    )
    shard_of: dict[str, str] = {}
    for arrow, url in zip(schemas, urls, strict=True):
        for name in arrow.names:
            shard_of.setdefault(name, url)
    schema = resolve_schema(common, config, urls[0], shard_of, schemas[0])
    _refuse_twins(schemas, schema, urls)
    checked: set[bytes] = set()
    for arrow, url in zip(schemas, urls, strict=True):
        serialized = arrow.serialize().to_pybytes()
        if serialized not in checked:
            check_schema(arrow, schema, common, url)
            checked.add(serialized)
    first = footers[filled[0]].metadata.schema.to_arrow_schema()

    lines = not_kept([footers[i] for i in filled], schemas, schema)
    return Survey(schema, _as_first(first, schema), tuple(lines))


def _with_keys(arrow: pa.Schema, folders: str, file: ShardFile) -> pa.Schema:
    """The columns of a shard and its partition keys, whose type is open if no table tells it."""
    types = pa.schema([]) if file.key_types is None else file.key_types
    for name in key_values(folders, file.url):
        if name not in arrow.names:
            known = name in types.names
            arrow = arrow.append(types.field(name) if known else pa.field(name, pa.null()))
    return arrow


def _refuse_twins(schemas: list[pa.Schema], schema: InputSchema, urls: list[str]) -> None:
    """Refuse `Lang` in one shard and `lang` in another: a reader that ignores case, such as Spark
    or DuckDB, cannot tell them apart in one output. Shards that all have both keep them.
    """
    named: dict[str, list[str]] = {}
    for name in schema.carried:
        named.setdefault(name.casefold(), []).append(name)
    for twins in (names for names in named.values() if len(names) > 1):
        for arrow, url in zip(schemas, urls, strict=True):
            here = [name for name in twins if name in arrow.names]
            if here and len(here) < len(twins):
                other = next(name for name in twins if name not in here)
                roles = (*schema.required, *twins)
                rest = ", ".join(name for name in schema.carried if name not in roles)
                raise InputError(
                    f"{url}: column '{here[0]}' is called '{other}' in other shards. Readers "
                    "that ignore case, such as Spark and DuckDB, cannot tell them apart. Write "
                    f"all shards with one name, or list the columns to copy without one of them: "
                    f"output.passthrough=[{', '.join(filter(None, [rest, here[0]]))}]"
                )


def _as_first(first: pa.Schema, schema: InputSchema) -> bool:
    """Whether the first shard has all carried columns, in their types where it has values."""
    fields = {field.name: field for field in schema.fields}
    there = set(first.names)
    return all(
        name in there and _filled_by(first.field(name).type, fields[name].type)
        for name in schema.carried
    )


def _filled_by(kind: pa.DataType, other: pa.DataType) -> bool:
    return kind == other or ("null" in str(kind) and common_type([kind, other]) == other)
