"""Numbers for ids, whatever their type: equal ids have equal numbers. -0.0 equals 0.0, and NaN is
no id, as null.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reranker_core.input.types.common_type import is_list, is_text


def comparable(ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The same ids in a type that can be encoded: what extension types and dictionaries hold, and
    a text for each where there is no other way.
    """
    if isinstance(ids, pa.ChunkedArray):
        ids = pa.concat_arrays([comparable(chunk) for chunk in ids.chunks] or [pa.nulls(0)])
    if isinstance(ids.type, pa.BaseExtensionType):
        return comparable(ids.storage)
    if pa.types.is_dictionary(ids.type):
        return comparable(ids.dictionary_decode())
    if is_text(ids.type) or pa.types.is_binary_view(ids.type):
        return ids.cast(pa.large_binary())  # which need not be valid UTF-8
    if pa.types.is_floating(ids.type):
        plain = pc.add(ids.cast(pa.float64()), 0.0)  # -0.0 becomes 0.0
        return pc.if_else(pc.is_nan(plain), pa.scalar(None, pa.float64()), plain)
    if pa.types.is_temporal(ids.type):  # Python's have no nanoseconds
        return ids.view(pa.int32() if ids.type.bit_width == 32 else pa.int64())
    if pa.types.is_decimal32(ids.type) or pa.types.is_decimal64(ids.type):
        return ids.cast(pa.decimal128(ids.type.precision, ids.type.scale))
    if pa.types.is_nested(ids.type):
        return pa.array([None if i is None else repr(i) for i in ids.to_pylist()], pa.string())
    return ids


def numbers_of(ids: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """A number for each id, shape (len(ids),), equal where the ids are; nulls are equal, too."""
    codes = comparable(ids).dictionary_encode(null_encoding="encode").indices
    return codes.to_numpy(zero_copy_only=False).astype(np.int64)


def listed(values: pa.ChunkedArray) -> list[Any]:
    """The values as Python has them; all texts as bytes if one of them is not valid UTF-8."""
    try:
        found: list[Any] = values.to_pylist()
    except UnicodeDecodeError:
        found = values.cast(_of_bytes(values.type)).to_pylist()
    return found


def _of_bytes(kind: pa.DataType) -> pa.DataType:
    if is_text(kind):
        return pa.large_binary()
    if is_list(kind):
        return pa.list_(_of_bytes(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _of_bytes(field.type)) for field in kind])
    return kind
