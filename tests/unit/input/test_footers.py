"""Files whose footer or pages cannot be read, or contradict each other, are refused by name."""

from __future__ import annotations

import base64
import io
import random
import re
import signal
from contextlib import suppress
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from reranker_core.errors import InputError, RerankError
from reranker_core.input import footer_trial, reading
from reranker_core.input.columns import typed
from reranker_core.input.footers import leaves
from reranker_core.input.pairs import find_pairs
from reranker_core.input.plan import make_plan
from reranker_core.input.reading import read_parts
from tests.tables import config, flat, structs, write


def read(source: Path, *overrides: str) -> int:
    """Rows of all parts, from the plan to the pairs."""
    plan = make_plan(config(source, "elsewhere", *overrides))
    rows = 0
    for part in plan.parts:
        for _, table in read_parts([part], plan.schema.columns):
            find_pairs(typed(table, plan.schema), plan.schema)
            rows += table.num_rows
    return rows


def refusal(source: Path, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        read(source, *overrides)
    return str(caught.value)


def footer_replaced(path: Path, old: bytes, new: bytes, count: int = -1) -> None:
    data = path.read_bytes()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    assert old in data[start:]
    path.write_bytes(data[:start] + data[start:].replace(old, new, count))


class Keys(pe.KmsClient):
    def wrap_key(self, key: bytes, name: str) -> bytes:
        return base64.b64encode(key)

    def unwrap_key(self, wrapped: bytes, name: str) -> bytes:
        return base64.b64decode(wrapped)


@pytest.mark.parametrize("plaintext_footer", [True, False])
def test_encrypted_files_and_columns(tmp_path: Path, plaintext_footer: bool):
    # pyarrow ends the process when it is asked for the facts of an encrypted column.
    chosen = pe.EncryptionConfiguration(
        footer_key="f", column_keys={"c": ["passage"]}, plaintext_footer=plaintext_footer
    )
    factory = pe.CryptoFactory(lambda _: Keys())
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), chosen)
    path, table = tmp_path / "a.parquet", flat(4)
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    told = refusal(tmp_path)
    assert "a.parquet: " + ("has encrypted columns" if plaintext_footer else "is encrypted") in told
    assert "Decrypt it first" in told


@pytest.mark.parametrize("new", [12, 60])
def test_a_count_of_rows_that_row_groups_contradict(tmp_path: Path, new: int):
    path = write(tmp_path / "a.parquet", flat(10))
    footer_replaced(path, b"\x16\x14", bytes([0x16, 2 * new]), 1)
    assert f"footer is damaged: ValueError: {new} rows, but 10 in its row groups" in refusal(path)


def test_footers_that_would_end_this_process(tmp_path: Path):
    # A histogram of two levels, 0 and 10 values, becomes one of a single level.
    for name in ("b.parquet", "d.parquet"):
        footer_replaced(write(tmp_path / name, flat(10)), b"\x26\x00\x14", b"\x16\x80\x14", 1)
    write(tmp_path / "a.parquet", flat(10))
    write(tmp_path / "c.parquet", flat(10))
    told = refusal(tmp_path)
    assert "2 of 4 shards cannot be read" in told
    assert re.findall(r"(\w).parquet: its Parquet footer is damaged", told) == ["b", "d"]


def test_a_child_that_stands_still_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(footer_trial, "_SILENT_SECONDS", 0.1)
    monkeypatch.setattr(footer_trial, "_try_all", lambda *_: signal.pause())
    assert read(write(tmp_path / "a.parquet", flat(10))) == 10


def test_a_codec_that_is_missing(tmp_path: Path):
    path = write(tmp_path / "a.parquet", flat(10))
    footer_replaced(path, b"\x15\x02\x16", b"\x15\x06\x16")
    assert "LZO" in refusal(path)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_damaged_page_with_a_checksum(tmp_path: Path, version: str, compression: str):
    path = tmp_path / "a.parquet"
    pq.write_table(
        flat(40), path, write_page_checksum=True, data_page_version=version,
        compression=compression, use_dictionary=False,
    )  # fmt: skip
    assert read(path) == 40
    data = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(0).column(3)
    data[column.data_page_offset + column.total_compressed_size - 10] ^= 1
    path.write_bytes(bytes(data))
    assert "a.parquet: cannot be read: " in refusal(path)


def test_names_that_are_not_utf8(tmp_path: Path):
    path = write(tmp_path / "a.parquet", flat(4, more=[1] * 4))
    footer_replaced(path, b"more", b"m\xffre")
    assert "a.parquet: its Parquet footer is damaged" in refusal(path)
    path = write(tmp_path / "a.parquet", flat(4))
    footer_replaced(path, b"parquet-cpp", b"parquet-c\xff\xff")
    assert "a.parquet: its Parquet footer is damaged" in refusal(path)


