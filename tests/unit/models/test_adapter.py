"""LoRA adapters on a base: the scores are peft's, and the fingerprint holds both."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError, PreflightRefused
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.families import FAMILIES, recognise
from reranker_core.preflight.files import check_files
from reranker_core.preflight.prompt import check_template
from tests.checkpoints import TEXTS
from tests.decoder_checkpoints import change
from tests.parity.common import assert_same, encode, load

PAIRS = [(TEXTS[i], TEXTS[-1 - i]) for i in range(len(TEXTS))]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def adapter(kind: Any, base: Path, folder: Path, **settings: Any) -> Any:
    """A folder with an adapter with random weights, and the model that peft makes with it."""
    torch.manual_seed(3)
    task = settings.pop("task_type")
    options = {"num_labels": 1} if task == "SEQ_CLS" else {}
    model = kind.from_pretrained(base, dtype=torch.float32, **options)
    config = peft.LoraConfig(task_type=task, r=4, init_lora_weights=False, **settings)
    adapted = peft.get_peft_model(model, config).eval()
    for name, weight in adapted.named_parameters():  # those that begin as the base has them
        if weight.requires_grad and "lora_A" not in name and "lora_B" not in name:
            weight.data += (
                0.3 * weight.detach().abs().mean().clamp(min=0.1) * torch.randn_like(weight)
            )
    adapted.save_pretrained(folder)
    return adapted


CLASSIFIER = transformers.AutoModelForSequenceClassification
CASES = {
    "an encoder": ("bert", CLASSIFIER, {"task_type": "SEQ_CLS"}, {}),
    "chosen layers, rank-stabilized, two ranks": (
        "xlm_roberta",
        CLASSIFIER,
        {
            "task_type": "SEQ_CLS",
            "target_modules": ["query", "output.dense"],
            "use_rslora": True,
            "rank_pattern": {"query": 2},
        },
        {},
    ),
    "DoRA": ("bert", CLASSIFIER, {"task_type": "SEQ_CLS", "use_dora": True}, {}),
    "a head of its own": (
        "qwen3",
        CLASSIFIER,
        {"task_type": "SEQ_CLS"},
        {"template": "qwen3-reranker"},
    ),
    "a language model": (
        "gemma",
        transformers.AutoModelForCausalLM,
        {"task_type": "CAUSAL_LM", "target_modules": "all-linear"},
        {"template": "bge-gemma"},
    ),
    "biases": ("bert", CLASSIFIER, {"task_type": "SEQ_CLS", "bias": "lora_only"}, {}),
}


def compared(case: str, base: Path, folder: Path) -> tuple[Any, list[float]]:
    """Scores of a case's adapter, and those that peft's model gives without merging."""
    name, kind, settings, more = CASES[case]
    adapted = adapter(kind, base, folder, **settings)
    keys = [f"model.{key}={value}" for key, value in more.items()]
    scorer = load(folder, 300 if more else 100, None, *keys)
    answers = {answer.ids[0]: answer.weight for answer in scorer.pair_format.answers}
    expected = []
    for ids in encode(scorer, PAIRS):
        given = {"input_ids": torch.tensor([ids])}
        if name == "bert":
            types = torch.zeros_like(given["input_ids"])
            types[0, ids.index(3) + 1 :] = 1
            given["token_type_ids"] = types
        with torch.inference_mode():
            logits = adapted(**given).logits[0]
        if answers:
            expected.append(sum(float(logits[-1, id_]) * w for id_, w in answers.items()))
        else:
            expected.append(float(logits[0]))
    return scorer.score_pairs(PAIRS), expected


@pytest.mark.parametrize("case", CASES)
def test_scores_are_those_of_peft(case: str, request: pytest.FixtureRequest, tmp_path: Path):
    assert_same(*compared(case, request.getfixturevalue(CASES[case][0]), tmp_path / "adapter"))


def opened(folder: Path, **settings: Any) -> Any:
    return open_checkpoint(ModelConfig(path=str(folder), **settings))


def test_the_digests_hold_adapter_and_base(bert: Path, tmp_path: Path):
    base = shutil.copytree(bert, tmp_path / "base")
    adapter(CLASSIFIER, base, tmp_path / "a", task_type="SEQ_CLS")
    plain, first = opened(base).digests, opened(tmp_path / "a").digests
    assert {key: plain[key] for key in ("weights", "tokenizer")} == {
        key: first[key] for key in ("weights", "tokenizer")
    }
    tensors = load_file(tmp_path / "a" / "adapter_model.safetensors")
    save_file({k: v + 1 for k, v in tensors.items()}, tmp_path / "a" / "adapter_model.safetensors")
    second = opened(tmp_path / "a").digests
    assert {k for k in first if first[k] != second[k]} == {"adapter"}
    weights = load_file(base / "model.safetensors")
    save_file({k: v + 1 for k, v in weights.items()}, base / "model.safetensors")
    third = opened(tmp_path / "a").digests
    assert {k for k in second if second[k] != third[k]} == {"weights"}


def test_files_beside_the_adapter_go_before_those_of_the_base(bert: Path, tmp_path: Path):
    adapter(CLASSIFIER, bert, tmp_path / "a", task_type="SEQ_CLS")
    settings = json.loads((bert / "tokenizer_config.json").read_text())
    (tmp_path / "a" / "tokenizer_config.json").write_text(
        json.dumps(settings | {"model_max_length": 33})
    )
    found = opened(tmp_path / "a")
    family = FAMILIES[recognise(found, "auto")]
    assert family.pair_format(found, ModelConfig(path=str(tmp_path / "a"))).max_length == 33


def test_workers_get_absolute_places(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(bert, tmp_path / "base")
    adapter(CLASSIFIER, tmp_path / "base", tmp_path / "a", task_type="SEQ_CLS")
    monkeypatch.chdir(tmp_path)
    pinned = open_checkpoint(ModelConfig(path="a", base="base")).pinned
    assert pinned == {"path": str(tmp_path / "a"), "base": str(tmp_path / "base"), "revision": None}
    assert opened(pinned["path"], base=pinned["base"]).digest == opened(tmp_path / "a").digest


def refused(folder: Path, **settings: Any) -> str:
    model = ModelConfig(path=str(folder), **settings)
    return "\n".join(str(c) for c in check_files(open_checkpoint(model), model) if not c.passed)


def test_a_base_that_is_not_there_is_named(bert: Path, tmp_path: Path):
    adapter(CLASSIFIER, bert, tmp_path / "a", task_type="SEQ_CLS")
    path = tmp_path / "a" / "adapter_config.json"
    path.write_text(path.read_text().replace(str(bert), "/home/someone/base"))
    told = refused(tmp_path / "a")
    assert "files/adapter_usable" in told
    assert "/home/someone/base" in told
    assert "Set model.base" in told
    assert not refused(tmp_path / "a", base=str(bert))


def test_a_base_in_a_folder_with_an_at_sign_is_found(bert: Path, tmp_path: Path):
    base = shutil.copytree(bert, tmp_path / "runs@home" / "base")
    adapter(CLASSIFIER, base, tmp_path / "a", task_type="SEQ_CLS")
    assert not refused(tmp_path / "a")
    for at, known in (("org/base@0a1b", "0a1b"), ("/no/such@place/base", None)):
        told = refused(tmp_path / "a", base=at)
        assert (f"model.revision={known}" in told) == (known is not None)
        assert at.partition("@")[0] in told


def test_the_name_of_the_base_tells_the_template(qwen3: Path, tmp_path: Path):
    base = shutil.copytree(qwen3, tmp_path / "Qwen3-Reranker-0.6B")
    change(base, "config.json", _name_or_path="")
    kind = transformers.AutoModelForCausalLM
    adapter(kind, base, tmp_path / "run1", task_type="CAUSAL_LM", target_modules="all-linear")
    model = ModelConfig(path=str(tmp_path / "run1"))
    check = check_template(open_checkpoint(model), model)
    assert check.passed
    assert "qwen3-reranker (the adapter's base has 'Qwen3-Rerank')" in check.measured


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "peft_type is PROMPT_TUNING"),
        ({"base_model_name_or_path": None}, "names no base_model_name_or_path"),
        ({"base_model_name_or_path": ["x"]}, "adapter_usable"),
    ],
)
def test_adapters_that_cannot_be_used_are_named(
    bert: Path, tmp_path: Path, change: dict[str, Any], told: str
):
    adapter(CLASSIFIER, bert, tmp_path / "a", task_type="SEQ_CLS")
    path = tmp_path / "a" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert told in refused(tmp_path / "a")


def test_an_adapter_of_another_model_is_refused(bert: Path, xlm_roberta: Path, tmp_path: Path):
    adapter(CLASSIFIER, bert, tmp_path / "a", task_type="SEQ_CLS")
    model = ModelConfig(path=str(tmp_path / "a"), base=str(xlm_roberta))
    with pytest.raises(PreflightRefused, match="weights/adapter_fits"):
        FAMILIES["encoder"].load(open_checkpoint(model), model, torch.float32, "cpu")


def test_weights_that_an_adapter_lacks_are_missing(bert: Path, tmp_path: Path):
    adapter(CLASSIFIER, bert, tmp_path / "a", task_type="SEQ_CLS")
    file = tmp_path / "a" / "adapter_model.safetensors"
    tensors = load_file(file)
    gone = next(name for name in tensors if "lora_B" in name)
    save_file({k: v for k, v in tensors.items() if k != gone} | {"x": torch.ones(1)}, file)
    model = ModelConfig(path=str(tmp_path / "a"))
    loaded = FAMILIES["encoder"].load(open_checkpoint(model), model, torch.float32, "cpu")
    assert loaded.missing == (gone,)
    assert loaded.unexpected == ("x",)


def test_a_base_without_an_adapter_is_an_error(bert: Path):
    with pytest.raises(ConfigError, match=r"model\.base=.* is not a LoRA adapter"):
        opened(bert, base="org/base")
