"""The columns of a run: roles, types, and which columns are copied to the output.

In flat shards, a row is a pair. In nested shards, a row is a query, with its candidates either in
parallel list columns or in one list of structs (written as `candidates.passage`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import pyarrow as pa

from reranker_core.config import Config
from reranker_core.errors import ConfigError, InputError
from reranker_core.input.added_columns import refuse_collisions
from reranker_core.input.missing import missing_columns
from reranker_core.input.types.common_type import is_list


@dataclass(frozen=True)
class Field:
    """The position of a value: a top-level column, or a field of the structs in a list column."""

    column: str
    member: str | None = None

    def __str__(self) -> str:
        return f"{self.column}.{self.member}" if self.member else self.column


@dataclass(frozen=True)
class InputSchema:
    """The columns of a run, resolved against what its shards have in common.

    Attributes:
        nested: whether a row is a query with its candidates.
        query_id, query, doc_id, passage, instruction: positions of these values.
        columns: columns that are read, in the order of the output.
        fields: names and types of `columns` in the output. A shard may lack a column, or have it in
            another type.
        carried: columns that are copied to the output.

    """

    nested: bool
    query_id: str
    query: str
    doc_id: Field
    passage: Field
    columns: tuple[str, ...]
    fields: tuple[pa.Field, ...]
    carried: tuple[str, ...]
    instruction: str | None = None

    def type_of(self, column: str) -> pa.DataType:
        """The common type of one of `columns`."""
        return self.fields[self.columns.index(column)].type

    @property
    def output_types(self) -> dict[str, str]:
        """Name -> type of the copied columns, as a run records them. Passages in structs are left
        out, because shards may have them in different types of text.
        """
        told = {}
        for name in self.carried:
            kind = self.type_of(name)
            if name == self.passage.column and self.passage.member is not None:
                members = [f for f in kind.value_type if f.name != self.passage.member]
                kind = pa.list_(pa.struct(members))
            told[name] = re.sub(r"(list|view)<\w+: ", r"\1<element: ", str(kind))
        return told

    @property
    def texts(self) -> tuple[str, ...]:
        """Columns that contain the texts of pairs, perhaps with other members."""
        names = (self.query, self.passage.column, self.instruction)
        return tuple(name for name in names if name is not None)

    @property
    def roles(self) -> dict[str, str]:
        """Position of each role: `query_id`, `query`, `doc_id`, `passage`, `instruction`."""
        found = {"query_id": self.query_id, "query": self.query}
        found |= {"doc_id": str(self.doc_id), "passage": str(self.passage)}
        return found | ({"instruction": self.instruction} if self.instruction else {})

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that every shard must have."""
        return tuple(dict.fromkeys((*self.texts, self.query_id, self.doc_id.column)))


def resolve_schema(
    arrow: pa.Schema,
    config: Config,
    shard: str,
    shard_of: Mapping[str, str] = MappingProxyType({}),
    own: pa.Schema | None = None,
) -> InputSchema:
    """Find the configured columns in the schema that the shards have in common.

    Args:
        arrow: the common schema.
        config: the configuration of the run.
        shard: the first shard, for messages.
        shard_of: the first shard with each column, for messages.
        own: the columns of the first shard, for messages; None if it has those of `arrow`.

    Raises:
        InputError: columns are missing, occur twice, or have the wrong type; or an input column
            has the name of a column that the job adds.

    """
    names = config.input.columns
    roles = {"query_id": names.query_id, "query": names.query}
    roles |= {"doc_id": names.doc_id, "passage": names.passage}
    if names.instruction is not None:
        roles["instruction"] = names.instruction

    def find_in(there: pa.Schema) -> dict[str, Field | None]:
        found = {role: _find(there, name, role, shard, shard_of) for role, name in roles.items()}
        if found["doc_id"] is None and "doc_id" not in names.model_fields_set:
            found["doc_id"] = _beside(there, found["passage"], names.doc_id)
        return found

    found = find_in(arrow)
    wanted = config.output.passthrough
    listed = [] if wanted == "all" else wanted
    unknown = [name for name in listed if name not in arrow.names]
    if unknown or None in found.values():
        # The first shard is named, so its own columns are told, not those of others.
        found = find_in(arrow if own is None else own)
        lacking = {f"input.columns.{role}": roles[role] for role in roles if found[role] is None}
        taken = {role: str(field) for role, field in found.items() if field is not None}
        own = arrow if own is None else own
        raise missing_columns(own, lacking, unknown, shard, arrow.names, taken)
    fields = {role: field for role, field in found.items() if field is not None}
    for role in ("query", "query_id", "instruction"):
        if role in fields and fields[role].member:
            where = shard_of.get(fields[role].column, shard)
            raise InputError(
                f"{where}: '{fields[role]}' is a field inside a list, but input.columns.{role} "
                "has one value per row. Set it to a top-level column"
            )
    _refuse_one_text_for_two(fields, shard)
    passage, doc_id = fields["passage"], fields["doc_id"]
    nested = config.input.layout == "nested" or (
        config.input.layout == "auto" and is_list(arrow.field(passage.column).type)
    )
    keys = {field.column for field in fields.values()}
    columns = tuple(
        dict.fromkeys(
            name for name in arrow.names if name in keys or wanted == "all" or name in listed
        )
    )
    for name in columns:
        refuse_double(arrow, name, shard_of.get(name, shard))
    # A struct that holds more than the passage stays, without the passage.
    keeps_more = passage.member is not None and (
        doc_id.column == passage.column or len(arrow.field(passage.column).type.value_type) > 1
    )
    query_id, query = fields["query_id"].column, fields["query"].column
    carried = tuple(
        name
        for name in columns
        if config.output.text
        or name not in (query, passage.column)
        or name in (query_id, doc_id.column)  # a text that is named as the id is wanted as one
        or (name == passage.column and keeps_more)
    )
    refuse_collisions(arrow, carried, config, shard, shard_of)
    return InputSchema(
        nested,
        query_id,
        query,
        doc_id,
        passage,
        columns,
        tuple(arrow.field(name) for name in columns),
        carried,
        names.instruction,
    )


