"""A run whose input and output are URLs with a password leaves the password nowhere."""

from __future__ import annotations

import io
from collections.abc import Iterator

import fsspec
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from reranker_core.command.report import report
from reranker_core.storage.store import Store
from tests.nights import night
from tests.tables import flat

SECRET = "s3cret-w0rd"
URL = f"memory://me:{SECRET}@host"


class Folder:
    """A URL that is joined as a path is."""

    def __truediv__(self, name: str) -> str:
        return f"{URL}/{name}"


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.store.clear()


def test_no_file_and_no_line_has_the_password(
    memory: fsspec.AbstractFileSystem, caplog: pytest.LogCaptureFixture
):
    for number in range(2):
        shard = io.BytesIO()
        pq.write_table(flat(8, first=number * 8), shard)
        Store(f"{URL}/in").write(f"s{number}.parquet", shard.getvalue())
    for name, against in (("first", "null"), ("second", f"{URL}/first")):
        output = night(Folder(), f"report.against={against}", source=f"{URL}/in", bad=2, name=name)
        output.drive()
    for options in ([], ["--text"]):
        told = CliRunner().invoke(report, [f"{URL}/second", *options])
        assert told.exit_code == 0
        assert "memory://me:***@host/second" in told.output
        assert SECRET not in told.output
    assert SECRET not in caplog.text
    written = [path for path in memory.find("/") if "/in/" not in path]
    assert any(path.endswith("_report.html") for path in written)
    for path in written:
        assert SECRET.encode() not in memory.cat_file(path), path
