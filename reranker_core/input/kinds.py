"""The type of a file, from its name or its first bytes."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import fsspec
import pyarrow as pa

from reranker_core.errors import RerankError, brief
from reranker_core.input.wide_integers import wide_integers
from reranker_core.storage.filesystem import is_local, open_filesystem, read_range
from reranker_core.storage.tree import is_file

_HEAD_BYTES = 512
_SHOWN = 4
_COMPRESSED = (".gz", ".gzip", ".bz2", ".xz", ".zst", ".zstd", ".lz4", ".snappy", ".br")
_MAGIC = b"PAR1"


@dataclass(frozen=True)
class Kind:
    """A file type other than Parquet: its title, and the remedy for `{file}`."""

    title: str
    remedy: str


_CONVERT = "Convert it first: batch-reranker convert {file} --to FOLDER"
_RUN = (
    "If it is a TREC run: batch-reranker convert --run {file} --corpus FILE --queries FILE "
    "--to FOLDER"
)
_JOIN = (
    "Convert it with its corpus and queries: batch-reranker convert --run {file} --corpus FILE "
    "--queries FILE --to FOLDER"
)
_REWRITE = "Convert its rows to Parquet files first"
_DOWNLOAD = "Download the file again"

JSON_LINES = Kind("JSON Lines", _CONVERT)
JSON = Kind("JSON", _CONVERT)
CSV = Kind("CSV", _CONVERT)
TSV = Kind("tab-separated text", _CONVERT)
TEXT = Kind("text", _RUN)
RUN = Kind("a TREC run, or qrels", _JOIN)
PREDICTIONS = Kind("MTEB predictions", _JOIN)
ARROW_FILE = Kind("an Arrow IPC file (Feather)", _CONVERT)
ARROW_STREAM = Kind("an Arrow IPC stream, as Hugging Face datasets writes it", _CONVERT)
ORC = Kind("ORC", _CONVERT)
AVRO = Kind("Avro", _REWRITE)
COMPRESSED = Kind("a compressed file", "Decompress it first; Parquet is compressed inside")
POINTER = Kind("a Git LFS pointer, not the data", "Fetch the data with: git lfs pull")
ENCRYPTED = Kind("encrypted Parquet", "Decrypt it first; the job cannot use decryption keys")
HTML = Kind("an HTML page, perhaps a saved error page", _DOWNLOAD)
XML = Kind("XML, perhaps a saved error of an object store", _DOWNLOAD)
EXCEL = Kind("an Excel workbook", "Save its rows as CSV, then use batch-reranker convert")
DATABASE = Kind("a database", "Export the rows as Parquet files")
WEIGHTS = Kind(
    "a model file",
    "If you mean the model, set model.path to its folder, and input.path to your pairs",
)

_BY_SUFFIX = {
    ".jsonl": JSON_LINES, ".ndjson": JSON_LINES, ".json": JSON, ".csv": CSV, ".tsv": TSV,
    ".arrow": ARROW_FILE, ".feather": ARROW_FILE, ".ipc": ARROW_FILE, ".arrows": ARROW_STREAM,
    ".orc": ORC, ".avro": AVRO, ".txt": TEXT, ".trec": TEXT, ".qrels": TEXT,
    ".xlsx": EXCEL, ".xls": EXCEL, ".duckdb": DATABASE, ".sqlite": DATABASE, ".db": DATABASE,
    ".safetensors": WEIGHTS, ".bin": WEIGHTS, ".pt": WEIGHTS, ".gguf": WEIGHTS, ".onnx": WEIGHTS,
}  # fmt: skip
# Of files in which queries have documents. A line of a run, of qrels, or the heading of BEIR's.
_RUN_LINE = re.compile(
    rb"\s*(\S+\s+\S+\s+\S+\s+\d+\s+[-+.\deE]+\s+\S+|\S+\s+\S+\s+\S+\s+-?\d+|"
    rb"query-id\tcorpus-id\tscore)\s*"
)
_PREDICTED = re.compile(rb'\{\s*("mteb_model_meta"|"[^"]*":\s*\{\s*"[^"]*":\s*\{)')
# Beside the Arrow files of Hugging Face datasets.
_DESCRIPTIONS = ("dataset_info.json", "dataset_dict.json", "state.json")
# Names that are no data whatever they hold.
_NEVER_DATA = (
    ".crc", ".md", ".log", ".yaml", ".yml", ".sh", ".py", ".html", ".xml", ".dvc", ".tmp", ".lock",
    ".metadata", ".zip", ".tar", ".md5", ".sha256", ".inprogress", ".pdf", ".part",
)  # fmt: skip
_BY_MAGIC = (
    (b"PARE", ENCRYPTED), (b"ARROW1", ARROW_FILE), (b"\xff\xff\xff\xff", ARROW_STREAM),
    (b"ORC", ORC), (b"Obj\x01", AVRO), (b"\x1f\x8b", COMPRESSED), (b"\x28\xb5\x2f\xfd", COMPRESSED),
    (b"BZh", COMPRESSED), (b"\xfd7zXZ", COMPRESSED), (b"PK\x03\x04", COMPRESSED),
    (b"\x04\x22\x4d\x18", COMPRESSED), (b"version https://git-lfs", POINTER), (b"GGUF", WEIGHTS),
    (b"<!doctype", HTML), (b"<html", HTML), (b"<?xml", XML), (b"<error", XML),
)  # fmt: skip


def says_nothing(name: str) -> bool:
    """Whether the name of a file does not show its type, such as `part-00000`."""
    suffix = posixpath.splitext(name)[1].lower()
    known = suffix in _BY_SUFFIX or suffix in _NEVER_DATA or suffix in _COMPRESSED
    return not known and name not in ("README", "LICENSE", "NOTICE", "CHANGELOG", "Makefile")


def begins_as_parquet(filesystem: fsspec.AbstractFileSystem, path: str) -> bool:
    """Whether the first bytes of a file are those of Parquet."""
    return _bytes(filesystem, path, 0, len(_MAGIC)) == _MAGIC


def by_name(name: str) -> Kind | None:
    """The type of a file from its name, if it is not Parquet."""
    if posixpath.basename(name) in _DESCRIPTIONS:
        return None
    suffix = suffix_of(name).lower()
    if not suffix.endswith(_COMPRESSED):
        return _BY_SUFFIX.get(suffix)
    inner = _BY_SUFFIX.get(suffix.removesuffix(".gz").removesuffix(".zst"))
    return inner if inner in (JSON_LINES, JSON, CSV, TSV) else COMPRESSED


def without_compression(name: str) -> str:
    """The name without a last suffix such as `.gz`."""
    stem, suffix = posixpath.splitext(name)
    return stem if suffix.lower() in _COMPRESSED else name


def suffix_of(name: str) -> str:
    """`.csv`; of a compressed file, with what it is inside: `.csv.gz`."""
    stem, suffix = posixpath.splitext(name)
    return posixpath.splitext(stem)[1] + suffix if suffix.lower() in _COMPRESSED else suffix


def by_content(head: bytes) -> Kind | None:
    """The type of a file from its first bytes, if it is not Parquet."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for magic, kind in _BY_MAGIC:
        if head.startswith(magic) or start[: len(magic)].lower() == magic.lower() != b"":
            return kind
    if head[8:9] == b"{" and head[7:8] == b"\x00":  # a length in 8 bytes, then JSON
        return WEIGHTS
    if start[:1] == b"{":
        return JSON_LINES if _is_json_lines(start) else JSON
    if start[:1] == b"[":
        return JSON
    return None


