"""Rows that cannot be scored, or not as usual: each treated as it should be, no other row lost."""

import json

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from reranker_core.score.loading import load_scorer
from tests import damage
from tests.tables import config
from tests.texts import flat_table

pytestmark = pytest.mark.slow

RELAXED = ("preflight.checks.meaning=off", "preflight.checks.numerics=off", "model.device=cpu")
# What the model does with a passage that begins with one of these, and in which row one stands.
TRAPS = {
    "🚀": "if {seen}.any(): os._exit(9)",
    "👍": "logits[{seen}] = float('nan')",
    "❤": "logits[{seen}] = float('nan') if half else logits[{seen}]",
    "👧": "logits[{seen}] = float('nan') if len(logits) > 1 else logits[{seen}]",
}
ENDS_PROCESS, NEVER_FINITE, NOT_IN_HALF, NOT_IN_A_BATCH = 47, 12, 13, 80


@pytest.fixture
def model(bert, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(bert)
    body = ["half = self.classifier.weight.dtype != self.bert.pooler.dense.weight.dtype"]
    for token, trap in TRAPS.items():
        (number,) = tokenizer(token, add_special_tokens=False)["input_ids"]
        assert number != tokenizer.unk_token_id
        body.append(trap.format(seen=f"(input_ids == {number}).any(1)"))
    return damage.with_forward(bert, tmp_path / "m", "\n        ".join(body))


# Of so many parts, a task reads four, and a replica gets two at once.
@pytest.mark.parametrize("part_rows", [30, 2])
def test_each_bad_row_is_treated_as_it_should_be_and_no_other_is_lost(
    tmp_path, bert, model, rerank, part_rows
):
    table = flat_table(90, seed=3)
    passages = table["passage"].to_pylist()
    rows = (ENDS_PROCESS, NEVER_FINITE, NOT_IN_HALF, NOT_IN_A_BATCH)
    for token, row in zip(TRAPS, rows, strict=True):
        passages[row] = f"{token} {passages[row]}"
    column = table.schema.get_field_index("passage")
    table = table.set_column(column, "passage", pa.array(passages, pa.string()))
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=part_rows)

    rerank(
        tmp_path / "in.parquet",
        tmp_path / "out",
        f"model.path={model}",
        "replicas.max=1",
        "model.trust_remote_code=true",
        "model.dtype=bfloat16",
        *RELAXED,
        f"plan.part_rows={part_rows}",
        "score.max_batch_tokens=512",
        "guard.max_quarantined_fraction=0.05",
    )

    found = ds.dataset(tmp_path / "out").to_table()
    assert found["doc_id"].to_pylist() == table["doc_id"].to_pylist()
    statuses = dict(enumerate(found["status"].to_pylist()))
    bad = {row: status for row, status in statuses.items() if status != "scored"}
    assert bad == {ENDS_PROCESS: "ends_process", NEVER_FINITE: "not_finite"}
    listed = [
        json.loads(line)
        for path in (tmp_path / "out/_quarantine").iterdir()
        for line in path.read_text().splitlines()
    ]
    assert {record["row"]: record["reason"] for record in listed} == bad
    manifest = json.loads((tmp_path / "out/_manifest.json").read_text())
    assert manifest["quarantined"] == {"ends_process": 1, "not_finite": 1}
    assert manifest["rescued"] == 2
    scored = [row for row in range(90) if row not in bad]
    pairs = [(table["query"][row].as_py(), passages[row]) for row in scored]
    good = load_scorer(config("in", "out", "model.dtype=float32", *RELAXED, model=bert))
    expected = dict(zip(scored, good.score_pairs(pairs), strict=True))
    scores = dict(enumerate(found["score"].to_pylist()))
    rescued = (NOT_IN_HALF, NOT_IN_A_BATCH)
    for row in scored:  # what was rescued is float32, all others bfloat16
        tolerance = 0.05 if row in rescued else 0.3
        assert abs(scores[row] - expected[row]) < tolerance, row