def _refuse_one_text_for_two(fields: Mapping[str, Field], shard: str) -> None:
    """Raise InputError if one column is configured for two kinds of texts."""
    for role in ("query", "instruction"):
        for other in ("passage", "query"):
            if role != other and role in fields and fields[role] == fields[other]:
                raise InputError(
                    f"{shard}: input.columns.{role} and input.columns.{other} are both "
                    f"'{fields[role]}'; expected two columns. Set one of them to another column"
                )


def refuse_double(arrow: pa.Schema, name: str, shard: str) -> None:
    """Raise InputError if a shard has several columns `name`."""
    count = len(arrow.get_all_field_indices(name))
    if count > 1:
        raise InputError(
            f"{shard}: column '{name}' occurs {count} times; expected once. Give the columns "
            "different names. A column that is only copied can also be left out with "
            "output.passthrough=[…]"
        )


def _find(
    arrow: pa.Schema, name: str, role: str, first: str, shard_of: Mapping[str, str]
) -> Field | None:
    if name in arrow.names:
        refuse_double(arrow, name, shard_of.get(name, first))
        return Field(name)
    cuts = cut_at_dots(name, arrow.names)
    if not cuts:
        return None
    for column, _ in cuts:
        refuse_double(arrow, column, shard_of.get(column, first))
    fitting = (cut for cut in cuts if cut[1] in (_members(arrow.field(cut[0]).type) or ()))
    column, member = next(fitting, cuts[0])
    kind, shard = arrow.field(column).type, shard_of.get(column, first)
    if pa.types.is_struct(kind) and kind.get_field_index(member) >= 0:
        raise InputError(
            f"{shard}: column '{column}' is a struct; expected a list of structs, because "
            f"input.columns.{role}={name} names a field of it. Write the field as a column first, "
            f"for example with DuckDB: SELECT *, {column}.{member} AS {member}"
        )
    members = _members(kind)
    if members is None:
        return None
    if member not in members:
        raise InputError(
            f"{shard}: the structs of column '{column}' have no field '{member}' "
            f"(configured for {role}); they have {', '.join(members)}"
        )
    return Field(column, member)


def cut_at_dots(name: str, columns: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs of column and field that `name` can mean: both may have dots in their names."""
    cuts = ((name[:index], name[index + 1 :]) for index, sign in enumerate(name) if sign == ".")
    return [(column, member) for column, member in cuts if column in columns]


def _beside(arrow: pa.Schema, passage: Field | None, name: str) -> Field | None:
    """The field `name` of the structs that hold the passages, if they have one."""
    if passage is None or passage.member is None:
        return None
    members = _members(arrow.field(passage.column).type) or []
    return Field(passage.column, name) if name in members else None


def _members(kind: pa.DataType) -> list[str] | None:
    """The names of the fields of the structs in a list; None for other types."""
    if not is_list(kind) or not pa.types.is_struct(kind.value_type):
        return None
    return [field.name for field in kind.value_type]


def refuse_texts_left_out(schema: InputSchema, config: Config) -> None:
    """Refuse a column of `output.passthrough` that would be left out because it is a text. Outputs
    that have begun may lack it.

    Raises:
        ConfigError: naming the column.

    """
    listed = config.output.passthrough
    for name in () if listed == "all" else listed:
        if name not in schema.carried:
            raise ConfigError(
                f"output.passthrough: '{name}' contains the texts of pairs, which are copied only "
                "with output.text=true. Set output.text=true, or remove the name from the list"
            )
