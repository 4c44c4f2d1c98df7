"""LoRA adapters and models in stores: a run is prepared, a replica loads and checks the model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import fsspec
import peft
import pytest
import torch
import transformers

from reranker_core.config import Config
from reranker_core.errors import OutputConflict, PreflightRefused
from reranker_core.prepare import Prepared, prepare
from reranker_core.score.loading import load_scorer
from tests import damage
from tests.begun import begin, finish, settings, two_shards
from tests.running import ROOT

DEMO = ROOT / "demo/model"
PAIRS = [("how to sort", "Sorts the list in place."), ("a csv file", "read_csv reads a file.")]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the demo's model, which changes its scores a little."""
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("adapter")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(DEMO)
    adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", r=2))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(std=0.02)
    adapted.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return two_shards(tmp_path)


def put(source: Path, place: str) -> str:
    """A folder in a store."""
    for path in source.iterdir():
        fsspec.filesystem("s3").pipe_file(f"{place}/{path.name}", path.read_bytes())
    return place


def run_of(folder: Path, model: str | Path, *more: str) -> Config:
    fixed = ("model.dtype=float32", "model.device=cpu", f"model.path={model}")
    return settings(folder, DEMO, *fixed, *more)


def on_a_replica(prepared: Prepared) -> Any:
    """The scores of the model that a replica loads and checks, with the driver's configuration."""
    return load_scorer(prepared.config, prepared.fingerprint["model"]).score_pairs(PAIRS)


@pytest.mark.slow
def test_an_adapter_and_its_base_in_a_store_are_those_of_the_folders(
    folder: Path, adapter: Path, moto_bucket: str
):
    here = prepare(run_of(folder, adapter))
    places = [put(of, f"{moto_bucket}/{of.name}") for of in (adapter, DEMO)]
    there = prepare(run_of(folder, places[0], f"model.base={places[1]}"))
    assert there.config.model.path == places[0]
    assert there.config.model.base == places[1]
    assert there.fingerprint == here.fingerprint
    scores = on_a_replica(there)
    assert scores.tolist() == on_a_replica(here).tolist()
    assert scores.tolist() != on_a_replica(prepare(run_of(folder, DEMO))).tolist()


def test_a_run_goes_on_with_the_same_adapter_and_the_same_base_alone(
    folder: Path, adapter: Path, tmp_path: Path
):
    begin(first := prepare(run_of(folder, adapter)))
    finish(first, 0)
    assert prepare(run_of(folder, adapter)).before is not None
    moved = shutil.copytree(DEMO, tmp_path / "moved")
    assert prepare(run_of(folder, adapter, f"model.base={moved}")).before is not None

    def edit(weights: damage.Weights) -> None:
        weights["bert.pooler.dense.bias"] += 1e-3

    other_base = damage.with_weights(DEMO, tmp_path / "base", edit)
    for wrong in (run_of(folder, adapter, f"model.base={other_base}"), run_of(folder, DEMO)):
        with pytest.raises(OutputConflict):
            prepare(wrong)


def test_an_adapter_on_the_base_of_another_size_is_refused(folder: Path, adapter: Path, bert: Path):
    prepared = prepare(run_of(folder, adapter, f"model.base={bert}"))
    with pytest.raises(PreflightRefused, match="weights/adapter_fits"):
        on_a_replica(prepared)
