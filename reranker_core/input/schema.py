"""Which columns a shard must have, in which types, and what passes through to the output.

Flat shards hold a row a pair. Nested shards hold a row a query, with its candidates either in
parallel list columns or in one list of structs (then addressed as `candidates.passage`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from reranker_core.config import Config
from reranker_core.errors import InputError


@dataclass(frozen=True)
class Field:
    """Where a value lives: a top-level column, or a field of the structs in a list column."""

    column: str
    member: str | None = None

    def __str__(self) -> str:
        return f"{self.column}.{self.member}" if self.member else self.column


@dataclass(frozen=True)
class InputSchema:
    """The columns of a run, resolved against the first shard and checked against all others."""

    nested: bool
    query_id: str
    query: str
    doc_id: Field
    passage: Field
    columns: tuple[str, ...]  # what is read, in the shard's order
    types: tuple[pa.DataType, ...]  # of `columns`; a shard may have `null` for any of them
    carried: tuple[str, ...]  # what of the columns goes on to the output
    instruction: str | None = None


def resolve_schema(arrow: pa.Schema, config: Config, shard: str) -> InputSchema:
    """Find the configured columns in the schema that the shards have in common.

    Raises:
        InputError: a column is missing, stands there twice, or has a type that does not fit; or
            a column of the input has the name of one that the job adds.

    """
    names = config.input.columns
    passage = _find(arrow, names.passage, "passage", shard)
    doc_id = _find(arrow, names.doc_id, "doc_id", shard)
    query_id = _find(arrow, names.query_id, "query_id", shard)
    query = _find(arrow, names.query, "query", shard)
    nested = config.input.layout == "nested" or (
        config.input.layout == "auto" and _is_list(arrow.field(passage.column).type)
    )
    if query.member or query_id.member:
        inner = query if query.member else query_id
        raise InputError(
            f"{shard}: '{inner}' is a field inside a list, but a query belongs to the whole row; "
            "configure a top-level column for input.columns.query and query_id"
        )
    instruction = names.instruction
    if instruction is not None:
        _single(arrow, instruction, "instruction", shard)
    text = {query.column, passage.column}
    wanted = config.output.passthrough
    if wanted != "all":
        for name in wanted:
            _single(arrow, name, "output.passthrough", shard)
    key_columns = (query_id.column, query.column, doc_id.column, passage.column, instruction)
    columns = tuple(
        name for name in arrow.names if name in key_columns or wanted == "all" or name in wanted
    )
    for name in columns:
        _single(arrow, name, name, shard)
    ids = (query_id.column, doc_id.column)
    # A struct that holds more than the passage stays, without the passage.
    keeps_more = passage.member is not None and (
        doc_id.column == passage.column or len(arrow.field(passage.column).type.value_type) > 1
    )
    carried = tuple(
        name
        for name in columns
        if config.output.text
        or name not in text
        or name in ids  # a text that is named as the id is wanted as one
        or (name == passage.column and keeps_more)
    )
    types = tuple(arrow.field(name).type for name in columns)
    schema = InputSchema(
        nested,
        query_id.column,
        query.column,
        doc_id,
        passage,
        columns,
        types,
        carried,
        instruction,
    )
    _refuse_collisions(carried, config, shard)
    return schema


def common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The first schema, with the types of later ones where it has `null`, which is what writers
    that guess types give to a column without a value.
    """
    common = schemas[0]
    for schema in schemas[1:]:
        common = filled(common, schema)
    return common


def filled(arrow: pa.Schema, reference: pa.Schema) -> pa.Schema:
    """The same schema, with the reference's types where it has `null`, also inside lists."""
    return pa.schema(
        field.with_type(_filled_type(field.type, reference.field(field.name).type))
        if reference.names.count(field.name) == 1
        else field
        for field in arrow
    )


def _filled_type(kind: pa.DataType, reference: pa.DataType) -> pa.DataType:
    if pa.types.is_null(kind):
        return reference
    if _is_list(kind) and _is_list(reference):
        value = _filled_type(kind.value_type, reference.value_type)
        return kind if value == kind.value_type else pa.list_(value)
    if pa.types.is_struct(kind) and pa.types.is_struct(reference):
        return pa.struct(
            member.with_type(_filled_type(member.type, reference.field(member.name).type))
            if reference.get_field_index(member.name) >= 0
            else member
            for member in kind
        )
    return kind


def typed(table: pa.Table, schema: InputSchema) -> pa.Table:
    """The same rows, with the types of the other shards where they may differ: columns without a
    value, and kinds of string that go on to the output.
    """
    for name, kind in zip(schema.columns, schema.types, strict=True):
        index = table.schema.get_field_index(name)
        found = table.schema.field(index).type
        if found != kind and (name in schema.carried or not is_text(found)):
            column = table.column(index)
            if pa.types.is_dictionary(found):  # which casts to few other types
                column = column.cast(found.value_type)
            table = table.set_column(index, name, column.cast(kind))
    return table


