"""Arrays in another type that holds the same values: what `common_type` has found."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reranker_core.input.types.common_type import is_list, is_text

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
    members = [
        converted(pc.struct_field(array, [index]), field.type, checked)
        if (index := array.type.get_field_index(field.name)) >= 0
        else pa.nulls(len(array), field.type)
        for field in kind
    ]
    mask = None if not array.null_count else array.is_null()
    return pa.StructArray.from_arrays(members, fields=list(kind), mask=mask)


def _map(array: pa.Array, kind: pa.DataType, checked: bool) -> pa.Array:
    found = array.type
    pairs = array.cast(pa.list_(pa.struct([found.key_field, found.item_field])))
    values = pairs.flatten()
    keys = converted(pc.struct_field(values, [0]), kind.key_type, checked)
    items = converted(pc.struct_field(values, [1]), kind.item_type, checked)
    offsets = np.concatenate([[0], np.cumsum(list_lengths(pairs))]).astype(np.int32)
    mask = None if not pairs.null_count else pairs.is_null()
    return pa.MapArray.from_arrays(pa.array(offsets), keys, items, type=kind, mask=mask)