def with_content(kind: Kind | None, head: bytes) -> Kind | None:
    """The type of a file, by its first bytes where its name says little."""
    if kind in (None, TEXT, TSV) and _RUN_LINE.fullmatch(
        head.lstrip(b"\xef\xbb\xbf").split(b"\n")[0]
    ):
        return RUN
    if kind in (JSON, JSON_LINES) and _PREDICTED.match(head.lstrip(b"\xef\xbb\xbf \t\r\n")):
        return PREDICTIONS
    return kind


def named_or_seen(filesystem: fsspec.AbstractFileSystem, path: str) -> Kind | None:
    """The type of a file from its name and its first bytes, as far as they can be read."""
    try:
        return with_content(by_name(path), _bytes(filesystem, path, 0, _HEAD_BYTES))
    except (OSError, RerankError):
        return by_name(path)


def content_of(path: str) -> Kind | None:
    """Like `by_content`, but opens the file."""
    filesystem, inner = open_filesystem(path)
    if not is_file(filesystem, inner):
        return None
    return by_content(_bytes(filesystem, inner, 0, _HEAD_BYTES))


def unreadable(
    filesystem: fsspec.AbstractFileSystem, path: str, url: str, size: int, error: Exception
) -> str:
    """A message: why a file cannot be read as Parquet, and what to do.

    Args:
        filesystem: the filesystem of the file.
        path: its path within the filesystem.
        url: its name in the message.
        size: its size in bytes.
        error: the error while reading.

    """
    try:
        head = _bytes(filesystem, path, 0, min(size, _HEAD_BYTES))
        tail = _bytes(filesystem, path, max(size - len(_MAGIC), 0), size)
    except OSError:
        return f"{url}: cannot be read: {brief(error)}"
    if isinstance(error, pa.ArrowNotImplementedError) and tail == _MAGIC:
        wide = wide_integers(filesystem, path, size)
        if wide:
            columns = ", ".join(f"'{name}'" for name in wide)
            one = len(wide) == 1
            return (
                f"{url}: {'column' if one else 'columns'} {columns} {'is' if one else 'are'} "
                f"probably of 128-bit integers, which pyarrow cannot read. Write "
                f"{'it' if one else 'them'} with another type, such as a decimal or a string"
            )
        return (
            f"{url}: has something that pyarrow cannot read: {brief(error)}. Write the file again "
            "without it, for example with another type of the column"
        )
    kind = by_content(head) or (None if head.startswith(_MAGIC) else by_name(path))
    kind = with_content(kind, head)
    if kind is COMPRESSED:  # some formats are archives inside
        kind = by_name(path) or COMPRESSED
    if kind is not None:
        remedy = kind.remedy.replace("{file}", shlex.quote(url))
        return f"{url}: is {kind.title}; expected Parquet. {remedy}"
    if not head.startswith(_MAGIC):
        return (
            f"{url}: is not a Parquet file ({size} bytes): it does not begin with {_MAGIC.decode()}"
        )
    if tail != _MAGIC:
        return (
            f"{url}: is truncated: it begins as a Parquet file, but its end is missing ({size} "
            "bytes). Copy or write it again"
        )
    return (
        f"{url}: its Parquet footer is damaged ({size} bytes): {brief(error)}. Copy or write it "
        "again"
    )


def summary(names: Iterable[str]) -> str:
    """Counts of files by suffix, such as `3 .jsonl files`."""
    counts = Counter(suffix_of(name).lower() for name in names)
    told = []
    for suffix, count in counts.most_common(_SHOWN):
        files = "file" if count == 1 else "files"
        told.append(f"{count} {suffix} {files}" if suffix else f"{count} {files} without a suffix")
    return ", ".join(told) + (", and others" if len(counts) > _SHOWN else "")


def _is_json_lines(start: bytes) -> bool:
    first, newline, rest = start.partition(b"\n")
    if not newline:
        return True
    return first.rstrip().endswith(b"}") and rest.lstrip()[:1] in (b"{", b"")


def _bytes(filesystem: fsspec.AbstractFileSystem, path: str, start: int, stop: int) -> bytes:
    if stop <= start:
        return b""
    if is_local(filesystem):
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(stop - start)
    return read_range(filesystem, path, start, stop)
