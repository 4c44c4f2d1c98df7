"""The hash of a pair follows from its texts alone, and each text counts."""

import hashlib
import itertools

import numpy as np
import pyarrow as pa

from reranker_core.config import Config
from reranker_core.input.pairs import Pairs, find_pairs
from reranker_core.input.schema import resolve_schema
from reranker_core.reuse.hashes import in_order, pair_hashes
from tests.tables import STRUCT_COLUMNS, config

TEXTS = ["", "a", "ab", "b", "ba", "a\0", "\0", "é", "e\u0301", "a" * 40_000]


def pairs_of(table: pa.Table, *overrides: str) -> Pairs:
    settings: Config = config("in", "out", *overrides)
    return find_pairs(table, resolve_schema(table.schema, settings, "shard"))


def by_texts(pairs: Pairs) -> dict[tuple, tuple]:
    hashes = map(tuple, pair_hashes(pairs).tolist())
    own = pairs.instructions or [None] * len(pairs.queries)
    keys = (
        (pairs.queries[query], pairs.passages[passage], own[query])
        for query, passage in zip(pairs.query_of, pairs.passage_of, strict=True)
    )
    return dict(zip(keys, hashes, strict=True))


def table_of(rows: list[tuple]) -> pa.Table:
    query, passage, instruction = zip(*rows, strict=True)
    ids = [str(number) for number in range(len(rows))]
    return pa.table(
        {
            "query_id": ids,
            "query": query,
            "doc_id": ids,
            "passage": passage,
            "instruction": pa.array(instruction, pa.string()),
        }
    )


def test_pairs_differ_when_a_text_differs_or_moves_to_another_place():
    rows = list(itertools.product(TEXTS, TEXTS, [None, "", "a", "ab"]))
    found = by_texts(pairs_of(table_of(rows), "input.columns.instruction=instruction"))
    assert found.keys() == set(rows)
    assert len(set(found.values())) == len(rows)


def test_the_hash_is_that_of_the_hashes_of_the_texts():
    def blake(data: bytes) -> bytes:
        return hashlib.blake2b(data, digest_size=16).digest()

    ((_, found),) = by_texts(pairs_of(table_of([("q", "p", None)]))).items()
    expected = blake(blake(b"q") + blake(b"p") + bytes(16))
    assert b"".join(half.to_bytes(8, "big") for half in found) == expected


def test_a_pair_has_the_same_hash_in_every_layout_type_and_company():
    plain = table_of([("q", "p", None), ("q", "other", None), ("q", "p", None)])
    (expected,) = {by_texts(pairs_of(plain))["q", "p", None]}
    lists = pa.table({"query_id": [1], "query": ["q"], "doc_id": [["x"]], "passage": [["p"]]})
    structs = pa.table(
        {"query_id": [1], "query": ["q"], "candidates": [[{"doc_id": "x", "passage": "p"}]]}
    )
    coded = table_of([("z", "y", None), ("q", "p", None)])
    for name in ("query", "passage"):
        place = coded.schema.get_field_index(name)
        coded = coded.set_column(place, name, coded[name].dictionary_encode())
    for table, overrides in [
        (lists, ()),
        (structs, STRUCT_COLUMNS),
        (coded, ()),
        (coded, ("input.columns.instruction=instruction",)),
    ]:
        assert by_texts(pairs_of(table, *overrides))["q", "p", None] == expected


def test_hashes_sort_as_their_bytes_do():
    hashes = np.array([[2, 0], [1, 2**64 - 1], [1, 5], [2**63, 1]], np.uint64)
    in_bytes = sorted(range(4), key=lambda n: hashes[n].astype(">u8").tobytes())
    assert in_order(hashes).tolist() == in_bytes == [2, 1, 0, 3]
