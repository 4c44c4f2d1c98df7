"""What is said of a file that is no Parquet."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.ipc as ipc
import pyarrow.orc as orc
import pytest

from reranker_core.errors import InputError
from reranker_core.input.kinds import by_content, summary
from reranker_core.input.plan import make_plan
from tests.tables import config, flat, write

ROW = {"query_id": "q", "query": "secret query", "doc_id": "d", "passage": "secret passage"}
LINE = json.dumps(ROW).encode() + b"\n"


def stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def written(write_to: Callable[[pa.Table, str], object], tmp_path: Path) -> bytes:
    write_to(flat(3), str(tmp_path / "made"))
    return (tmp_path / "made").read_bytes()


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        make_plan(config(path, "elsewhere"))
    assert "secret" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "title"),
    [
        (LINE * 3, "JSON Lines"),
        (LINE.rstrip(), "JSON Lines"),
        (b"\xef\xbb\xbf" + LINE * 2, "JSON Lines"),
        (json.dumps([ROW], indent=1).encode(), "JSON"),
        (json.dumps(ROW, indent=1).encode(), "JSON"),
        (gzip.compress(LINE, mtime=0), "a compressed file"),
        (b"ORC" + b"x" * 20, "ORC"),
        (b"Obj\x01" + b"x" * 20, "Avro"),
        (b"PARE" + b"x" * 20 + b"PARE", "encrypted Parquet"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "an HTML page"),
        (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "XML"),
        (stream(flat(2)), "an Arrow IPC stream"),
    ],
)
@pytest.mark.parametrize("name", ["a.parquet", "rows"])
def test_content_says_what_a_file_is(tmp_path: Path, content: bytes, title: str, name: str):
    (tmp_path / name).write_bytes(content)
    assert f"{tmp_path / name}: is {title}" in refusal(tmp_path / name)
    assert by_content(content[:512]) is not None


@pytest.mark.parametrize(
    ("write_to", "title"),
    [(orc.write_table, "ORC"), (feather.write_feather, "an Arrow IPC file")],
)
def test_files_of_other_libraries_are_known(tmp_path: Path, write_to: Callable, title: str):
    (tmp_path / "a.data").write_bytes(written(write_to, tmp_path))
    assert f"is {title}" in refusal(tmp_path / "a.data")


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("a.xlsx", "an Excel workbook"),
        ("a.csv", "CSV"),
        ("a.tsv", "tab-separated text"),
        ("run.trec", "text"),
        ("a.TXT", "text"),
    ],
)
def test_text_is_known_by_its_name(tmp_path: Path, name: str, title: str):
    (tmp_path / name).write_text("query_id,query,doc_id,passage\nq,secret,d,secret\n" * 3)
    assert f"is {title}; expected Parquet" in refusal(tmp_path / name)


def test_the_command_that_converts_is_told(tmp_path: Path):
    (tmp_path / "a b.jsonl").write_bytes(LINE)
    command = f"batch-reranker convert '{tmp_path}/a b.jsonl' --to FOLDER"
    assert f"Convert it first: {command}" in refusal(tmp_path / "a b.jsonl")


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.zst", "a.tsv.gz"])
def test_compressed_texts_can_be_converted_as_they_are(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(gzip.compress(LINE, mtime=0))
    command = f"batch-reranker convert {tmp_path / name} --to FOLDER"
    assert f"Convert it first: {command}" in refusal(tmp_path / name)
    several = f"batch-reranker convert {tmp_path}/*{name[1:]} --to FOLDER"
    assert f"1 {name[1:]} file, but no Parquet file. Convert first: {several}" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["a.parquet.gz", "a.gz", "a.safetensors.gz", "a.jsonl.xz"])
def test_other_compressed_files_must_be_decompressed(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(gzip.compress(LINE, mtime=0))
    assert "Decompress it first" in refusal(tmp_path / name)
    assert "Decompress it first" in refusal(tmp_path)


def test_a_compressed_file_beside_shards_is_not_skipped(tmp_path: Path):
    write(tmp_path / "a.parquet", flat(2))
    (tmp_path / "b.parquet.gz").write_bytes(gzip.compress(LINE, mtime=0))
    assert "b.parquet.gz: is a compressed file" in refusal(tmp_path)


def test_weights_of_a_model_are_known(tmp_path: Path):
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    content = len(header).to_bytes(8, "little") + header + b"\0" * 4
    (tmp_path / "m").write_bytes(content)
    assert "is a model file" in refusal(tmp_path / "m")
    assert "model.path" in refusal(tmp_path / "m")


def test_a_file_that_was_cut_off_is_told_as_such(tmp_path: Path):
    path = write(tmp_path / "a.parquet", flat(100))
    path.write_bytes(path.read_bytes()[:-20])
    assert "is truncated: it begins as a Parquet file" in refusal(path)


def test_a_file_of_an_unknown_kind_is_told_as_such(tmp_path: Path):
    (tmp_path / "a.parquet").write_bytes(b"secret" * 100)
    assert "is not a Parquet file (600 bytes)" in refusal(tmp_path / "a.parquet")


def test_an_empty_file_is_refused(tmp_path: Path):
    write(tmp_path / "a.parquet", flat(2))
    (tmp_path / "b.parquet").write_bytes(b"")
    assert r"b.parquet: is empty (0 bytes)" in refusal(tmp_path)


def test_files_are_summed_up_by_suffix():
    names = ["a.jsonl", "b.jsonl", "c.JSONL", "d.csv", "part-00000"]
    assert summary(names) == "3 .jsonl files, 1 .csv file, 1 file without a suffix"
