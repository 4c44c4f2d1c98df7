"""Checkpoints, and a server, that all tests share, made once a session."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# What reproducible scores set (reranker_core/device.py), for MKL has run before their tests here.
os.environ["MKL_CBWR"] = "AUTO,STRICT"

import pytest

from tests import servers
from tests.shared_ray import aws_profile, joined, rerank, shared_ray  # noqa: F401 - fixtures


def made(maker: str, **options: Any) -> Any:
    """A fixture: the folder of a checkpoint, by `maker` in `tests`."""

    @pytest.fixture(scope="session")
    def fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
        module, _, function = maker.partition(".")
        folder = tmp_path_factory.mktemp(function)
        # Late: it takes seconds, and xdist's first process makes none.
        return getattr(importlib.import_module(f"tests.{module}"), function)(folder, **options)

    return fixture


bert = made("checkpoints.bert")
xlm_roberta = made("checkpoints.xlm_roberta")
modernbert = made("checkpoints.modernbert")
distilbert = made("checkpoints.distilbert")
electra = made("checkpoints.electra")
deberta = made("checkpoints.deberta")
gemma = made("decoder_checkpoints.gemma")
gemma_right = made("decoder_checkpoints.gemma", padding_side="right")
gemma_untied = made("decoder_checkpoints.gemma_untied")
gemma2 = made("decoder_checkpoints.gemma2")
qwen3 = made("decoder_checkpoints.qwen3")
qwen2 = made("decoder_checkpoints.qwen2")
llama = made("decoder_checkpoints.llama")
qwen3_classifier = made("decoder_checkpoints.qwen3_classifier")
nemotron = made("decoder_checkpoints.nemotron")
minicpm_layerwise = made("decoder_checkpoints.minicpm_layerwise")
gemma2_lightweight = made("decoder_checkpoints.gemma2_lightweight")
monot5 = made("decoder_checkpoints.monot5")
mt5 = made("decoder_checkpoints.mt5")
monot5_untied = made("decoder_checkpoints.monot5", tied=False)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """More would only get in each other's way on models this small."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def no_sync() -> Iterator[None]:
    """Nobody cuts the power here, and waiting for the disk is a fifth of some modules' time."""
    with mock.patch("os.fsync"):
        yield


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
