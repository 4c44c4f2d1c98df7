"""A checkpoint of every family through all stages of the job; one of them on a Ray."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reranker_core.config import Config
from reranker_core.encode.part import encode_part
from reranker_core.input.plan import make_plan
from reranker_core.input.reading import read_parts
from reranker_core.output.results import ScoredPart, output_table
from reranker_core.pipeline import wire
from tests.parity.common import load
from tests.tables import config
from tests.texts import flat_table

OWN = {
    "segments": ["<|im_start|>{query}", "\n{passage}", "<|im_end|>"],
    "answers": {"yes": 1, "no": -1},
}
FAMILIES = {
    "gemma": (),
    "qwen3": (f"model.template={json.dumps(OWN)}",),
    "minicpm_layerwise": ("model.cutoff_layer=[2, 3]",),
    "gemma2_lightweight": (
        "model.cutoff_layer=5",
        "model.compress_layers=[2]",
        "model.compress_ratio=2",
    ),
    "monot5": (),
    "nemotron": ("model.trust_remote_code=true",),
}
LENGTHS = ("model.max_length=400", "model.query_max_length=40")
PARTS = ("plan.part_rows=40",)


@pytest.fixture
def table(tmp_path: Path) -> pa.Table:
    (tmp_path / "in").mkdir()
    table = flat_table(60, seed=3)
    pq.write_table(table, tmp_path / "in" / "a.parquet")
    return table


@pytest.mark.parametrize("name", FAMILIES)
def test_the_stages_score_as_a_replica_alone_does(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, table: pa.Table
):
    folder = request.getfixturevalue(name)
    settings = config(str(tmp_path / "in"), "out", *LENGTHS, *PARTS, *FAMILIES[name], model=folder)
    found = pa.concat_tables(stages(settings, folder, FAMILIES[name]))
    assert_scores(found, table, folder, FAMILIES[name])


def stages(settings: Config, folder: Path, overrides: tuple[str, ...]) -> list[pa.Table]:
    """Read, encode, score and put together, with what travels between processes packed."""
    plan = make_plan(settings)
    scorer = load(folder, 400, 40, *overrides)
    pair_format = pickle.loads(pickle.dumps(scorer.pair_format))
    found = []
    for part in plan.parts:
        ((_, rows),) = read_parts([part], plan.schema.columns)
        encoded = encode_part(rows, plan.schema, pair_format, settings)
        (row,) = wire.rows(wire.row_of_encoded(part, encoded))
        _, encoded = wire.encoded_of_row(row)
        scores = scorer.score(encoded.sequences)
        scored = ScoredPart.of(encoded, scores, settings.model)
        found.append(output_table(scored, plan.schema, settings.output))
    assert len(found) == 2
    return found


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_job_scores_as_a_replica_alone_does(
    minicpm_layerwise: Path, tmp_path: Path, table: pa.Table, rerank
):
    settings = FAMILIES["minicpm_layerwise"]
    rerank(
        tmp_path / "in",
        tmp_path / "out",
        f"model.path={minicpm_layerwise}",
        "output.rank=true",
        *PARTS,
        *LENGTHS,
        *settings,
    )
    found = pq.read_table(sorted((tmp_path / "out").glob("*.parquet")))
    assert_scores(found, table, minicpm_layerwise, settings)
    assert "rank" in found.column_names
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    assert "family layerwise" in manifest["scored_as"]
    assert "template bge-layerwise" in manifest["scored_as"]
    assert (tmp_path / "out" / "_SUCCESS").exists()


def assert_scores(found: pa.Table, table: pa.Table, folder: Path, settings: tuple[str, ...]):
    assert found["doc_id"].to_pylist() == table["doc_id"].to_pylist()
    assert set(found["status"].to_pylist()) == {"scored"}
    pairs = list(zip(table["query"].to_pylist(), table["passage"].to_pylist(), strict=True))
    expected = load(folder, 400, 40, *settings).score_pairs(pairs)
    layers = [column for column in found.column_names if "layer" in column]
    assert layers == (["score_layer_2"] if expected.ndim == 2 else [])
    by_layer = expected.reshape(len(pairs), -1).T
    for column, scores in zip([*layers, "score"], by_layer, strict=True):
        np.testing.assert_allclose(found[column], scores, rtol=1e-5, atol=1e-5 * scores.std())