def check_schema(arrow: pa.Schema, schema: InputSchema, reference: pa.Schema, shard: str) -> None:
    """Check one shard's schema against the resolved columns and the first shard's types.

    Text columns may differ in their kind of string; all others must be equal, because the output
    is to be read as one data set.

    Raises:
        InputError: naming shard, column, expected and found type.

    """
    arrow = filled(arrow, reference)
    for name in schema.columns:
        _single(arrow, name, name, shard)
    _expect_text(arrow.field(schema.query).type, schema.query, False, shard)
    if schema.instruction is not None:
        _expect_text(arrow.field(schema.instruction).type, schema.instruction, False, shard)
    passage_type = _value_type(arrow, schema.passage, schema.nested, shard)
    _expect_text(passage_type, str(schema.passage), schema.nested, shard)
    _value_type(arrow, schema.doc_id, schema.nested, shard)
    for name in schema.carried:
        found = _beside_text(arrow.field(name).type, name, schema)
        expected = _beside_text(reference.field(name).type, name, schema)
        if found != expected:
            raise InputError(
                f"{shard}: column '{name}' is {found}, but {expected} in the first shard; "
                "write all shards with one schema, or leave the column out with "
                "output.passthrough=[…]"
            )


def _beside_text(kind: pa.DataType, name: str, schema: InputSchema) -> pa.DataType | None:
    """The part of a carried column's type that must be equal in all shards."""
    if name != schema.passage.column or schema.passage.member is None:
        return None if name in (schema.query, schema.passage.column) else kind
    return pa.struct(field for field in kind.value_type if field.name != schema.passage.member)


def is_text(kind: pa.DataType) -> bool:
    """Whether `kind` holds strings, be they plain, large, views or dictionary encoded."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _find(arrow: pa.Schema, name: str, role: str, shard: str) -> Field:
    if name not in arrow.names and "." in name:
        column, _, member = name.partition(".")
        if column in arrow.names:
            _single(arrow, column, role, shard)
        kind = arrow.field(column).type if column in arrow.names else None
        if kind is not None and _is_list(kind) and pa.types.is_struct(kind.value_type):
            members = [kind.value_type.field(i).name for i in range(kind.value_type.num_fields)]
            if member not in members:
                raise InputError(
                    f"{shard}: the structs of column '{column}' have no field '{member}' "
                    f"(configured for {role}); they have {', '.join(members)}"
                )
            return Field(column, member)
    _single(arrow, name, role, shard)
    return Field(name)


def _single(arrow: pa.Schema, name: str, role: str, shard: str) -> None:
    count = arrow.names.count(name)
    if count == 0:
        key = role if "." in role else f"input.columns.{role}"
        raise InputError(
            f"{shard}: column '{name}' is missing; the shard has {', '.join(arrow.names)}. "
            f"Name the right column with {key}=…"
        )
    if count > 1:
        raise InputError(f"{shard}: column '{name}' stands there {count} times; expected once")


def _value_type(arrow: pa.Schema, field: Field, nested: bool, shard: str) -> pa.DataType:
    """The type of one candidate's value."""
    kind = arrow.field(field.column).type
    if not nested:
        return kind
    if not _is_list(kind):
        raise InputError(
            f"{shard}: column '{field.column}' is {kind}; the nested layout expects a list with "
            "an element for each candidate. For a row a pair set input.layout=flat"
        )
    if field.member is None:
        return kind.value_type
    if not pa.types.is_struct(kind.value_type):
        raise InputError(f"{shard}: column '{field.column}' is {kind}; expected a list of structs")
    if kind.value_type.get_field_index(field.member) < 0:
        raise InputError(
            f"{shard}: the structs of column '{field.column}' have no field '{field.member}', as "
            f"in the first shard; they are {kind.value_type}"
        )
    return kind.value_type.field(field.member).type


def _expect_text(kind: pa.DataType, name: str, nested: bool, shard: str) -> None:
    if is_text(kind) or pa.types.is_null(kind):
        return
    hint = (
        "; for a row a query with lists of candidates set input.layout=nested"
        if _is_list(kind) and not nested
        else ""
    )
    raise InputError(f"{shard}: column '{name}' is {kind}; expected string{hint}")


def _refuse_collisions(carried: tuple[str, ...], config: Config, shard: str) -> None:
    added = config.output.columns
    names = [("score", added.score), ("status", added.status)]
    names += [("score", added.of_layer(layer)) for layer in config.model.cutoff_layers[:-1]]
    if config.output.normalize != "none":
        names.append(("normalized", added.normalized))
    if config.output.rank:
        names.append(("rank", added.rank))
    if config.output.label_thresholds:
        names.append(("label", added.label))
    for key in ("tokens_lost", "chunks"):
        if getattr(config.output, key):
            names.append((key, getattr(added, key)))
    for key, name in names:
        if name in carried:
            raise InputError(
                f"{shard}: column '{name}' would be overwritten by the job's own '{name}'; "
                f"rename the new one with output.columns.{key}=…, or leave the old one out with "
                "output.passthrough=[…]"
            )
    if len({name for _, name in names}) < len(names):
        raise InputError(
            f"output.columns: the names {sorted(n for _, n in names)} are not distinct"
        )
