"""Iceberg tables that pyiceberg wrote: the live files of a snapshot are the shards."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record
from pyiceberg.types import LongType, StringType

from reranker_core.errors import InputError
from reranker_core.input.plan import make_plan
from reranker_core.input.shards import list_shards
from tests.tables import config, flat


def rows(source: Path | str, *overrides: str) -> int:
    found = list_shards(config(source, "elsewhere", *overrides))
    return sum(pq.read_metadata(shard.url).num_rows for shard in found)


def refusal(source: Path | str, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        list_shards(config(source, "elsewhere", *overrides))
    return str(caught.value)


@pytest.fixture
def catalog(tmp_path: Path) -> SqlCatalog:
    made = SqlCatalog(
        "c", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/lake"
    )
    made.create_namespace("n")
    return made


@pytest.fixture
def table(catalog: SqlCatalog) -> Table:
    """10 rows; then 9 in their place; then 4 more."""
    made = catalog.create_table("n.t", schema=flat(1, more=pa.array([1])).schema)
    made.append(flat(10, more=list(range(10))))
    made.overwrite(flat(9, more=list(range(9))))
    made.append(flat(4, first=9, more=list(range(4))))
    return made


def folder_of(table: Table) -> Path:
    return Path(table.location().removeprefix("file://"))


@pytest.mark.parametrize("how", ["auto", "iceberg"])
def test_the_newest_snapshot_is_read(table: Table, how: str):
    folder = folder_of(table)
    found = list_shards(config(folder, "elsewhere", f"input.format={how}"))
    assert found.snapshots == {"t": table.current_snapshot().snapshot_id}
    assert len(list((folder / "data").rglob("*.parquet"))) == 3
    assert rows(folder) == rows(f"file://{folder}/") == 13
    assert all(shard.name.startswith("data/") and shard.keys == "" for shard in found)
    plan = make_plan(config(folder, "elsewhere"))
    assert set(plan.schema.carried) == {"query_id", "doc_id", "more"}


def test_a_snapshot_may_be_named(table: Table):
    first = table.snapshots()[0].snapshot_id
    assert rows(folder_of(table), f"input.snapshot={first}") == 10
    assert "has no snapshot 7; it has" in refusal(folder_of(table), "input.snapshot=7")


def test_deleted_rows_are_not_read(table: Table):
    table.delete("doc_id = 'd3'")
    assert rows(folder_of(table)) == 12


def test_a_hint_names_the_version(table: Table):
    folder = folder_of(table) / "metadata"
    names = sorted(file.name for file in folder.glob("*.metadata.json"))
    (folder / "version-hint.text").write_text(names[1].removesuffix(".metadata.json"))
    assert rows(folder_of(table)) == 10
    (folder / "version-hint.text").write_text("3\n")
    assert "names version 3, which is not in" in refusal(folder_of(table))
    shutil.copy(folder / names[1], folder / "v3.metadata.json")
    assert rows(folder_of(table)) == 10


@pytest.mark.parametrize("zipped", ["", ".gz"])
def test_a_hint_that_is_behind_is_followed_to_the_newest_version(table: Table, zipped: str):
    folder = folder_of(table) / "metadata"
    for number, name in enumerate(sorted(folder.glob("0000[123]-*.metadata.json")), start=9):
        packed = gzip.compress(name.read_bytes()) if zipped else name.read_bytes()
        (folder / f"v{number}{zipped}.metadata.json").write_bytes(packed)
    (folder / "version-hint.text").write_text("9")
    assert rows(folder_of(table)) == 13
    (folder / f"v10{zipped}.metadata.json").unlink()
    assert rows(folder_of(table)) == 10


def test_two_newest_versions_are_never_guessed_between(table: Table):
    folder = folder_of(table) / "metadata"
    (newest,) = folder.glob("00003-*.metadata.json")
    shutil.copy(newest, folder / "00003-of-a-lost-race.metadata.json")
    assert "both look like the newest metadata" in refusal(folder_of(table))


def test_a_column_that_was_renamed_is_never_read_under_its_old_name(table: Table):
    with table.update_schema() as update:
        update.rename_column("more", "rank_before")
    told = refusal(folder_of(table))
    assert "column 'more' of" in told
    assert "is called 'rank_before' now" in told


def test_a_column_that_was_dropped_is_never_read(table: Table):
    with table.update_schema() as update:
        update.delete_column("more")
    assert "column 'more' of" in refusal(folder_of(table))
    assert "was dropped" in refusal(folder_of(table))
    table.overwrite(flat(5))
    assert rows(folder_of(table)) == 5


def test_a_column_that_came_later_is_read(table: Table):
    with table.update_schema() as update:
        update.add_column("later", LongType())
    table.append(flat(2, first=20, more=[1, 2], later=[1, 2]))
    found = list_shards(config(folder_of(table), "elsewhere"))
    assert len(found) == 3


def test_partition_columns_stand_in_the_files(catalog: SqlCatalog):
    made = catalog.create_table("n.p", schema=flat(1, lang=["en"]).schema)
    with made.update_spec() as update:
        update.add_field("lang", IdentityTransform(), "lang_key")
    made.append(flat(4, lang=["en", "en", "de", "de"]))
    plan = make_plan(config(folder_of(made), "elsewhere"))
    assert plan.rows == 4
    assert set(plan.schema.carried) == {"query_id", "doc_id", "lang"}


def test_a_partition_column_that_files_lack_is_never_lost(catalog: SqlCatalog):
    made = catalog.create_table("n.p", schema=flat(1, lang=["en"]).schema)
    with made.update_spec() as update:
        update.add_field("lang", IdentityTransform(), "lang_key")
    made.append(flat(2, lang=["en", "en"]))
    (shard,) = list_shards(config(folder_of(made), "elsewhere"))
    pq.write_table(pq.read_table(shard.url).drop_columns(["lang"]), shard.url)
    assert "does not contain column 'lang'; its partition" in refusal(folder_of(made))


def test_a_table_without_rows_is_told_as_such(catalog: SqlCatalog, table: Table):
    made = catalog.create_table("n.e", schema=flat(1).schema)
    assert "has no snapshot" in refusal(folder_of(made))
    table.delete()
    assert "has no rows in snapshot" in refusal(folder_of(table))


def test_a_table_that_was_moved_is_told_as_such(table: Table, tmp_path: Path):
    shutil.move(folder_of(table) / "data", tmp_path / "elsewhere")
    assert "does not exist" in refusal(folder_of(table))
    assert "the table was moved" in refusal(folder_of(table))


def test_damaged_metadata_are_told_as_such(tmp_path: Path):
    (tmp_path / "t" / "metadata").mkdir(parents=True)
    (tmp_path / "t" / "metadata" / "v1.metadata.json").write_text(json.dumps({}))
    assert "this Iceberg table cannot be read" in refusal(tmp_path / "t")


def test_a_missing_library_is_told_with_the_command(table: Table, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyiceberg", None)
    assert "pip install 'batch-reranker[iceberg]'" in refusal(folder_of(table))


def delete(table: Table, file: DataFile) -> None:
    """Another snapshot of the table, with a delete file, which pyiceberg itself never writes."""

    class DeletesWriter(ManifestWriterV2):
        def content(self) -> ManifestContent:
            return ManifestContent.DELETES

    before, number = table.current_snapshot(), table.metadata.new_snapshot_id()
    sequence, folder = table.metadata.next_sequence_number(), f"{table.location()}/metadata"
    with DeletesWriter(
        table.spec(), table.schema(), table.io.new_output(f"{folder}/d.avro"), number, "null"
    ) as writer:
        added = ManifestEntryStatus.ADDED
        writer.add_entry(ManifestEntry.from_args(status=added, snapshot_id=number, data_file=file))
    listed = f"{folder}/snap-d.avro"
    with write_manifest_list(
        2, table.io.new_output(listed), number, before.snapshot_id, sequence, "null"
    ) as writer_of_list:
        manifests = [writer.to_manifest_file(), *before.manifests(table.io)]
        writer_of_list.add_manifests(manifests)
    metadata = json.loads(Path(table.metadata_location.removeprefix("file://")).read_text())
    metadata["snapshots"].append(
        {
            "snapshot-id": number,
            "parent-snapshot-id": before.snapshot_id,
            "sequence-number": sequence,
            "timestamp-ms": metadata["last-updated-ms"] + 1,
            "manifest-list": listed,
            "summary": {"operation": "delete"},
            "schema-id": 0,
        }
    )
    metadata |= {"current-snapshot-id": number, "last-sequence-number": sequence}
    metadata |= {"refs": {"main": {"snapshot-id": number, "type": "branch"}}, "snapshot-log": []}
    (folder_of(table) / "metadata" / "00099-d.metadata.json").write_text(json.dumps(metadata))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (DataFileContent.EQUALITY_DELETES, "does not yet support equality deletes"),
        (DataFileContent.POSITION_DELETES, "are deleted by 1 delete file"),
    ],
)
def test_delete_files_are_never_ignored(table: Table, content: DataFileContent, told: str):
    nothing = dict.fromkeys(
        ["column_sizes", "value_counts", "null_value_counts", "lower_bounds", "upper_bounds"]
    )
    file = DataFile.from_args(
        content=content,
        file_path=f"{table.location()}/data/deletes.parquet",
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=1,
        file_size_in_bytes=1,
        equality_ids=[3] if content == DataFileContent.EQUALITY_DELETES else None,
        **nothing,
    )
    delete(table, file)
    found = refusal(folder_of(table))
    assert told in found
    convert = f"batch-reranker convert {folder_of(table)} --to FOLDER"
    assert (convert in found) == (content == DataFileContent.POSITION_DELETES)


def test_a_file_that_was_overwritten_in_place_is_named(table: Table):
    for file in (folder_of(table) / "data").rglob("*.parquet"):
        pq.write_table(flat(50), file)
    assert "bytes, but the table says" in refusal(folder_of(table))


def test_a_file_without_ids_is_never_read_by_names_that_changed(
    catalog: SqlCatalog, tmp_path: Path
):
    made = catalog.create_table("n.a", schema=flat(1, a=["x"]).schema)
    pq.write_table(flat(2, a=["old", "old"]), tmp_path / "f.parquet")
    made.add_files([f"file://{tmp_path}/f.parquet"])
    with made.update_schema() as update:
        update.add_column("later", LongType())
    assert rows(folder_of(made)) == 2
    with made.update_schema() as update:
        update.rename_column("a", "before")
    with made.update_schema() as update:
        update.add_column("a", StringType())
    assert "has no field ids, and columns of the Iceberg table were renamed" in refusal(
        folder_of(made)
    )


def test_a_table_that_was_moved_is_told_where_it_was(table: Table, tmp_path: Path):
    place = Path(table.location().removeprefix("file://"))
    place.rename(tmp_path / "moved")
    told = refusal(tmp_path / "moved")
    assert f"the table is in file://{place}" in told
    assert "set input.path to the original folder" in told


def test_a_metadata_file_is_not_taken_for_rows(table: Table):
    place = Path(table.location().removeprefix("file://"))
    told = refusal(next((place / "metadata").glob("*.metadata.json")))
    assert f"input.path={place} input.format=iceberg" in told
