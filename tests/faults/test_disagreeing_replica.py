"""A replica whose weights differ by one bit from the others' never commits a row."""

import json
import os
import signal
import time

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open

from reranker_core.score.loading import load_scorer
from tests import damage
from tests.shared_ray import meanwhile
from tests.tables import config
from tests.texts import flat_table

# tests/fleet has a replica that disagrees, too; this one has a weight that does.
pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

RELAXED = ("preflight.checks.meaning=off", "model.dtype=float32", "model.device=cpu")


def flip_a_bit(model):
    """The lowest bit of one weight's exponent, in the file: half or twice the weight."""
    path = model / "model.safetensors"
    data = bytearray(path.read_bytes())
    with safe_open(path, "pt") as file:
        weight = file.get_tensor("classifier.weight").numpy().tobytes()
    data[data.index(weight) + 2] ^= 0x80
    path.write_bytes(data)


def test_a_replica_with_a_flipped_bit_never_commits_a_row(tmp_path, bert, rerank):
    model = damage.with_forward(bert, tmp_path / "m", "__import__('time').sleep(0.05)")
    table = flat_table(4000, seed=5)
    pq.write_table(table, tmp_path / "in.parquet")
    admitted = tmp_path / "out/_preflight.json"

    def flip_and_kill():
        while not admitted.exists():
            time.sleep(0.05)
        (replica,) = json.loads(admitted.read_text())["replicas"]
        flip_a_bit(model)
        os.kill(int(replica["replica"].rpartition(":")[2]), signal.SIGKILL)

    with meanwhile(flip_and_kill):
        printed = rerank(
            tmp_path / "in.parquet",
            tmp_path / "out",
            f"model.path={model}",
            "model.trust_remote_code=true",
            *RELAXED,
            "plan.part_rows=40",
            expect=3,
        )
    assert "agreement/same_files" in printed
    assert f"node {os.uname().nodename}" in printed
    assert not (tmp_path / "out/_SUCCESS").exists()
    found = ds.dataset(tmp_path / "out").to_table()
    assert 0 < found.num_rows < table.num_rows
    texts = {
        doc: (q, p)
        for doc, q, p in zip(
            *(table[name].to_pylist() for name in ("doc_id", "query", "passage")), strict=True
        )
    }
    good = load_scorer(config("in", "out", *RELAXED, model=bert))
    expected = good.score_pairs([texts[doc] for doc in found["doc_id"].to_pylist()])
    np.testing.assert_allclose(found["score"].to_numpy(), expected, rtol=1e-5, atol=1e-5)
