"""The index of old scores: built once, in bounded memory, and exact."""

import shutil
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from reranker_core.errors import ConfigError
from reranker_core.reuse import building
from reranker_core.reuse.building import Layout, index_of
from reranker_core.reuse.index import Index
from reranker_core.reuse.keys import as_binary, from_bytes, to_bytes

LAYOUT = Layout((4,), ("chunks", "lost"))


def keys(hashes: np.ndarray, day: int = 10, shift: float = 0.0) -> pa.Table:
    """Keys whose scores follow from their hashes."""
    high = hashes[:, 0].astype(np.float32)
    return pa.table(
        {
            "hash": as_binary(hashes),
            "score": high + np.float32(shift),
            "layer_4": -high,
            "chunks": (hashes[:, 1] % 7).astype(np.int32),
            "tokens_lost": (hashes[:, 1] % 5).astype(np.int32),
            "day": pa.array(np.full(len(hashes), day, np.int32)).cast(pa.date32()),
        }
    )


def random(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, (count, 2), np.uint64, endpoint=False)


def made(folder: Path, *tables: pa.Table, layout: Layout = LAYOUT) -> Index:
    return index_of(folder, layout, sum(map(len, tables)), lambda: tables)


@pytest.mark.parametrize("bucket", [3, 100, 10_000])
def test_what_was_put_in_is_found_and_nothing_else(tmp_path, monkeypatch, bucket):
    monkeypatch.setattr(building, "_BUCKET_ROWS", bucket)
    hashes, others = random(2000), random(500, 1)
    # Equal first halves, the ends of the range, and bytes that look like ends of text.
    last = 2**64 - 1
    hashes[:7] = [[5, 3], [5, 1], [5, 2], [0, 0], [last, last], [0, 1], [7, 0]]
    hashes[7:9] = [9, 9]
    others[:3] = [[5, 4], [0, 2], [last, 0]]
    tables = [from_bytes(to_bytes(keys(each))) for each in np.array_split(hashes[:-1], 7)]
    index = made(tmp_path / "i", *tables)
    assert index.rows == 1998  # one is there twice, and one was left out
    asked = np.concatenate([np.unique(hashes, axis=0), others])
    asked = np.random.default_rng(2).permutation(asked)
    found = index.find(asked)
    known = {tuple(row) for row in hashes[:-1].tolist()}
    expected = [n for n, row in enumerate(asked.tolist()) if tuple(row) in known]
    assert found.index.tolist() == expected
    high, low = asked[found.index].T
    assert (found.scores == np.stack([-high.astype(np.float32), high.astype(np.float32)], 1)).all()
    assert (found.chunks == low % 7).all()
    assert (found.lost == low % 5).all()
    assert (found.days == 10).all()


def test_of_two_scores_the_newer_one_counts_then_the_first(tmp_path):
    hashes = random(3)
    tables = [keys(hashes, 10), keys(hashes[:2], 11, 1.0), keys(hashes, 10, 2.0)]
    found = made(tmp_path / "i", *tables).find(hashes)
    assert found.days.tolist() == [11, 11, 10]
    assert (found.scores[:, 1] - hashes[:, 0].astype(np.float32) < 2).all()


def test_an_empty_index_knows_nothing(tmp_path):
    assert len(made(tmp_path / "i").find(random(4)).index) == 0
    assert len(made(tmp_path / "j", keys(random(4))).find(random(0)).index) == 0


def test_it_is_built_once_for_all_and_again_if_it_was_not_finished(tmp_path):
    built = []

    def tables():
        built.append(1)
        yield keys(random(9))

    def build():
        index_of(tmp_path / "i", LAYOUT, 9, tables)

    threads = [threading.Thread(target=build) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(built) == 1
    (tmp_path / "i/index.json").unlink()
    build()
    assert len(built) == 2


def test_an_interrupted_one_is_built_from_the_beginning(tmp_path):
    def broken():
        yield keys(random(9))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index_of(tmp_path / "i", LAYOUT, 18, broken)
    assert made(tmp_path / "i", keys(random(5, 3))).rows == 5
    assert not list((tmp_path / "i").glob("bucket*"))


def test_others_are_removed_unless_they_are_in_use(tmp_path):
    used = made(tmp_path / "used", keys(random(3)))
    left = made(tmp_path / "left", keys(random(3)))
    del left
    made(tmp_path / "new", keys(random(3)))
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"used", "new"}
    assert used.rows == 3


def test_a_disk_that_is_too_small_is_named(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(ConfigError, match=r"needs 0\.0 GB.* XDG_CACHE_HOME") as refused:
        made(tmp_path / "i", keys(random(100)))
    assert refused.value.exit_code == 2


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written to"):
        made(tmp_path / "file/i", keys(random(1)))
