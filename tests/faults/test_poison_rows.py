"""A row that ends the process that scores it: found, quarantined, and no other row lost."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from transformers import AutoTokenizer

from reranker_core.scorer import Scorer
from tests import damage
from tests.running import run_job
from tests.tables import config
from tests.texts import flat_table

RELAXED = ("preflight.checks.meaning=off", "model.dtype=float32", "model.device=cpu")


def test_exactly_the_poison_row_is_quarantined(tmp_path, bert):
    tokenizer = AutoTokenizer.from_pretrained(bert)
    poison = tokenizer.convert_tokens_to_ids("🚀")  # a token that no other text has
    assert poison != tokenizer.unk_token_id
    model = damage.with_forward(
        bert, tmp_path / "m", f"if (input_ids == {poison}).any(): os._exit(9)"
    )
    table = flat_table(90, seed=3)
    passages = table["passage"].to_pylist()
    passages[47] = f"🚀 {passages[47]}"
    table = table.set_column(
        table.schema.get_field_index("passage"), "passage", pa.array(passages, pa.string())
    )
    pq.write_table(table, tmp_path / "in.parquet")

    run_job(
        f"input.path={tmp_path}/in.parquet",
        f"output.path={tmp_path}/out",
        f"model.path={model}",
        "model.trust_remote_code=true",
        *RELAXED,
        "plan.part_rows=30",
        "score.max_batch_tokens=512",
        "guard.max_quarantined_fraction=0.05",
        "ray.address=local",
    )

    found = ds.dataset(tmp_path / "out").to_table()
    assert found["doc_id"].to_pylist() == table["doc_id"].to_pylist()
    statuses = found["status"].to_pylist()
    assert [i for i, status in enumerate(statuses) if status != "scored"] == [47]
    assert statuses[47] == "ends_process"
    (listed,) = (tmp_path / "out/_quarantine").iterdir()
    (record,) = map(json.loads, listed.read_text().splitlines())
    assert (record["row"], record["reason"]) == (47, "ends_process")
    others = [i for i in range(90) if i != 47]
    pairs = [(table["query"][i].as_py(), passages[i]) for i in others]
    expected = Scorer.load(config("in", "out", *RELAXED, model=bert)).score_pairs(pairs)
    scores = found["score"].to_numpy()
    np.testing.assert_allclose(scores[others], expected, rtol=1e-5, atol=1e-5)
