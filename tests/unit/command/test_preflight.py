"""`batch-reranker preflight`: examples of one's own, and golden scores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import damage


@pytest.fixture
def given(bert: Path, tmp_path: Path) -> tuple[str, ...]:
    """Settings for a model with random weights, and an input of 12 queries with 3 passages."""
    rows = [(f"query number {n // 3}", f"passage {n} of {n * 7 % 10} words") for n in range(36)]
    columns = {
        "query_id": [query for query, _ in rows],
        "question": [query for query, _ in rows],
        "doc_id": [str(n) for n in range(36)],
        "passage": [text for _, text in rows],
    }
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    return (
        f"model.path={bert}",
        "preflight.checks.meaning=warn",
        f"preflight.canaries={tmp_path / 'own.jsonl'}",
        f"preflight.golden={tmp_path / 'golden.json'}",
        "input.columns.query=question",
    )


@pytest.mark.slow
def test_examples_are_made_of_an_input_and_their_scores_recorded(
    typed, given: tuple[str, ...], tmp_path: Path
):
    made = ("--canaries-from", str(tmp_path / "in.parquet"))
    golden = tmp_path / "golden.json"
    code, _, errors = typed("preflight", *given[:3], given[4], *made)
    assert code == 0, errors
    lines = (tmp_path / "own.jsonl").read_text().splitlines()
    assert 10 <= len(lines) <= 12
    count = sum(1 + len(json.loads(line)["irrelevant"]) for line in lines)

    code, _, errors = typed("preflight", *given[:3], given[4], *made)
    assert code == 2
    assert "--overwrite" in errors

    code, _, errors = typed("preflight", *given, "--record")
    assert code == 0, errors
    content = json.loads(golden.read_text())
    assert (len(content["canaries"]), len(content["own_canaries"])) == (64, count)
    assert typed("preflight", *given)[0] == 0

    content["own_canaries"][0] += 5
    golden.write_text(json.dumps(content))
    code, out, _ = typed("preflight", *given)
    assert code == 0  # meaning is not enforced here
    assert "own canary scores differ by up to" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--canaries-from", "in.parquet"), "preflight.canaries=FILE"),
        (("--canaries-from", "in", "preflight.canaries=a", "--record"), "before you use --record"),
        (("--record",), "preflight.golden=FILE"),
    ],
)
def test_options_that_do_not_go_together_are_told(
    typed, arguments: tuple[str, ...], said: str, tmp_path: Path
):
    golden = ("preflight.golden=g",) if "preflight.canaries=a" in arguments else ()
    code, _, errors = typed("preflight", f"model.path={tmp_path}", *golden, *arguments)
    assert code == 2
    assert said in errors


def test_a_refused_model_has_no_digest_to_pin(typed, bert: Path, tmp_path: Path):
    embedding = damage.with_config(bert, tmp_path / "m", architectures=["BertModel"])
    code, printed, errors = typed("preflight", f"model.path={embedding}")
    assert (code, "REFUSED" in printed, "model.digest" in printed) == (3, True, False)
    assert "expected: a reranker of a supported family" in printed
    assert "REFUSED: architecture/has_a_score" in errors.splitlines()[-1]
    assert "expected: a reranker" not in errors  # it was printed once


def test_a_folder_that_contains_a_model_is_no_model(typed, bert: Path, tmp_path: Path):
    shutil.copytree(bert, tmp_path / "run" / "model")
    code, printed, errors = typed("preflight", f"model.path={tmp_path / 'run'}")
    assert (code, printed) == (2, "")
    assert f"a model in it: {tmp_path / 'run' / 'model'}" in errors
