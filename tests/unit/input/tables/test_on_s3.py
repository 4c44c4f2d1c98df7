"""Tables on a real S3 server are read as on a disk."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from deltalake import DeltaTable, write_deltalake
from pyiceberg.catalog.sql import SqlCatalog

from reranker_core.command.convert import convert
from reranker_core.errors import InputError
from reranker_core.input.columns import typed
from reranker_core.input.plan import make_plan
from reranker_core.input.reading import read_parts
from reranker_core.input.shards import list_shards
from tests import servers
from tests.delta_logs import delete_by_vector
from tests.tables import config, flat


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("seaweed")
    with servers.seaweedfs(folder) as server, servers.clients_of(server.endpoint):
        yield f"s3://{servers.BUCKET}"


def ids(source: str) -> list[str]:
    plan = make_plan(config(source, "elsewhere"))
    parts = [
        typed(table, plan.schema)["doc_id"].to_pylist()
        for part in plan.parts
        for _, table in read_parts([part], plan.schema.columns)
    ]
    return sorted(name for part in parts for name in part)


def test_a_delta_table(bucket: str, tmp_path: Path):
    local, url = tmp_path / "t", f"{bucket}/{uuid.uuid4()}"
    write_deltalake(local, flat(10, lang=["a b", "c"] * 5), partition_by=["lang"])
    DeltaTable(local).delete("doc_id = 'd3'")
    fsspec.filesystem("s3").put(f"{local}/", url, recursive=True)
    assert ids(url) == sorted(f"d{n}" for n in range(10) if n != 3)
    assert list_shards(config(url, "elsewhere")).snapshots == {url.rpartition("/")[2]: 1}
    for inside in (f"{url}/*.parquet", f"{url}/**/*.parquet", url.rpartition("/")[0]):
        with pytest.raises(InputError, match="is a Delta table"):
            list_shards(config(inside, "elsewhere"))


def test_a_delta_table_with_deletion_vectors(bucket: str, tmp_path: Path):
    local, url = tmp_path / "t", f"{bucket}/tables-{uuid.uuid4()}/t"
    write_deltalake(local, flat(10))
    delete_by_vector(local, [0, 9])
    fsspec.filesystem("s3").put(f"{local}/", url, recursive=True)
    with pytest.raises(InputError, match=f"batch-reranker convert {url} --to FOLDER"):
        list_shards(config(url, "elsewhere"))
    shards = f"{bucket}/shards-{uuid.uuid4()}"
    convert.main([url, "--to", shards], standalone_mode=False)
    assert ids(shards) == [f"d{n}" for n in range(1, 9)]


def test_an_iceberg_table(bucket: str, tmp_path: Path):
    lake = f"{bucket}/lake-{uuid.uuid4()}"
    catalog = SqlCatalog(
        "c",
        uri=f"sqlite:///{tmp_path}/catalog.db",
        warehouse=lake,
        **{"py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO"},
    )
    catalog.create_namespace("n")
    table = catalog.create_table("n.t", schema=flat(1).schema)
    table.append(flat(10))
    table.delete("doc_id = 'd3'")
    assert ids(table.location()) == sorted(f"d{n}" for n in range(10) if n != 3)
    with pytest.raises(InputError, match="is an Iceberg table"):
        list_shards(config(f"{table.location()}/data", "elsewhere"))
    shards = f"{bucket}/shards-{uuid.uuid4()}"
    convert.main([table.location(), "--to", shards], standalone_mode=False)
    assert ids(shards) == ids(table.location())
