"""The one type that holds the values of several types without loss.

Shards of one data set often come from several writers, which give the same values other types:
string or large_string, int32 or int64. The result depends on the set of types only, not on their
order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pyarrow as pa

# Bits that hold every whole number exactly, by bits of the float type.
_EXACT_BITS = {16: 11, 32: 24, 64: 53}
_FLOATS = {16: pa.float16(), 32: pa.float32(), 64: pa.float64()}
_SIGNED = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
_UNSIGNED = {8: pa.uint8(), 16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}
_DECIMALS = {32: (9, pa.decimal32), 64: (18, pa.decimal64)} | {
    128: (38, pa.decimal128),
    256: (76, pa.decimal256),
}
_UNITS = ("s", "ms", "us", "ns")
# Together they make a column of an extension type that is not known here.
EXTENSION_KEYS = (b"ARROW:extension:name", b"ARROW:extension:metadata")
_UTC = ("UTC", "Etc/UTC", "+00:00", "Z")


def common_type(kinds: Iterable[pa.DataType]) -> pa.DataType | None:
    """The type that holds the values of all `kinds` exactly, or None if there is none.

    Units of time become the finest one. Its range is smaller, so converting a value may fail then;
    it never gives another value.
    """
    distinct = [kind for kind in _distinct(kinds) if not pa.types.is_null(kind)]
    if len(distinct) < 2:
        return distinct[0] if distinct else pa.null()
    for family in (_text, _numbers, _decimals, _times, _lists, _structs, _maps):
        found = family(distinct)
        if found is not None:
            return found
    return None


def common_field(fields: list[pa.Field]) -> pa.Field | None:
    """One field for several of one name, nullable if any is. What their metadata agree on stays."""
    kind = common_type(field.type for field in fields)
    if kind is None:
        return None
    metadata = dict(fields[0].metadata or {})
    for field in fields[1:]:
        other = field.metadata or {}
        metadata = {key: metadata[key] for key in metadata if other.get(key) == metadata[key]}
    if any(_extension(field) != _extension(fields[0]) for field in fields):
        metadata = {key: metadata[key] for key in metadata if key not in EXTENSION_KEYS}
    nullable = any(field.nullable or pa.types.is_null(field.type) for field in fields)
    return pa.field(fields[0].name, kind, nullable, metadata or None)


def is_text(kind: pa.DataType) -> bool:
    """Whether `kind` holds strings, be they plain, large, views or dictionary encoded."""
    kind = _decoded(kind)
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_bytes(kind: pa.DataType) -> bool:
    """Whether `kind` holds bytes of any length, also dictionary encoded."""
    kind = _decoded(kind)
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    )


def is_list(kind: pa.DataType) -> bool:
    """Whether `kind` is one of the kinds of list; a map is none."""
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )


def _extension(field: pa.Field) -> list[bytes | None]:
    return [(field.metadata or {}).get(key) for key in EXTENSION_KEYS]


def list_of(kind: pa.DataType, value: pa.Field) -> pa.DataType:
    """The kind of list that `kind` is, with other values; a list for a view."""
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(value, kind.list_size)
    large = pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind)
    return pa.large_list(value) if large else pa.list_(value)


def _distinct(kinds: Iterable[pa.DataType]) -> list[pa.DataType]:
    """Each type once, in an order that depends on the types alone."""
    found: dict[str, pa.DataType] = {}
    for kind in kinds:
        if not any(kind == other for other in found.values()):
            found[str(kind)] = kind
    # The structs with most members first: theirs is the order of the members.
    return [found[name] for name in sorted(found, key=lambda name: (-found[name].num_fields, name))]


def _decoded(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _all(test: object, kinds: list[pa.DataType]) -> bool:
    return all(test(kind) for kind in kinds)  # type: ignore[operator]


def _text(kinds: list[pa.DataType]) -> pa.DataType | None:
    """Strings and bytes of all kinds, dictionaries and extension types by what they hold."""
    if any(isinstance(kind, pa.BaseExtensionType) for kind in kinds):
        return common_type(
            kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind for kind in kinds
        )
    if _all(pa.types.is_dictionary, kinds):
        value = common_type(kind.value_type for kind in kinds)
        index = common_type(kind.index_type for kind in kinds)
        ordered = all(kind.ordered for kind in kinds)
        return None if value is None or index is None else pa.dictionary(index, value, ordered)
    if any(pa.types.is_dictionary(kind) for kind in kinds):
        return common_type(map(_decoded, kinds))
    if _all(lambda kind: is_bytes(kind) or pa.types.is_fixed_size_binary(kind), kinds):
        return pa.binary()
    return pa.string() if _all(lambda kind: is_text(kind) or is_bytes(kind), kinds) else None


def _numbers(kinds: list[pa.DataType]) -> pa.DataType | None:
    signed = [kind.bit_width for kind in kinds if pa.types.is_signed_integer(kind)]
    unsigned = [kind.bit_width for kind in kinds if pa.types.is_unsigned_integer(kind)]
    floats = [kind.bit_width for kind in kinds if pa.types.is_floating(kind)]
    if len(signed) + len(unsigned) + len(floats) < len(kinds):
        return None
    if floats:
        digits = max([bits - 1 for bits in signed] + unsigned, default=0)
        fitting = [bits for bits in _FLOATS if bits >= max(floats) and _EXACT_BITS[bits] >= digits]
        return _FLOATS[fitting[0]] if fitting else None
    if not signed:
        return _UNSIGNED[max(unsigned)]
    return _SIGNED.get(max(signed + [2 * bits for bits in unsigned]))


def _decimals(kinds: list[pa.DataType]) -> pa.DataType | None:
    if not _all(pa.types.is_decimal, kinds):
        return None
    scale = max(kind.scale for kind in kinds)
    precision = scale + max(kind.precision - kind.scale for kind in kinds)
    widest = max(kind.bit_width for kind in kinds)
    for bits, (most, make) in _DECIMALS.items():
        if bits >= widest and precision <= most:
            return make(precision, scale)
    return None


def _times(kinds: list[pa.DataType]) -> pa.DataType | None:
    if _all(pa.types.is_date, kinds):
        return pa.date32()
    unit = _UNITS[max(_UNITS.index(getattr(kind, "unit", "s")) for kind in kinds)]
    if _all(pa.types.is_duration, kinds):
        return pa.duration(unit)
    if _all(pa.types.is_time, kinds):
        return pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)
    if _all(pa.types.is_timestamp, kinds):
        zones = {"UTC" if kind.tz in _UTC else kind.tz for kind in kinds}
        return pa.timestamp(unit, zones.pop()) if len(zones) == 1 else None
    return None


def _lists(kinds: list[pa.DataType]) -> pa.DataType | None:
    if not _all(is_list, kinds):
        return None
    value = _value_field(kinds)
    if value is None:
        return None
    if _all(pa.types.is_large_list, kinds):
        return pa.large_list(value)
    if _all(pa.types.is_fixed_size_list, kinds) and len({kind.list_size for kind in kinds}) == 1:
        return pa.list_(value, kinds[0].list_size)
    return pa.list_(value)


def _value_field(kinds: list[pa.DataType]) -> pa.Field | None:
    names = sorted({kind.value_field.name for kind in kinds})
    return common_field([kind.value_field.with_name(names[0]) for kind in kinds])


def _structs(kinds: list[pa.DataType]) -> pa.DataType | None:
    if not _all(pa.types.is_struct, kinds):
        return None
    members: dict[str, list[pa.Field]] = {}
    for kind in kinds:
        if len({field.name for field in kind}) < kind.num_fields:
            return None
        for field in kind:
            members.setdefault(field.name, []).append(field)
    # Readers that ignore case rename one of `Lang` and `lang`, or lose it.
    if _case_twins(members) > max(_case_twins([field.name for field in kind]) for kind in kinds):
        return None
    common = []
    for fields in members.values():
        field = common_field(fields)
        if field is None:
            return None
        common.append(field if len(fields) == len(kinds) else field.with_nullable(True))
    return pa.struct(common)


def _case_twins(names: Collection[str]) -> int:
    return len(names) - len({name.casefold() for name in names})


def _maps(kinds: list[pa.DataType]) -> pa.DataType | None:
    if not _all(pa.types.is_map, kinds):
        return None
    key = common_field([kind.key_field.with_name("key") for kind in kinds])
    item = common_field([kind.item_field.with_name("value") for kind in kinds])
    ordered = all(kind.keys_sorted for kind in kinds)
    return None if key is None or item is None else pa.map_(key, item, ordered)
