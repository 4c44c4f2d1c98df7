"""An array of four values, the second null, of every kind that Parquet can hold."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

NUMBERS = [1, None, 3, 4]
TEXTS = ["a", None, "b", "c"]
BYTES = [b"a", None, b"\xff", b""]
DAYS = [date(2020, 1, 1), None, date(9999, 12, 31), date(1, 1, 1)]
DECIMALS = [Decimal("1.10"), None, Decimal("-2.25"), Decimal("0.00")]
UUIDS = [uuid.UUID(int=number).bytes if number else None for number in (1, 0, 2, 3)]


def _extension(kind: pa.DataType, storage: list, of: pa.DataType) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, pa.array(storage, of))


def _dictionary(index: pa.DataType, values: pa.Array, ordered: bool = False) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0, None, 1, 2], index), values, ordered=ordered)


def plain() -> dict[str, pa.Array]:
    """One array for each kind that has no values inside."""
    integers = [pa.int8(), pa.int16(), pa.int32(), pa.int64()]
    integers += [pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
    kinds = {
        "bool": pa.array([True, None, False, True]),
        **{str(kind): pa.array(NUMBERS, kind) for kind in integers},
        "uint64_max": pa.array([2**64 - 1, None, 0, 1], pa.uint64()),
        **{str(k): pa.array([1.5, None, -2, 0], k) for k in (pa.float32(), pa.float64())},
        "half": pa.array([1.5, None, -2, 0], pa.float32()).cast(pa.float16()),
        "nan": pa.array([float("nan"), None, float("inf"), -0.0]),
        "decimal32": pa.array(DECIMALS, pa.decimal32(5, 2)),
        "decimal64": pa.array(DECIMALS, pa.decimal64(15, 2)),
        "decimal128": pa.array(DECIMALS, pa.decimal128(38, 2)),
        "decimal256": pa.array(DECIMALS, pa.decimal256(76, 2)),
        "date32": pa.array(DAYS, pa.date32()),
        "time32": pa.array(NUMBERS, pa.time32("ms")),
        "time64_us": pa.array(NUMBERS, pa.time64("us")),
        "time64_ns": pa.array(NUMBERS, pa.time64("ns")),
        **{f"duration_{unit}": pa.array(NUMBERS, pa.duration(unit)) for unit in UNITS},
        **{
            f"timestamp_{unit}_{zone}": pa.array(NUMBERS, pa.timestamp(unit, zone))
            for unit in UNITS[1:]
            for zone in (None, "UTC", "Europe/Berlin", "+05:30")
        },
        **{str(k): pa.array(TEXTS, k) for k in (pa.string(), pa.large_string(), pa.string_view())},
        **{str(k): pa.array(BYTES, k) for k in (pa.binary(), pa.large_binary(), pa.binary_view())},
        "fixed_binary": pa.array(UUIDS, pa.binary(16)),
        "uuid": _extension(pa.uuid(), UUIDS, pa.binary(16)),
        "json": _extension(pa.json_(), ['{"a": 1}', None, "2", "[]"], pa.string()),
        "opaque": _extension(pa.opaque(pa.string(), "key", "vendor"), TEXTS, pa.string()),
        "bool8": _extension(pa.bool8(), [1, None, 0, 1], pa.int8()),
        "dictionary": _dictionary(pa.int32(), pa.array(["a", "b", "c"])),
        "dictionary8": _dictionary(pa.int8(), pa.array(["a", "b", "c"])),
        "ordered": _dictionary(pa.int16(), pa.array(["a", "b", "c"]), True),
        "dictionary_binary": _dictionary(pa.int32(), pa.array([b"a", b"\xff", b""])),
        "null": pa.nulls(4),
    }
    return kinds


UNITS = ["s", "ms", "us", "ns"]


def required(values: list[Any], null: list[bool]) -> pa.StructArray:
    """Structs that may be null, with members that may not."""
    inner = pa.StructArray.from_arrays([pa.array(values)], fields=[_required("x", pa.string())])
    members = [pa.array(range(len(values)), pa.int32()), inner]
    fields = [_required("a", pa.int32()), _required("b", inner.type)]
    return pa.StructArray.from_arrays(members, fields=fields, mask=pa.array(null))


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


def nested() -> dict[str, pa.Array]:
    """Kinds that hold others."""
    lists = [[1], None, [], [2, None]]
    moment = [("a", [datetime(9999, 12, 31)])]
    zoned = pa.map_(pa.string(), pa.list_(pa.timestamp("us", "UTC")))
    vectors = [[1.0, 2.0], None, [3.0, 4.0], [5.0, 6.0]]
    pairs = pa.list_(pa.float32(), 2)
    return {
        "list": pa.array(lists, pa.list_(pa.int32())),
        "large_list": pa.array(lists, pa.large_list(pa.int32())),
        "list_view": pa.array(lists, pa.list_view(pa.int32())),
        "fixed_list": pa.array(vectors, pairs),
        "tensor": _extension(pa.fixed_shape_tensor(pa.float32(), (2,)), vectors, pairs),
        "struct": pa.array(
            [{"a": 1, "b": "x"}, None, {"a": None, "b": None}, {"a": 3, "b": ""}],
            pa.struct([("a", pa.int8()), ("b", pa.large_string())]),
        ),
        "map": pa.array([[("a", 1)], None, [], [("b", None)]], pa.map_(pa.string(), pa.int32())),
        "list_of_list": pa.array(
            [[[1], None, []], None, [], [None]], pa.list_(pa.list_(pa.int8()))
        ),
        "deep": pa.array([[{"m": moment}], None, [], [None]], pa.list_(pa.struct([("m", zoned)]))),
        "list_of_null": pa.array([[None], None, [], [None]], pa.list_(pa.null())),
        "list_of_uuid": pa.ListArray.from_arrays(pa.array([0, 1, 1, 2, 4]), plain()["uuid"]),
        "required": required(["x", "", "y", ""], [False, True, False, False]),
        "struct_of_dictionary": pa.StructArray.from_arrays([plain()["dictionary"]], ["d"]),
    }
