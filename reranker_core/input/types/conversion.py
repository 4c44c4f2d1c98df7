"""Arrays in another type that holds the same values: what `common_type` has found."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reranker_core.input.types.common_type import is_list, is_text, list_of

Int64s = npt.NDArray[np.int64]


def converted(array: pa.Array, kind: pa.DataType, checked: bool = True) -> pa.Array:
    """The same values as `kind`.

    Args:
        array: of any type whose values `kind` can hold.
        kind: what the result is.
        checked: whether bytes that become strings must be valid UTF-8.

    Raises:
        pa.ArrowInvalid: a value is outside the range of `kind`, or no valid UTF-8.

    """
    found = array.type
    if found == kind:
        return array
    if pa.types.is_null(found):
        return pa.nulls(len(array), kind)
    if isinstance(found, pa.BaseExtensionType):
        return converted(array.storage, kind, checked)
    if isinstance(kind, pa.BaseExtensionType):
        storage = converted(array, kind.storage_type, checked)
        return pa.ExtensionArray.from_storage(kind, storage)
    if pa.types.is_dictionary(found):
        return _of_dictionary(array, kind, checked)
    if pa.types.is_dictionary(kind):
        encoded = converted(array, kind.value_type, checked).dictionary_encode()
        return _of_dictionary(encoded, kind, checked)
    if is_list(found) and is_list(kind):
        return with_values(array, converted(array.flatten(), kind.value_type, checked), kind)
    if pa.types.is_struct(found) and pa.types.is_struct(kind):
        return _struct(array, kind, checked)
    if pa.types.is_map(found) and pa.types.is_map(kind):
        return _map(array, kind, checked)
    if is_text(kind) and not checked:
        return pc.cast(array, options=pc.CastOptions(kind, allow_invalid_utf8=True))
    return array.cast(kind)


def converted_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The columns of `schema` with the same values. Raises as `converted`."""
    columns = [converted(batch.column(field.name), field.type) for field in schema]
    return pa.record_batch(columns, schema)


def combined(column: pa.ChunkedArray) -> pa.Array:
    """The chunks as one array. Narrow indices of dictionaries become int32, because the chunks'
    dictionaries together may have more values than narrow ones can number.
    """
    kind = _with_wide_indices(column.type)
    if kind != column.type:
        chunks = [converted(chunk, kind) for chunk in column.chunks]
        column = pa.chunked_array(chunks, kind)
    found = column.combine_chunks()
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def has_room(column: pa.ChunkedArray) -> bool:
    """Whether the indices of dictionaries can number all values of the chunks together."""
    kind = column.type
    if _with_wide_indices(kind) == kind or column.num_chunks < 2:
        return True
    return _has_room(combined(column), kind)


def _has_room(wide: pa.Array, kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        signed = pa.types.is_signed_integer(kind.index_type)
        return bool(len(wide.dictionary) <= 2 ** (kind.index_type.bit_width - signed))
    if is_list(kind):
        return _has_room(wide.flatten(), kind.value_type)
    members = range(kind.num_fields) if pa.types.is_struct(kind) else ()
    return all(_has_room(wide.field(i), kind.field(i).type) for i in members)


def _with_wide_indices(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind) and kind.index_type.bit_width < 32:
        return pa.dictionary(pa.int32(), kind.value_type, kind.ordered)
    if is_list(kind):
        return list_of(kind, kind.value_field.with_type(_with_wide_indices(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_with_wide_indices(field.type)) for field in kind])
    return kind


def list_lengths(lists: pa.Array) -> Int64s:
    """Values of each list; 0 where it is null. Their sum is the length of `lists.flatten()`."""
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    return np.where(is_valid(lists), lengths, 0).astype(np.int64)  # fixed-size ones say their size


def is_valid(array: pa.Array) -> npt.NDArray[np.bool_]:
    """Which values are not null."""
    return np.asarray(array.is_valid().to_numpy(zero_copy_only=False))


def with_values(lists: pa.Array, values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Lists of type `kind`, as long and as null as `lists`, with other values in the same order.

    Args:
        lists: of any kind of list.
        values: as many as `lists.flatten()` has.
        kind: the type of the result; of fixed size only where `lists` is.

    """
    valid = is_valid(lists)
    mask = None if valid.all() else pa.array(~valid)
    if pa.types.is_fixed_size_list(kind):
        slots = np.full((len(lists), kind.list_size), -1, np.int64)
        slots[valid] = np.arange(valid.sum() * kind.list_size).reshape(-1, kind.list_size)
        flat = slots.ravel()
        filled = values if mask is None else values.take(pa.array(flat, mask=flat < 0))
        return pa.FixedSizeListArray.from_arrays(filled, type=kind, mask=mask)
    lengths = list_lengths(lists)
    ends = np.cumsum(lengths)
    large = pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind)
    width = np.int64 if large else np.int32
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        maker = pa.LargeListViewArray if large else pa.ListViewArray
        starts, sizes = (ends - lengths).astype(width), lengths.astype(width)
        return maker.from_arrays(pa.array(starts), pa.array(sizes), values, type=kind, mask=mask)
    maker = pa.LargeListArray if large else pa.ListArray
    offsets = pa.array(np.concatenate([[0], ends]).astype(width))
    return maker.from_arrays(offsets, values, type=kind, mask=mask)


def _of_dictionary(array: pa.Array, kind: pa.DataType, checked: bool) -> pa.Array:
    if not pa.types.is_dictionary(kind):
        return converted(array.dictionary_decode(), kind, checked)
    return pa.DictionaryArray.from_arrays(
        array.indices.cast(kind.index_type),
        converted(array.dictionary, kind.value_type, checked),
        ordered=kind.ordered,
    )


def _struct(array: pa.Array, kind: pa.DataType, checked: bool) -> pa.Array:
    names, wanted = ([field.name for field in each] for each in (array.type, kind))
    # Members of one name can only be told apart by their positions.
    places = range(len(names)) if names == wanted else map(array.type.get_field_index, wanted)
    members = [
        converted(_member(array, index, field), field.type, checked)
        if index >= 0
        else pa.nulls(len(array), field.type)
        for index, field in zip(places, kind, strict=True)
    ]
    mask = None if not array.null_count else array.is_null()
    return pa.StructArray.from_arrays(members, fields=list(kind), mask=mask)


def _member(array: pa.StructArray, index: int, field: pa.Field) -> pa.Array:
    """The values of a member. Null where the struct is, unless the member may never be null: there
    it has some value.
    """
    return pc.struct_field(array, [index]) if field.nullable else array.field(index)


def _map(array: pa.Array, kind: pa.DataType, checked: bool) -> pa.Array:
    found = array.type
    pairs = array.cast(pa.list_(pa.struct([found.key_field, found.item_field])))
    values = pairs.flatten()
    keys = converted(pc.struct_field(values, [0]), kind.key_type, checked)
    items = converted(pc.struct_field(values, [1]), kind.item_type, checked)
    offsets = np.concatenate([[0], np.cumsum(list_lengths(pairs))]).astype(np.int32)
    mask = None if not pairs.null_count else pairs.is_null()
    return pa.MapArray.from_arrays(pa.array(offsets), keys, items, type=kind, mask=mask)
