"""Code that comes with a checkpoint: constructed, its own, and named where it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reranker_core.checks import Check
from reranker_core.config import ModelConfig
from reranker_core.errors import PreflightRefused
from reranker_core.models import encoder
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.score.loading import load_scorer
from tests import damage
from tests.parity.common import load
from tests.tables import config

PAIRS = [("how to sort", "Sorts the list in place."), ("a csv file", "read_csv reads a file.")]
TABLES = """
import torch
from transformers import BertConfig, BertForSequenceClassification


class OwnConfig(BertConfig):
    model_type = "own-bert"


class OwnForSequenceClassification(BertForSequenceClassification):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        size = config.max_position_embeddings
        self.register_buffer("order", torch.arange(size), persistent=False)
        self.steps = torch.arange(size)
        self.post_init()

    def forward(self, input_ids=None, **given):
        width = input_ids.shape[1]
        order = (self.order + self.steps.to(self.order.device))[:width] // 2
        order = order.expand(input_ids.shape)
        return super().forward(input_ids=input_ids, position_ids=order, **given)
"""


@pytest.fixture
def make(bert: Path, tmp_path: Path) -> Any:
    def make(code: str, where: str = "", **settings: Any) -> Path:
        name = "OwnForSequenceClassification"
        folder = damage.with_config(
            bert,
            tmp_path / f"m{len(list(tmp_path.iterdir()))}",
            model_type="own-bert",
            architectures=[name],
            auto_map={
                "AutoConfig": f"{where}modeling_own.OwnConfig",
                "AutoModelForSequenceClassification": f"{where}modeling_own.{name}",
            },
            **settings,
        )
        (folder / "modeling_own.py").write_text(code)
        return folder

    return make


def refused(folder: Path, *settings: str) -> list[Check]:
    off = ("preflight.checks.meaning=off", "model.dtype=float32", "model.device=cpu")
    with pytest.raises(PreflightRefused) as caught:
        load_scorer(config("in", "out", *off, *settings, model=folder))
    return [Check(**check) for check in caught.value.report["checks"] if not check["passed"]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_a_constructor_computes_is_there(make: Any, bert: Path, dtype: torch.dtype):
    model = ModelConfig(path=str(make(TABLES)), trust_remote_code=True)
    loaded = [encoder.load(open_checkpoint(model), model, dtype, "cpu").model for _ in range(2)]
    for network in loaded:
        assert network.order.tolist() == list(range(130))
        assert network.steps.tolist() == list(range(130))
        assert network.dtype == dtype
    for name, weight in loaded[0].state_dict().items():
        assert torch.equal(weight, loaded[1].state_dict()[name])


def test_scores_are_those_of_the_same_weights_without_own_code(make: Any, bert: Path):
    scores = load(make(TABLES), 64, None, "model.trust_remote_code=true").score_pairs(PAIRS)
    np.testing.assert_allclose(scores, load(bert, 64, None).score_pairs(PAIRS), rtol=1e-5)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "from transformers.models.bert.modeling_bert import not_there_any_more\n" + TABLES,
            "not_there_any_more",
        ),
        ("import no_such_package_here\n" + TABLES, "no_such_package_here"),
        (TABLES.replace("size = config", "size = config.gone"), "gone"),
        (TABLES.replace("class OwnConfig", "class Other"), "OwnConfig"),
        (TABLES.replace("torch.arange(size), p", "torch.randperm(size), p"), "order has other"),
        (TABLES.replace("self.steps = torch.arange", "self.steps = torch.randperm"), "steps has"),
    ],
)
def test_code_that_fails_is_named_and_nothing_else(make: Any, code: str, said: str):
    (check,) = refused(make(code), "model.trust_remote_code=true")
    assert f"{check.group}/{check.name}" == "architecture/own_code_runs"
    assert said in check.measured
    assert "okenizer" not in str(check)


def test_code_of_another_repository_is_refused_by_its_name(make: Any):
    folder = make(TABLES, "org/new-impl--")
    for settings in ((), ("model.trust_remote_code=true",)):
        (check,) = refused(folder, *settings)
        assert check.name == "no_remote_code"
        assert "auto_map names code of org/new-impl" in check.measured
    path = folder / "config.json"
    path.write_text(path.read_text().replace("org/new-impl--", ""))  # as the remedy says
    load(folder, 64, None, "model.trust_remote_code=true")


def test_code_that_is_not_run_is_told_where_weights_are_missing(bert: Path, tmp_path: Path):
    def rename(weights: damage.Weights) -> None:
        for name in list(weights):
            weights[name.replace("attention.self.query", "mixer.Wq")] = weights.pop(name)

    folder = damage.with_weights(bert, tmp_path / "w", rename)
    code = {"AutoModelForSequenceClassification": "modeling_own.Own"}
    folder = damage.with_config(folder, tmp_path / "m", auto_map=code)
    check = refused(folder)[0]
    assert check.name == "none_missing"
    assert "set model.trust_remote_code=true" in check.remedy
    assert "embedding" not in check.remedy


def test_settings_that_are_at_fault_are_named(bert: Path, tmp_path: Path):
    for number, wrong in enumerate(
        ({"problem_type": "single_label_classification"}, {"hidden_size": "wide"})
    ):
        (check,) = refused(damage.with_config(bert, tmp_path / f"m{number}", **wrong))
        assert f"{check.group}/{check.name}" == "files/config_valid"
        assert "config.json" in check.measured
        assert "okenizer" not in str(check)


def test_tokenizers_of_other_repositories_are_seen(bert: Path, tmp_path: Path):
    settings = json.loads((bert / "tokenizer_config.json").read_text())
    settings["auto_map"] = {"AutoTokenizer": ["org/other--tok.Slow", None]}
    content = json.dumps(settings).encode()
    folder = damage.with_file(bert, tmp_path / "m", "tokenizer_config.json", content)
    found = open_checkpoint(ModelConfig(path=str(folder)))
    assert found.foreign_code == ["org/other"]
    load(folder, 64, None)  # it is not asked for
    (check,) = refused(folder, "model.trust_remote_code=true")
    assert "org/other" in check.measured


def test_a_librarys_message_ends_with_a_sentence(bert: Path, tmp_path: Path):
    (check,) = refused(damage.with_config(bert, tmp_path / "m", model_type="bert-of-tomorrow"))
    assert "bert-of-tomorrow" in check.measured
    assert check.measured.endswith("out of date")
    assert check.measured.count("`") % 2 == 0
