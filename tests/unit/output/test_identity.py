"""Whose an output is, and what makes another run of it."""

from __future__ import annotations

import copy
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from reranker_core.errors import OutputConflict
from reranker_core.input.plan import make_plan
from reranker_core.models import encoder, llm
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.output.identity import (
    claim,
    digest,
    fingerprint,
    identity,
    recorded,
    refuse_differences,
    temperature,
)
from reranker_core.storage.store import Store
from tests.tables import config, flat, write


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write(tmp_path / "in" / "a.parquet", flat(10))
    write(tmp_path / "in" / "b.parquet", flat(10, first=10))
    return tmp_path / "in"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "out"))


def run_of(source: Path | list[Path], bert: Path, *overrides: str) -> dict[str, Any]:
    settings = config(source, "elsewhere", *overrides, model=bert)
    checkpoint = open_checkpoint(settings.model)
    pair_format = encoder.pair_format(checkpoint, settings.model)
    scoring = fingerprint(settings, checkpoint, pair_format, "encoder")
    return identity(scoring, make_plan(settings), settings)


def test_a_fresh_output_belongs_to_nobody(store: Store):
    assert recorded(store) is None


def test_an_empty_folder_belongs_to_nobody(tmp_path: Path):
    assert recorded(Store(str(tmp_path))) is None


def test_files_of_somebody_else_are_not_taken_over(store: Store):
    store.write("report.csv", b"1")
    with pytest.raises(OutputConflict, match=r"report\.csv"):
        recorded(store)


def test_a_claimed_output_tells_whose_it_is(store: Store, source: Path, bert: Path):
    run = run_of(source, bert)
    claim(store, run, None)
    assert recorded(store) == run
    refuse_differences(store, recorded(store) or {}, run)


def test_the_same_run_again_is_the_same(source: Path, bert: Path):
    assert run_of(source, bert) == run_of(source, bert)


@pytest.mark.parametrize(
    "override",
    [
        "score.max_batch_tokens=999",
        "replicas.max=3",
        "replicas.num_cpus=2",
        "guard.max_quarantined_fraction=0.5",
        "preflight.checks.meaning=off",
        "output.path=another",
        "ray.address=local",
        "model.device=cpu",
    ],
)
def test_what_changes_no_output_is_the_same_run(source: Path, bert: Path, override: str):
    assert run_of(source, bert, override) == run_of(source, bert)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model.max_length=64", "model.max_length"),
        ("model.query_max_length=20", "model.query_max_length"),
        ("model.truncation=longest_first", "model.truncation"),
        ("model.dtype=float16", "model.dtype"),
        ("model.long_passage=max", "model.long_passage"),
        ("output.normalize=sigmoid", "output.normalize"),
        ("score.reproducible=true", "score.reproducible"),
        ("output.rank=true", "output.rank"),
        ("output.text=true", "output.text"),
        ("output.passthrough=[]", "output.passthrough"),
        ("output.columns.score=s", "output.columns.score"),
        ("plan.part_rows=5", "plan.part_rows"),
        ("plan.part_bytes=5000", "plan.part_bytes"),
        ("input.columns.query=doc_id", "input.columns.query"),
    ],
)
def test_what_changes_the_output_is_another_run_and_named(
    store: Store, source: Path, bert: Path, override: str, key: str
):
    claim(store, run_of(source, bert), None)
    with pytest.raises(OutputConflict, match=f"  {key}: .* before, .* now") as caught:
        refuse_differences(store, recorded(store) or {}, run_of(source, bert, override))
    first, difference, remedy = str(caught.value).splitlines()
    assert store.url in first
    assert difference.startswith(f"  {key}: ")
    assert "use the previous values" in remedy
    assert "choose another output.path or remove the folder" in remedy
    assert "shard" not in str(caught.value)
    assert caught.value.exit_code == 6


def edited(bert: Path, folder: Path, name: str) -> Path:
    """A copy of the checkpoint, with a byte of one file changed."""
    shutil.copytree(bert, folder)
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1 if name.endswith("safetensors") else 0
    if not name.endswith("safetensors"):
        content += b"\n"
    (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("model.safetensors", "weights"),
        ("tokenizer.json", "tokenizer"),
        ("tokenizer_config.json", "tokenizer"),
        ("config.json", r"config\.json"),
    ],
)
def test_another_model_is_another_run(
    store: Store, source: Path, bert: Path, tmp_path: Path, name: str, key: str
):
    before, now = run_of(source, bert), run_of(source, edited(bert, tmp_path / "edited", name))
    with pytest.raises(OutputConflict, match=rf"model\.path \({key}\): different content"):
        refuse_differences(store, before, now)


