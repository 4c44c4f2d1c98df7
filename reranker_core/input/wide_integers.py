"""Which columns of a Parquet file are integers of 128 bits, as Polars writes them.

pyarrow cannot open such a file, nor say which column is the reason. Without the Arrow schema in the
footer it can, and shows these columns as 16 bytes without a logical type.
"""

from __future__ import annotations

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.storage.filesystem import open_to_read

_MAGIC = b"PAR1"
_KEY, _OTHER_KEY = b"ARROW:schema", b"ARROW:unread"


def wide_integers(filesystem: fsspec.AbstractFileSystem, path: str, size: int) -> list[str]:
    """Paths of the columns; empty if there are none or the footer cannot be read."""
    try:
        with open_to_read(filesystem, path) as stream:
            stream.seek(size - 8)
            length = int.from_bytes(stream.read(4), "little")
            stream.seek(max(size - 8 - length, 0))
            footer = stream.read(length).replace(_KEY, _OTHER_KEY)
        end = length.to_bytes(4, "little") + _MAGIC
        schema = pq.read_metadata(pa.BufferReader(_MAGIC + footer + end)).schema
    except (pa.ArrowException, OSError):
        return []
    leaves = [schema.column(position) for position in range(len(schema))]
    return [
        leaf.path
        for leaf in leaves
        if leaf.physical_type == "FIXED_LEN_BYTE_ARRAY"
        and leaf.length == 16
        and str(leaf.logical_type) == "None"
    ]
