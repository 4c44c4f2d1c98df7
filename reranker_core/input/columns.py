"""The columns of all shards together. Each column has a type that can represent all shards' values.

common_schema    all columns
check_schema     whether the columns of a shard fit
typed            the rows of a shard, with all columns and the common types
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from reranker_core.errors import InputError, brief
from reranker_core.input.missing import lost_columns
from reranker_core.input.schema import Field, InputSchema, refuse_double
from reranker_core.input.types.common_type import (
    common_field,
    common_type,
    is_bytes,
    is_list,
    is_text,
)
from reranker_core.input.types.conversion import converted


def common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """All columns, in the order in which they first occur.

    A column is nullable if it is nullable in one schema or missing in one. If no type can represent
    the values of all schemas, the column gets the type of the first schema that has it. Then
    `check_schema` refuses the others.
    """
    distinct = distinct_schemas(schemas)
    found: dict[str, list[pa.Field]] = {}
    doubles: list[pa.Field] = []
    for schema in distinct:
        counts = Counter(schema.names)
        for field in schema:
            if counts[field.name] > 1:
                doubles.append(field)
            else:
                found.setdefault(field.name, []).append(field)
    common = []
    for fields in found.values():
        field = common_field(fields) or fields[0]
        common.append(field if len(fields) == len(distinct) else field.with_nullable(True))
    names = [field.name for field in doubles]
    return pa.schema([f for f in common if f.name not in names] + doubles[: max(2, len(names))])


def distinct_schemas(schemas: Sequence[pa.Schema]) -> list[pa.Schema]:
    """Each different schema once, in order. Metadata of fields counts as a difference."""
    return list({schema.serialize().to_pybytes(): schema for schema in schemas}.values())


def check_schema(arrow: pa.Schema, schema: InputSchema, reference: pa.Schema, shard: str) -> None:
    """Check one shard's columns against those of the run.

    Args:
        arrow: schema of the shard.
        schema: the columns that the run reads.
        reference: the common schema of all shards.
        shard: name of the shard, for messages.

    Raises:
        InputError: naming shard, column, expected and found type.

    """
    lost = [name for name in schema.required if name not in arrow.names]
    if lost:
        raise lost_columns(lost, arrow, shard)
    for name in schema.columns:
        refuse_double(arrow, name, shard)
    _refuse_other_layout(arrow, schema, reference, shard)
    _expect_text(arrow.field(schema.query).type, schema.query, schema.nested, shard)
    if schema.instruction is not None:
        _expect_text(arrow.field(schema.instruction).type, schema.instruction, schema.nested, shard)
    passage = _value_type(arrow, schema.passage, schema.nested, shard)
    _expect_text(passage, str(schema.passage), schema.nested, shard)
    _expect_one_id(_value_type(arrow, schema.doc_id, schema.nested, shard), schema, shard)
    there = set(arrow.names)
    for name in schema.carried:
        if name not in there:
            continue
        found = _beside_text(arrow.field(name).type, name, schema)
        expected = _beside_text(reference.field(name).type, name, schema)
        if common_type([found, expected]) != expected:
            raise _unlike(name, found, expected, schema, shard)


def typed(table: pa.Table, schema: InputSchema) -> pa.Table:
    """The same rows with the columns and types of the run. Texts that are not copied keep their
    type.

    Raises:
        InputError: a value is outside the range of the common type.

    """
    columns, fields = [], []
    for field in schema.fields:
        column = table.column(field.name)
        if column.type != field.type and (field.name in schema.carried or not _scorable(column)):
            column = _converted(column, field, field.name not in schema.texts)
        nullable = field.nullable or bool(column.null_count)
        columns.append(column)
        fields.append(pa.field(field.name, column.type, nullable, field.metadata))
    return pa.table(columns, pa.schema(fields))


def _converted(column: pa.ChunkedArray, field: pa.Field, checked: bool) -> pa.ChunkedArray:
    try:
        chunks = [converted(chunk, field.type, checked) for chunk in column.chunks]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"column '{field.name}': cannot convert {column.type} to {field.type}, the common type "
            f"of all shards: {brief(error)}. Write all shards with one type, or leave "
            "the column out with output.passthrough=[…]"
        ) from None
    return pa.chunked_array(chunks, field.type)


def _scorable(column: pa.ChunkedArray) -> bool:
    kind = column.type.value_type if is_list(column.type) else column.type
    return is_text(kind) or is_bytes(kind)


def _refuse_other_layout(
    arrow: pa.Schema, schema: InputSchema, reference: pa.Schema, shard: str
) -> None:
    """Refuse a nested shard beside flat ones, and the other way around."""
    name = schema.passage.column
    found, expected = arrow.field(name).type, reference.field(name).type
    if not pa.types.is_null(found) and is_list(found) != is_list(expected):
        raise InputError(
            f"{shard}: column '{name}' is {found}, but {expected} in other shards, so one of them "
            "is flat and the other nested. Score flat and nested shards in two runs, each with its "
            "own input.path and output.path"
        )


def _unlike(
    name: str, found: pa.DataType, expected: pa.DataType, schema: InputSchema, shard: str
) -> InputError:
    said = f"{shard}: column '{name}' is {found}, but {expected} in other shards. No type can "
    said += "hold the values of both exactly. "
    if name in (schema.query_id, schema.doc_id.column, schema.passage.column):
        said += (
            f"Write '{name}' with one type in all shards: ids are always in the output, so "
            "output.passthrough cannot leave this column out"
        )
    else:
        roles = (*schema.required, name)
        rest = ", ".join(other for other in schema.carried if other not in roles)
        said += "Write all shards with one type, "
        said += f"or leave the column out with output.passthrough=[{rest}]"
    return InputError(said)


def _beside_text(kind: pa.DataType, name: str, schema: InputSchema) -> pa.DataType:
    """The part of a carried column's type that goes on to the output with any kind of text."""
    if name != schema.passage.column or schema.passage.member is None or not is_list(kind):
        return kind
    value = kind.value_type
    if not pa.types.is_struct(value):
        return kind
    return pa.struct(field for field in value if field.name != schema.passage.member)


