"""Texts that end the process that tokenizes them, or that the tokenizer raises an error for: they
are quarantined, and every other pair is scored.
"""

import json
import os
import sys

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from ray import cloudpickle

from reranker_core import prepare
from reranker_core.encode.formats.joined import JoinedFormat
from tests.texts import flat_table

pytestmark = pytest.mark.slow

ENDS_PROCESS, RAISES = "💀", "💥"


class Fragile(JoinedFormat):
    """What the driver sends to the workers in place of the real one."""

    def encode(self, queries, passages, *rest, **options):
        texts = "".join([*queries, *passages])
        if ENDS_PROCESS in texts:
            os._exit(9)
        if RAISES in texts:
            raise ValueError("no token for it")
        return super().encode(queries, passages, *rest, **options)


@pytest.fixture
def fragile(monkeypatch):
    plain = prepare.sendable
    monkeypatch.setattr(prepare, "sendable", lambda found: Fragile(**vars(plain(found))))
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_a_text_that_ends_the_process_that_tokenizes_it_costs_only_its_pairs(
    tmp_path, rerank, fragile
):
    table = flat_table(80, seed=3)
    bad = {47: ENDS_PROCESS, 75: RAISES}
    passages = table["passage"].to_pylist()
    for row, mark in bad.items():
        passages[row] += mark
    column = table.schema.get_field_index("passage")
    table = table.set_column(column, "passage", pa.array(passages, pa.string()))
    pq.write_table(table, tmp_path / "in.parquet")

    settings = ("plan.part_rows=40", "guard.max_quarantined_fraction=0.05")
    printed = rerank(tmp_path / "in.parquet", tmp_path / "out", *settings)

    found = ds.dataset(tmp_path / "out").to_table()
    assert found["doc_id"].to_pylist() == table["doc_id"].to_pylist()
    for row, status in enumerate(found["status"].to_pylist()):
        assert status == ("ends_process" if row in bad else "scored")
    listed = [
        json.loads(line)
        for path in (tmp_path / "out/_quarantine").iterdir()
        for line in path.read_text().splitlines()
    ]
    assert {record["row"]: record["reason"] for record in listed} == dict.fromkeys(
        bad, "ends_process"
    )
    assert "processes crashed while tokenizing part in-" in printed
    manifest = json.loads((tmp_path / "out/_manifest.json").read_text())
    assert len(manifest["attempts"][-1]["replicas"]) == 1  # no replica ended
    assert ENDS_PROCESS not in printed
