"""Heads in sentence-transformers' modules score as its CrossEncoder does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder

from reranker_core.checks import Check
from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError, PreflightRefused
from reranker_core.models import modular
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.families import recognise
from reranker_core.models.modules import read_modules
from reranker_core.score.scorer import Scorer
from tests import modular_checkpoints
from tests.checkpoints import LONGEST
from tests.decoder_checkpoints import change
from tests.parity.common import assert_same, load, sample_pairs
from tests.tables import config

KINDS = ["ettin", "averaged", "joined_poolings"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for kind in KINDS:
        made[kind] = getattr(modular_checkpoints, kind)(tmp_path_factory.mktemp(kind))
    return made


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(folders["ettin"], tmp_path / "copy")


def cross_encoder(folder: Path, pairs: list[tuple[str, str]], longest: int) -> np.ndarray:
    reference = CrossEncoder(
        str(folder), device="cpu", max_length=longest, activation_fn=torch.nn.Identity()
    )
    # One by one, since padding changes ModernBERT's local attention.
    return reference.predict(pairs, show_progress_bar=False, batch_size=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("longest", [LONGEST, 33])
def test_scores_equal_cross_encoder(folders: dict[str, Path], kind: str, longest: int):
    pairs = sample_pairs(longest, None)
    scorer = load(folders[kind], longest, None, "model.truncation=longest_first")
    assert_same(scorer.score_pairs(pairs), cross_encoder(folders[kind], pairs, longest))


def opened(folder: Path, **settings: object) -> tuple[modular.Checkpoint, ModelConfig]:
    model = ModelConfig(path=str(folder), **settings)
    return open_checkpoint(model), model


def preflight(folder: Path, *settings: str) -> dict[str, Check]:
    off = ("preflight.checks.meaning=off", "model.dtype=float32", "model.device=cpu")
    try:
        report = Scorer.load(config("in", "out", *off, *settings, model=folder)).report.as_dict()
    except PreflightRefused as error:
        report = error.report
    return {f"{check['group']}/{check['name']}": Check(**check) for check in report["checks"]}


@pytest.mark.parametrize("kind", KINDS)
def test_preflight_accepts_them(folders: dict[str, Path], kind: str):
    checks = preflight(folders[kind])
    failed = [name for name, check in checks.items() if not check.passed]
    assert all(name.startswith("meaning/") for name in failed)  # random weights do not rank
    assert "meaning/not_constant" in checks  # all were made


def test_an_older_list_of_modules_is_read(copy: Path):
    modules = json.loads((copy / "modules.json").read_text())
    for module in modules:
        module["type"] = "sentence_transformers.models." + module["type"].rpartition(".")[2]
    (copy / "modules.json").write_text(json.dumps(modules))
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True}
    (copy / "1_Pooling/config.json").write_text(json.dumps(pooling))
    assert recognise(open_checkpoint(ModelConfig(path=str(copy))), "auto") == "modular"
    pairs = sample_pairs(64, None)[:10]
    settings = (64, None, "model.truncation=longest_first")
    assert_same(load(copy, *settings).score_pairs(pairs), cross_encoder(copy, pairs, 64))


def test_the_length_is_the_one_in_the_file(copy: Path):
    change(copy, "sentence_bert_config.json", max_seq_length=48)
    assert modular.pair_format(*opened(copy)).max_length == 48
    assert modular.pair_format(*opened(copy, max_length=100)).max_length == 100


def test_the_digest_holds_modules(copy: Path):
    def digests() -> dict[str, str]:
        return open_checkpoint(ModelConfig(path=str(copy))).digests

    before = digests()
    assert set(before) == {"weights", "tokenizer", "config", "modules"}
    file = copy / "4_Dense/model.safetensors"
    save_file({name: tensor * 2 for name, tensor in load_file(file).items()}, file)
    assert digests()["modules"] != before["modules"]
    between = digests()
    change(copy, "2_Dense/config.json", activation_function="torch.nn.modules.activation.ReLU")
    assert digests()["modules"] != between["modules"]
    assert {name: digests()[name] for name in ("weights", "config")} == {
        name: before[name] for name in ("weights", "config")
    }


def test_missing_and_misshapen_weights_of_modules_are_refused(copy: Path):
    file = copy / "4_Dense/model.safetensors"
    whole = load_file(file)
    save_file({"linear.weight": whole["linear.weight"]}, file)
    assert "4_Dense.linear.bias" in preflight(copy)["weights/none_missing"].measured
    save_file(whole | {"linear.weight": torch.ones(1, 8)}, file)
    assert "4_Dense.linear.weight" in preflight(copy)["weights/shapes"].measured
    save_file(whole | {"other.weight": torch.ones(1, 8)}, file)
    assert "4_Dense.other.weight" in preflight(copy)["weights/none_unexpected"].measured
    file.write_bytes(file.read_bytes()[:-4])
    assert not preflight(copy)["files/weights_present"].passed
    file.unlink()
    assert "4_Dense has no weights" in preflight(copy)["files/weights_present"].measured


def test_modules_that_are_not_known_are_named(copy: Path):
    modules = json.loads((copy / "modules.json").read_text())
    modules[3]["type"] = "own.code.Gate"
    (copy / "modules.json").write_text(json.dumps(modules))
    found = preflight(copy)["architecture/no_embedding_model"]
    assert not found.passed
    assert "Transformer, Pooling, Dense, Gate, Dense" in found.measured


def test_an_embedding_model_with_a_dense_layer_stays_refused(copy: Path):
    change(copy, "4_Dense/config.json", module_output_name="sentence_embedding")
    found = preflight(copy)["architecture/no_embedding_model"]
    assert not found.passed
    assert "pools tokens into an embedding" in found.measured


def test_an_activation_that_is_no_class_of_torch_is_an_error(copy: Path):
    change(copy, "2_Dense/config.json", activation_function="os.system")
    with pytest.raises(ConfigError, match="activation_function=os"):
        modular.load(*opened(copy), torch.float32, "cpu")


def test_an_untrained_head_in_modules_is_refused(copy: Path):
    for number, size in (("2_Dense", (32, 32)), ("4_Dense", (1, 32))):
        drawn = torch.nn.Linear(size[1], size[0])
        file = copy / number / "model.safetensors"
        stored = load_file(file)
        save_file(
            {f"linear.{n}": w for n, w in drawn.state_dict().items() if f"linear.{n}" in stored},
            file,
        )
    checks = preflight(copy)
    assert not checks["weights/head_trained"].passed


def test_a_list_that_cannot_be_read_lists_nothing(tmp_path: Path):
    assert read_modules(tmp_path) == ()
    for content in ("{", "{}", "[1]", '[{"type": 3}]'):
        (tmp_path / "modules.json").write_text(content)
        assert read_modules(tmp_path) == ()
