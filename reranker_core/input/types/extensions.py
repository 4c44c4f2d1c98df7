"""Types that every process can hold and write.

Arrow gives a column the type of an extension where that is registered, else its storage with the
name in the field's metadata. Ray's tensors, say, are known on workers and not everywhere else. The
second form is the same in all processes, and is written to the same file.

Views of strings inside lists and structs become strings: Arrow cannot write them all.
"""

from __future__ import annotations

import pyarrow as pa

from reranker_core.input.types.common_type import EXTENSION_KEYS, is_list, list_of

_EVERYWHERE = "arrow."  # those that pyarrow itself has


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The same columns, without extension types that are not known everywhere."""
    return pa.schema([plain_field(field) for field in schema])


def plain_field(field: pa.Field) -> pa.Field:
    """The field with its storage's type, and the extension in its metadata; views inside it are
    no views.
    """
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name.startswith(_EVERYWHERE):
            return field
        name, content = kind.extension_name, kind.__arrow_ext_serialize__()
        told = dict(zip(EXTENSION_KEYS, (name.encode(), content), strict=True))
        storage = plain_field(field.with_type(kind.storage_type))
        return storage.with_metadata({**(field.metadata or {}), **told})
    if is_list(kind):
        value = _inner(kind.value_field)
        return (
            field if value.equals(kind.value_field, True) else field.with_type(list_of(kind, value))
        )
    if pa.types.is_struct(kind):
        members = [_inner(member) for member in kind]
        same = all(new.equals(old, True) for new, old in zip(members, kind, strict=True))
        return field if same else field.with_type(pa.struct(members))
    if pa.types.is_map(kind):
        key, item = _inner(kind.key_field), _inner(kind.item_field)
        same = key.equals(kind.key_field, True) and item.equals(kind.item_field, True)
        return field if same else field.with_type(pa.map_(key, item, kind.keys_sorted))
    return field


def _inner(field: pa.Field) -> pa.Field:
    if pa.types.is_string_view(field.type):
        return field.with_type(pa.string())
    if pa.types.is_binary_view(field.type):
        return field.with_type(pa.binary())
    return plain_field(field)
