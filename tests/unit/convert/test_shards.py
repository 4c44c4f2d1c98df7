"""Shards of a conversion that did not come to its end are never taken for all of the rows."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reranker_core.convert.shards import write_shards
from reranker_core.errors import ConfigError, InputError
from reranker_core.input.plan import make_plan
from reranker_core.input.shards import list_shards
from tests.tables import config, flat


def readers(end: str) -> Iterator[pa.RecordBatchReader]:
    """Two shards; then an error, the end of the process, or none of these."""
    yield flat(4).to_reader()
    yield flat(4, first=4).to_reader()
    if end == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "error":
        raise InputError("no more")


def killed(folder: Path | str) -> None:
    """Convert in a process that is killed after two shards."""
    child = os.fork()
    if not child:
        write_shards(readers("killed"), str(folder))
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("way", ["", "/*", "/*.parquet", "/**/*.parquet", "/part-0000*", "/.."])
def test_shards_of_a_killed_conversion_are_refused(tmp_path: Path, way: str):
    killed(tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.parquet"))) == 2
    with pytest.raises(
        InputError, match=f"has not finished the shards in {tmp_path}.*convert again"
    ):
        list_shards(config(f"{tmp_path}/out{way}", "elsewhere"))
    with pytest.raises(ConfigError, match=r"was stopped before it had finished.*remove this one"):
        write_shards(readers(""), str(tmp_path / "out"))


def test_the_same_in_a_store(moto_bucket: str, tmp_path: Path):
    folder = f"{moto_bucket}/{tmp_path.name}"
    with pytest.raises(InputError, match="no more"):
        write_shards(_looked_at(folder), folder)
    assert write_shards(readers(""), folder).rows == 8
    assert make_plan(config(folder, "elsewhere")).rows == 8


def _looked_at(folder: str) -> Iterator[pa.RecordBatchReader]:
    yield from readers("")
    for way in ("", "/*.parquet"):
        with pytest.raises(InputError, match="has not finished"):
            list_shards(config(f"{folder}{way}", "elsewhere"))
    raise InputError("no more")


def test_a_failed_conversion_leaves_nothing(tmp_path: Path):
    with pytest.raises(InputError, match="no more"):
        write_shards(readers("error"), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_was_there_stays(tmp_path: Path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="no more"):
        write_shards(readers("error"), str(tmp_path / "out"))
    assert not list((tmp_path / "out").iterdir())


def test_a_finished_conversion_is_all_there_is(tmp_path: Path):
    found = write_shards(readers(""), str(tmp_path / "out"))
    assert (found.rows, found.shards) == (8, 2)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["part-00000.parquet", "part-00001.parquet"]
    assert pq.read_table(tmp_path / "out").num_rows == 8
