"""Ragged token sequences against plain Python loops, and through Arrow."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest

from reranker_core.encode.sequences import Ragged, TokenSequences, concatenate, take


def random_runs(rng: np.random.Generator, count: int) -> list[list[int]]:
    """Runs of 0 to 6 ids, about a third of them empty."""
    sizes = rng.integers(0, 7, count) * rng.integers(0, 3, count).clip(0, 1)
    return [rng.integers(0, 1000, size).tolist() for size in sizes]


def as_lists(ragged: Ragged) -> list[list[int]]:
    runs, begin = [], 0
    for length in ragged.lengths.tolist():
        runs.append(ragged.values[begin : begin + length].tolist())
        begin += length
    assert begin == len(ragged.values)
    return runs


def random_sequences(seed: int, count: int) -> TokenSequences:
    rng = np.random.default_rng(seed)
    starts, chunks, lost = rng.integers(0, 5, (3, count)).astype(np.int32)
    return TokenSequences(Ragged.of(random_runs(rng, count)), starts, chunks, lost)


PAIRS = pa.table({"chunks": pa.array([1, 2], pa.int32()), "lost": pa.array([0, 7], pa.int32())})


def assert_equal(found: TokenSequences, runs: list[list[int]], starts: list[int]) -> None:
    assert as_lists(found.tokens) == runs
    assert found.passage_starts.tolist() == starts


@pytest.mark.parametrize("seed", range(5))
def test_runs_come_back_as_they_went_in(seed: int):
    runs = random_runs(np.random.default_rng(seed), 20)
    assert as_lists(Ragged.of(runs)) == runs


def test_no_runs():
    assert as_lists(Ragged.of([])) == []


@pytest.mark.parametrize("seed", range(20))
def test_concatenate_equals_joining_lists(seed: int):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 12))
    # Some pieces are the same for all sequences.
    pieces = [
        rng.integers(0, 9, rng.integers(0, 3)).tolist() if shared else random_runs(rng, count)
        for shared in rng.integers(0, 2, 5)
    ]
    expected = [
        [i for piece in pieces for i in (piece[n] if _is_nested(piece, count) else piece)]
        for n in range(count)
    ]
    joined = concatenate(
        [Ragged.of(piece) if _is_nested(piece, count) else piece for piece in pieces], count
    )
    assert as_lists(joined) == expected


def _is_nested(piece: list, count: int) -> bool:
    return len(piece) == count and all(isinstance(run, list) for run in piece)


@pytest.mark.parametrize("seed", range(20))
def test_take_equals_slicing_lists(seed: int):
    rng = np.random.default_rng(seed)
    runs = random_runs(rng, 10)
    index = rng.integers(0, 10, 25)
    lengths = np.array([rng.integers(0, len(runs[i]) + 1) for i in index], np.int64)
    expected = [runs[i][:length] for i, length in zip(index, lengths, strict=True)]
    assert as_lists(take(Ragged.of(runs), index, lengths)) == expected


def test_take_nothing():
    nothing = np.array([], np.int64)
    assert as_lists(take(Ragged.of([[1, 2], [3]]), nothing, nothing)) == []


@pytest.mark.parametrize("count", [0, 1, 50])
def test_a_table_gives_back_its_sequences(count: int):
    sequences = random_sequences(1, count)
    found = TokenSequences.from_tables(sequences.to_table(), sequences.pairs_to_table())
    assert found.chunks.tolist() == sequences.chunks.tolist()
    assert found.lost.tolist() == sequences.lost.tolist()
    assert_equal(found, as_lists(sequences.tokens), sequences.passage_starts.tolist())


@pytest.mark.parametrize(("begin", "end"), [(0, 7), (5, 20), (19, 50), (13, 13), (50, 50)])
def test_a_slice_of_a_table_gives_its_rows(begin: int, end: int):
    sequences = random_sequences(2, 50)
    found = TokenSequences.from_tables(sequences.to_table().slice(begin, end - begin), PAIRS)
    assert_equal(
        found, as_lists(sequences.tokens)[begin:end], sequences.passage_starts.tolist()[begin:end]
    )


def test_a_table_of_several_chunks_gives_all_its_rows():
    first, second = random_sequences(3, 10), random_sequences(4, 20)
    both = pa.concat_tables([first.to_table(), second.to_table().slice(2, 15)])
    assert_equal(
        TokenSequences.from_tables(both, PAIRS),
        as_lists(first.tokens) + as_lists(second.tokens)[2:17],
        first.passage_starts.tolist() + second.passage_starts.tolist()[2:17],
    )


def test_a_table_without_chunks_gives_no_sequences():
    schema = random_sequences(1, 1).to_table().schema
    assert len(TokenSequences.from_tables(schema.empty_table(), PAIRS)) == 0


def test_a_slice_survives_serialization():
    sequences = random_sequences(5, 30)
    buffer = io.BytesIO()
    table = sequences.to_table().slice(10, 10)
    with pyarrow.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    found = TokenSequences.from_tables(pyarrow.ipc.open_stream(buffer.getvalue()).read_all(), PAIRS)
    assert_equal(found, as_lists(sequences.tokens)[10:20], sequences.passage_starts.tolist()[10:20])
