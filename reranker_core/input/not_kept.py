"""Input columns that differ in the output: one line each, for plan and manifest."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.input.footers import Footer, leaves
from reranker_core.input.schema import InputSchema

# Annotations that say what the physical type says already.
_SAME = re.compile(
    r"^None$|^Int\(bitWidth=(32|64), isSigned=true\)$|"
    r"(, is_from_converted_type=\w+)?(, force_set_converted_type=\w+)?(?=\)$)"
)
_OWN_METADATA = {b"ARROW:schema", b"batch-reranker"}


def not_kept(
    footers: Sequence[Footer], columns: Sequence[pa.Schema], schema: InputSchema
) -> list[str]:
    """List the differences.

    Args:
        footers: the footers of the shards.
        columns: the columns of the shards, including partition keys.
        schema: the schema of the run.

    """
    kinds: dict[tuple[pa.Schema, str], Footer] = {}  # one footer for each kind of file
    for footer in footers:
        kinds.setdefault((footer.arrow, footer.metadata.created_by), footer)
    carried = [field for field in schema.fields if field.name in schema.carried]
    lines = [line for field in carried for line in _changed(field, columns)]
    written = _annotations(_as_written(carried), schema.carried)
    for footer in kinds.values():
        same = [field.name for field in carried if _has(footer.arrow, field)]
        for name, found in _annotations(footer.metadata, same).items():
            lines += [f"{name}: {what}" for what in _lost(found, written[name])]
    keys = {key for footer in kinds.values() for key in footer.metadata.metadata or {}}
    if keys - _OWN_METADATA:
        names = sorted(key.decode(errors="replace") for key in keys - _OWN_METADATA)
        lines.append(f"file metadata that is not copied: {', '.join(names)}")
    return list(dict.fromkeys(lines))


def _changed(field: pa.Field, columns: Sequence[pa.Schema]) -> Iterator[str]:
    kinds = [
        arrow.field(field.name).type for arrow in columns if arrow.get_all_field_indices(field.name)
    ]
    others = sorted({str(kind) for kind in kinds if kind != field.type and kind != pa.null()})
    if others:
        yield f"{field.name}: {', '.join(others)} in some shards becomes {field.type}"
    if len(kinds) < len(columns):
        count = len(columns) - len(kinds)
        yield f"{field.name}: null for {count} shard{'s' if count > 1 else ''} without this column"


def _has(arrow: pa.Schema, field: pa.Field) -> bool:
    return (
        bool(arrow.get_all_field_indices(field.name)) and arrow.field(field.name).type == field.type
    )


def _as_written(fields: Sequence[pa.Field]) -> pq.FileMetaData:
    buffer = io.BytesIO()
    pq.ParquetWriter(buffer, pa.schema(fields)).close()
    return pq.read_metadata(buffer)


def _annotations(
    metadata: pq.FileMetaData, names: Sequence[str]
) -> dict[str, list[tuple[str, str]]]:
    """Physical and logical type of each leaf, by column."""
    found: dict[str, list[tuple[str, str]]] = {}
    for index, name in leaves(metadata.schema, names).items():
        leaf = metadata.schema.column(index)
        logical = _SAME.sub("", str(leaf.logical_type))
        found.setdefault(name, []).append((leaf.physical_type, logical))
    return found


def _lost(found: list[tuple[str, str]], written: list[tuple[str, str]]) -> Iterator[str]:
    for (physical, logical), (_, now) in zip(found, written, strict=False):
        if physical == "INT96":
            yield "INT96 timestamps are rounded down to microseconds"
        elif logical and logical != now:
            yield f"{logical} becomes {now or 'a plain value'} in the Parquet file"