def test_a_copy_of_the_model_is_the_same_run(source: Path, bert: Path, tmp_path: Path):
    shutil.copytree(bert, tmp_path / "copy")
    assert run_of(source, tmp_path / "copy") == run_of(source, bert)


def test_a_moved_input_is_the_same_run(source: Path, bert: Path, tmp_path: Path):
    before = run_of(source, bert)
    shutil.move(source, tmp_path / "moved")
    assert run_of(tmp_path / "moved", bert) == before


def test_a_new_shard_is_another_run(store: Store, source: Path, bert: Path):
    before = run_of(source, bert)
    write(source / "c.parquet", flat(3))
    with pytest.raises(OutputConflict, match=r"c\.parquet: new, 3 rows"):
        refuse_differences(store, before, run_of(source, bert))


def test_a_missing_shard_is_another_run(store: Store, source: Path, bert: Path):
    before = run_of(source, bert)
    (source / "b.parquet").unlink()
    with pytest.raises(OutputConflict, match=r"b\.parquet: removed; it had 10 rows"):
        refuse_differences(store, before, run_of(source, bert))


def test_a_rewritten_shard_is_another_run(store: Store, source: Path, bert: Path):
    before = run_of(source, bert)
    os.utime(source / "b.parquet", (1, 1))
    with pytest.raises(OutputConflict, match=r"b\.parquet"):
        refuse_differences(store, before, run_of(source, bert))


def test_shards_of_one_name_in_two_folders_are_both_part_of_the_run(
    source: Path, bert: Path, tmp_path: Path
):
    for day, rows in (("1", 5), ("2", 6), ("3", 6)):
        write(tmp_path / day / "x.parquet", flat(rows))
    shutil.copystat(tmp_path / "2" / "x.parquet", tmp_path / "3" / "x.parquet")
    before = run_of([tmp_path / "1", tmp_path / "2"], bert)
    assert run_of([tmp_path / "3", tmp_path / "2"], bert) != before


def test_only_shards_that_changed_are_told_how_to_score_them(store, source: Path, bert: Path):
    before = run_of(source, bert)
    write(source / "a.parquet", flat(12))
    with pytest.raises(OutputConflict, match=r"input\.changed=rescore") as caught:
        refuse_differences(store, before, run_of(source, bert))
    assert "use the previous values" not in str(caught.value)
    assert "a.parquet: 10 rows in" in str(caught.value)


@pytest.mark.parametrize(
    ("normalize", "template", "expected", "divisor"),
    [
        ("sigmoid", "zerank", "sigmoid(x / 5)", 5),
        ("sigmoid", "qwen3-reranker", "sigmoid", 1),
        ("none", "zerank", "none", 5),
    ],
)
def test_a_temperature_is_part_of_the_normalisation(
    source: Path, qwen3: Path, normalize: str, template: str, expected: str, divisor: float
):
    settings = config(
        source,
        "elsewhere",
        f"output.normalize={normalize}",
        f"model.template={template}",
        "model.max_length=400",
        model=qwen3,
    )
    checkpoint = open_checkpoint(settings.model)
    pair_format = llm.pair_format(checkpoint, settings.model)
    scoring = fingerprint(settings, checkpoint, pair_format, "llm")
    assert scoring["normalize"] == expected
    assert temperature(scoring) == divisor
    assert temperature({"normalize": "sigmoid"}) == 1  # an encoder has no template


def test_many_differences_are_cut(store: Store):
    before = {str(i): i for i in range(30)}
    with pytest.raises(OutputConflict, match="and 22 more") as caught:
        refuse_differences(store, before, {})
    assert len(str(caught.value).splitlines()) < 15


def test_digests_tell_runs_apart_and_not_the_order_of_keys():
    run = {"a": 1, "b": {"c": [1, 2]}}
    other = copy.deepcopy(run)
    other["b"]["c"].append(3)
    assert digest(run) == digest({"b": {"c": [1, 2]}, "a": 1})
    assert digest(run) != digest(other)


def test_the_identity_is_the_same_through_json(source: Path, bert: Path):
    run = run_of(source, bert, "output.passthrough=[]")
    assert json.loads(json.dumps(run)) == run
    assert digest(json.loads(json.dumps(run))) == digest(run)


def test_the_identity_names_no_folder_of_this_machine(source: Path, bert: Path, tmp_path: Path):
    text = json.dumps(run_of(source, bert))
    assert str(tmp_path) not in text
    assert str(bert) not in text