def test_ids_that_are_not_utf8_are_ranked(tmp_path: Path):
    ids = pa.array([b"\xff", b"\xff", b"\xfe", b"a"]).view(pa.string())
    write(tmp_path / "a.parquet", flat(4, query_id=ids))
    write(tmp_path / "b.parquet", flat(2, first=4))
    assert read(tmp_path, "output.rank=true", "plan.part_rows=1") == 6


def test_a_part_that_is_far_larger_than_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "_LARGEST_PART", 2**20)
    passage = pa.array(["x" * 2**17] * 20)
    write(tmp_path / "a.parquet", flat(20, passage=passage))
    told = refusal(tmp_path)
    assert "rows 0 to 19 have more than" in told
    (rows,) = re.findall(r"Set plan.part_rows to less than (\d+)", told)
    assert read(tmp_path, f"plan.part_rows={int(rows) // 2}") == 20


def fuzzed(data: bytes, draw: random.Random) -> bytes:
    found = bytearray(data)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    start, stop = draw.choice([(4, footer), (footer, len(data) - 8), (len(data) - 8, len(data))])
    for _ in range(draw.choice([1, 2, 10])):
        found[draw.randrange(start, stop)] = draw.randrange(256)
    return bytes(found[: draw.choice([len(data), len(data), draw.randrange(len(data))])])


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_end_in_named_errors(tmp_path: Path, seed: int):
    draw = random.Random(seed)
    more = {"m": pa.array([[("a", 1)]] * 40, pa.map_(pa.string(), pa.int64()))}
    kinds = [
        (flat(40, **more), {"write_page_checksum": True}, ["output.rank=true"]),
        (flat(40, cat=pa.array(["a", "b"] * 20).dictionary_encode()), {}, ["output.text=true"]),
        (structs([2] * 20), {"compression": "gzip"}, ["input.columns.passage=candidates.passage"]),
    ]
    path = tmp_path / "a.parquet"
    for _ in range(25):
        table, options, overrides = draw.choice(kinds)
        buffer = io.BytesIO()
        pq.write_table(table, buffer, row_group_size=15, **options)
        path.write_bytes(fuzzed(buffer.getvalue(), draw))
        with suppress(RerankError):
            read(path, *overrides)


@pytest.mark.parametrize(
    ("rows", "index"), [((20, 20), False), ((2000, 20), False), ((20, 20, 20), True)]
)
def test_files_that_were_joined_are_never_read_as_one(
    tmp_path: Path, rows: tuple[int, ...], index: bool
):
    whole = b""
    for count in rows:
        buffer = io.BytesIO()
        pq.write_table(flat(count), buffer, write_page_index=index)
        whole += buffer.getvalue()
    (tmp_path / "all.parquet").write_bytes(whole)
    assert "several Parquet files joined into one" in refusal(tmp_path / "all.parquet")


def test_indexes_of_pages_and_bloom_filters_are_no_other_files(tmp_path: Path):
    indexed = {"write_page_index": True, "bloom_filter_options": {"query_id": {"ndv": 100_000}}}
    table = flat(6, passage=["PAR1PAR1"] * 6)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1, **indexed)
    assert read(tmp_path) == 6


def test_an_index_of_other_files_is_told_as_such(tmp_path: Path):
    facts: list[pq.FileMetaData] = []
    pq.write_table(flat(6), tmp_path / "a.parquet", metadata_collector=facts)
    facts[0].set_file_path("a.parquet")
    facts[0].write_metadata_file(tmp_path / "_metadata")
    assert "is an index of other Parquet files" in refusal(tmp_path / "_metadata")
    assert read(tmp_path) == 6


def test_integers_of_128_bits_are_told_by_their_columns(tmp_path: Path):
    big = pl.Series([2**100], dtype=pl.Int128)
    inner = pl.struct(big.alias("z"))
    row = {
        "query_id": "q",
        "query": "x",
        "doc_id": "d",
        "passage": "p",
        "bytes": b"16 bytes of data",
    }
    written = pl.DataFrame(row).with_columns(big.alias("n"), inner.alias("s"))
    written.write_parquet(tmp_path / "a.parquet")
    told = refusal(tmp_path)
    assert "columns 'n', 's.z' are probably of 128-bit integers" in told
    assert "damaged" not in told


def test_leaves_belong_to_their_columns(tmp_path: Path):
    table = pa.table({"a": [{"b": 1, "c": 2}], "a.d": [3], "ab": [4], "x.y": [[5]]})
    pq.write_table(table, tmp_path / "a.parquet")
    schema = pq.ParquetFile(tmp_path / "a.parquet").metadata.schema
    assert leaves(schema, ["a", "x.y"]) == {0: "a", 1: "a", 2: "a", 4: "x.y"}
    assert leaves(schema, ["a.d", "ab"]) == {2: "a.d", 3: "ab"}
