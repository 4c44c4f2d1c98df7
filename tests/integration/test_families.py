"""The whole job, with preflight, for a checkpoint of every family."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.parity.common import load
from tests.texts import flat_table

pytestmark = pytest.mark.whole_job

OWN = {
    "segments": ["<|im_start|>{query}", "\n{passage}", "<|im_end|>"],
    "answers": {"yes": 1, "no": -1},
}
FAMILIES = {
    "gemma": ("llm", "bge-gemma", ()),
    "qwen3": ("llm", "own", (f"model.template={json.dumps(OWN)}",)),
    "minicpm_layerwise": ("layerwise", "bge-layerwise", ("model.cutoff_layer=[2, 3]",)),
    "gemma2_lightweight": (
        "lightweight",
        "bge-lightweight",
        ("model.cutoff_layer=5", "model.compress_layers=[2]", "model.compress_ratio=2"),
    ),
    "monot5": ("seq2seq", "monot5", ()),
    "nemotron": ("classifier", "nemotron", ("model.trust_remote_code=true",)),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_job_scores_as_a_replica_alone_does(name, request, tmp_path, rerank):
    family, template, settings = FAMILIES[name]
    folder = request.getfixturevalue(name)
    table = flat_table(60, seed=3)
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "a.parquet")

    lengths = ("model.max_length=400", "model.query_max_length=40")
    rerank(
        tmp_path / "in",
        tmp_path / "out",
        f"model.path={folder}",
        "plan.part_rows=40",
        "output.rank=true",
        *lengths,
        *settings,
    )

    found = pq.read_table(sorted((tmp_path / "out").glob("*.parquet")))
    assert found["doc_id"].to_pylist() == table["doc_id"].to_pylist()
    pairs = list(zip(table["query"].to_pylist(), table["passage"].to_pylist(), strict=True))
    expected = load(folder, 400, 40, *settings).score_pairs(pairs)
    assert set(found["status"].to_pylist()) == {"scored"}
    layers = ["score_layer_2"] if name == "minicpm_layerwise" else []
    by_layer = expected.reshape(len(pairs), -1).T
    assert [column for column in found.column_names if "layer" in column] == layers
    for column, scores in zip([*layers, "score"], by_layer, strict=True):
        np.testing.assert_allclose(found[column], scores, rtol=1e-5, atol=1e-5 * scores.std())
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    assert f"family {family}" in manifest["scored_as"]
    assert f"template {template}" in manifest["scored_as"]
    assert (tmp_path / "out" / "_SUCCESS").exists()
