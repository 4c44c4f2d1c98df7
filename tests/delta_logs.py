"""Versions of Delta tables that the library cannot write itself."""

from __future__ import annotations

import base64
import json
import os
import struct
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from pyroaring import BitMap64


def altered(table: Path, change: dict[str, dict[str, object]]) -> None:
    """Another version of the table, of these actions."""
    number = DeltaTable(table).version() + 1
    lines = [json.dumps({name: content}) for name, content in change.items()]
    (table / "_delta_log" / f"{number:020}.json").write_text("\n".join(lines))


def protocol(*features: str) -> dict[str, object]:
    return {
        "minReaderVersion": 3,
        "minWriterVersion": 7,
        "readerFeatures": list(features),
        "writerFeatures": list(features),
    }


def z85(data: bytes) -> str:
    """As base 85, with the letters of ZeroMQ."""
    # fmt: off
    ours = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    theirs = (
        b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
    )
    data += b"\0" * (-len(data) % 4)
    return base64.b85encode(data).translate(bytes.maketrans(theirs, ours)).decode()


def delete_by_vector(table: Path, rows: list[int]) -> None:
    """Delete rows of the only live file of a table, by their numbers."""
    (uri,) = DeltaTable(table).file_uris()
    name, size = Path(uri).name, os.path.getsize(uri)
    bits = struct.pack("<i", 1681511377) + BitMap64(rows).serialize()
    vector = {"storageType": "i", "pathOrInlineDv": z85(bits), "sizeInBytes": len(bits)}
    live = {"path": name, "partitionValues": {}, "size": size, "modificationTime": 0}
    live |= {
        "stats": json.dumps({"numRecords": 10}),
        "dataChange": True,
        "deletionVector": {**vector, "cardinality": len(rows)},
    }
    gone = {"path": name, "dataChange": True, "deletionTimestamp": 0, "partitionValues": {}}
    altered(table, {"protocol": protocol("deletionVectors"), "remove": gone, "add": live})


def map_columns(table: Path, names: dict[str, str], mode: str) -> None:
    """Give the columns of a table, and members of structs, other names than its files have.

    Args:
        table: its folder; version 0 tells the columns.
        names: those of the files -> those of the table.
        mode: of the mapping, `name` or `id`.

    """
    log = (table / "_delta_log" / f"{0:020}.json").read_text().splitlines()
    (metadata,) = (json.loads(line)["metaData"] for line in log if "metaData" in line)
    numbers = iter(range(1, 100))

    def mapped(fields: list[dict[str, Any]]) -> None:
        for field in fields:
            field["metadata"] = {
                "delta.columnMapping.id": next(numbers),
                "delta.columnMapping.physicalName": field["name"],
            }
            field["name"] = names[field["name"]]
            if isinstance(field["type"], dict):
                mapped(field["type"].get("fields", []))

    schema = json.loads(metadata["schemaString"])
    mapped(schema["fields"])
    metadata["schemaString"] = json.dumps(schema)
    metadata["configuration"] = {"delta.columnMapping.mode": mode}
    altered(table, {"protocol": protocol("columnMapping"), "metaData": metadata})