def _value_type(arrow: pa.Schema, field: Field, nested: bool, shard: str) -> pa.DataType:
    """The type of one candidate's value."""
    kind = arrow.field(field.column).type
    if not nested or pa.types.is_null(kind):
        return kind
    if not is_list(kind):
        raise InputError(
            f"{shard}: column '{field.column}' is {kind}; the nested layout expects a list with "
            "one element per candidate. If each row is one pair, set input.layout=flat"
        )
    if field.member is None or pa.types.is_null(kind.value_type):
        return kind.value_type
    if not pa.types.is_struct(kind.value_type):
        raise InputError(f"{shard}: column '{field.column}' is {kind}; expected a list of structs")
    if kind.value_type.get_field_index(field.member) < 0:
        raise InputError(
            f"{shard}: the structs of column '{field.column}' have no field '{field.member}', "
            f"which other shards have; they are {kind.value_type}"
        )
    return kind.value_type.field(field.member).type


def _expect_text(kind: pa.DataType, name: str, nested: bool, shard: str) -> None:
    if is_text(kind) or is_bytes(kind) or pa.types.is_null(kind):
        return
    hint = (
        "; if each row is one query with lists of candidates, set input.layout=nested"
        if is_list(kind) and not nested
        else ""
    )
    raise InputError(
        f"{shard}: column '{name}' is {kind}; expected string"
        + (hint or ". Write the texts as strings, or name another column with input.columns")
    )


def _expect_one_id(kind: pa.DataType, schema: InputSchema, shard: str) -> None:
    """Refuse lists of texts as the ids of flat rows: such rows are nested, and another column was
    taken for the passage.
    """
    if not schema.nested and is_list(kind) and is_text(kind.value_type):
        raise InputError(
            f"{shard}: column '{schema.doc_id}' is {kind}, but '{schema.passage}' has one text for "
            "each row; expected one id for each row. If each row is one query with lists of "
            "candidates, set input.columns.passage to the list of passages. Otherwise set "
            "input.columns.doc_id to another column"
        )
