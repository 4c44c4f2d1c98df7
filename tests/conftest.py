"""Checkpoints, and a server, that all tests share, made once a session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import pytest
import torch
from xdist.scheduler import LoadScopeScheduling

from tests import checkpoints, decoder_checkpoints, servers
from tests.shared_ray import joined, rerank, shared_ray  # noqa: F401 - fixtures

# Threads only get in each other's way on models this small.
torch.set_num_threads(1)


class ReadmeTogether(LoadScopeScheduling):
    """Any worker runs any test, but one runs all of `tests/readme`, from the beginning on."""

    def _split_scope(self, nodeid: str) -> str:
        return "readme" if nodeid.startswith("tests/readme/") else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ReadmeTogether | None:
    return ReadmeTogether(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def xlm_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.xlm_roberta(tmp_path_factory.mktemp("xlm_roberta"))


@pytest.fixture(scope="session")
def modernbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.modernbert(tmp_path_factory.mktemp("modernbert"))


@pytest.fixture(scope="session")
def distilbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.distilbert(tmp_path_factory.mktemp("distilbert"))


@pytest.fixture(scope="session")
def electra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.electra(tmp_path_factory.mktemp("electra"))


@pytest.fixture(scope="session")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoder_checkpoints.gemma(tmp_path_factory.mktemp("gemma"))


@pytest.fixture(scope="session")
def gemma_right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gemma_right")
    return decoder_checkpoints.gemma(folder, padding_side="right")


@pytest.fixture(scope="session")
def gemma_untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoder_checkpoints.gemma_untied(tmp_path_factory.mktemp("gemma_untied"))


@pytest.fixture(scope="session")
def gemma2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoder_checkpoints.gemma2(tmp_path_factory.mktemp("gemma2"))


@pytest.fixture(scope="session")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoder_checkpoints.qwen3(tmp_path_factory.mktemp("qwen3"))


@pytest.fixture(scope="session")
def qwen2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoder_checkpoints.qwen2(tmp_path_factory.mktemp("qwen2"))


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoder_checkpoints.llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def qwen3_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoder_checkpoints.qwen3_classifier(tmp_path_factory.mktemp("qwen3_classifier"))


@pytest.fixture(scope="session")
def nemotron(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoder_checkpoints.nemotron(tmp_path_factory.mktemp("nemotron"))


@pytest.fixture(scope="session")
def minicpm_layerwise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoder_checkpoints.minicpm_layerwise(tmp_path_factory.mktemp("minicpm_layerwise"))


@pytest.fixture(scope="session")
def gemma2_lightweight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoder_checkpoints.gemma2_lightweight(tmp_path_factory.mktemp("gemma2_lightweight"))


@pytest.fixture(scope="session")
def monot5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoder_checkpoints.monot5(tmp_path_factory.mktemp("monot5"))


@pytest.fixture(scope="session")
def monot5_untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoder_checkpoints.monot5(tmp_path_factory.mktemp("monot5_untied"), tied=False)


@pytest.fixture(scope="session")
def moto() -> Iterator[servers.Moto]:
    with servers.moto() as running:
        yield running


@pytest.fixture(scope="module")
def moto_bucket(moto: servers.Moto) -> Iterator[str]:
    with servers.clients_of(moto.endpoint):
        yield f"s3://{servers.BUCKET}"


@pytest.fixture(params=["disk", "moto"])
def output_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an output may come to lie: on a disk, on S3."""
    if request.param == "disk":
        return str(tmp_path / "out")
    return f"{request.getfixturevalue('moto_bucket')}/{tmp_path.name}"
