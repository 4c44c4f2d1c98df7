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
from reranker_core.score.loading import load_scorer
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
        report = load_scorer(config("in", "out", *off, *settings, model=folder)).report.as_dict()
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


def listed(folder: Path, place: int, **entry: str) -> None:
    """Change an entry of modules.json."""
    modules = json.loads((folder / "modules.json").read_text())
    modules[place] |= entry
    (folder / "modules.json").write_text(json.dumps(modules))


def refused(folder: Path) -> str:
    found = preflight(folder)["architecture/modules_known"]
    assert not found.passed
    assert found.remedy
    return found.measured


@pytest.mark.parametrize("name", ["own.code.Gate", "own.code.LayerNorm", "pylate.models.Dense"])
def test_modules_that_are_not_known_are_named(copy: Path, name: str):
    listed(copy, 3, type=name)
    assert f"Transformer, Pooling in 1_Pooling, Dense in 2_Dense, {name} in" in refused(copy)


def test_a_transformer_of_other_code_or_in_another_folder_is_named(copy: Path):
    listed(copy, 0, type="custom_st.Transformer")
    assert "custom_st.Transformer" in refused(copy)
    listed(copy, 0, type="sentence_transformers.models.Transformer", path="0_Transformer")
    assert "Transformer in 0_Transformer" in refused(copy)


@pytest.mark.parametrize("content", ["[]", "5", "{}", "[{}]", "[", '{"a": {"type": "b"}}'])
def test_a_list_of_modules_that_holds_none_is_named(copy: Path, content: str):
    (copy / "modules.json").write_text(content)
    assert "modules.json holds no list of modules" in refused(copy)


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("2_Dense/config.json", {"module_input_name": "token_embeddings"}),
        ("2_Dense/config.json", {"module_output_name": "scores"}),
        ("4_Dense/config.json", {"module_input_name": "token_embeddings"}),
        ("4_Dense/config.json", {"scale": 2}),
        ("3_LayerNorm/config.json", {"eps": 1e-3}),
        ("1_Pooling/config.json", {"include_prompt": False}),
        ("1_Pooling/config.json", {"skip_tokens": [1]}),
        ("sentence_bert_config.json", {"do_lower_case": True}),
        ("sentence_bert_config.json", {"query_length": 8}),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}),
        ("sentence_bert_config.json", {"module_output_name": "sentence_embedding"}),
        ("sentence_bert_config.json", {"processing_kwargs": {"text": {"max_length": 8}}}),
    ],
)
def test_options_that_are_not_heeded_are_named(copy: Path, file: str, options: dict[str, object]):
    change(copy, file, **options)
    found = refused(copy)
    assert file in found
    assert next(iter(options)) in found


@pytest.mark.parametrize(
    "kinds",
    [
        {"image": {"method": "forward", "method_output_name": "last_hidden_state"}},
        {"text": {"method": "get_text_features", "method_output_name": "last_hidden_state"}},
        {"text": {"method": "forward", "method_output_name": "pooler_output"}},
    ],
)
def test_texts_that_another_method_or_none_is_called_for_are_named(
    copy: Path, kinds: dict[str, object]
):
    change(copy, "sentence_bert_config.json", modality_config=kinds)
    assert "modality_config" in refused(copy)


@pytest.mark.parametrize("text", [{"truncation": True}, {"truncation": "longest_first"}])
def test_options_that_change_no_score_are_accepted(copy: Path, text: dict[str, object]):
    change(
        copy,
        "sentence_bert_config.json",
        do_lower_case=False,
        query_length=None,
        unpad_inputs=False,
        processing_kwargs={"text": {"padding": True, "logits_to_keep": 1, **text}},
    )
    change(copy, "2_Dense/config.json", module_output_name=None)
    assert preflight(copy)["architecture/modules_known"].passed


CHAT = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}{% endfor %}"


def test_pairs_that_a_chat_template_makes_are_refused(folders: dict[str, Path], copy: Path):
    kind = {"method": "forward", "method_output_name": "last_hidden_state"}
    pairs = sample_pairs(64, None)[:5]
    usual = cross_encoder(copy, pairs, 64)
    (copy / "chat_template.jinja").write_text(CHAT)
    message = kind | {"format": "flat"}
    change(copy, "sentence_bert_config.json", modality_config={"text": kind, "message": message})
    assert np.abs(cross_encoder(copy, pairs, 64) - usual).max() > 1e-3  # other scores than joined
    assert "chat template" in refused(copy)
    # The remedy.
    change(copy, "sentence_bert_config.json", modality_config={"text": kind})
    assert preflight(copy)["architecture/modules_known"].passed
    assert_same(cross_encoder(copy, pairs, 64), usual)


@pytest.mark.parametrize("place", ["chat_template.jinja", "tokenizer_config.json"])
def test_a_chat_template_is_used_where_the_files_do_not_say(copy: Path, place: str):
    body = json.loads((copy / "sentence_bert_config.json").read_text())
    del body["modality_config"], body["module_output_name"]
    (copy / "sentence_bert_config.json").write_text(json.dumps(body))
    assert preflight(copy)["architecture/modules_known"].passed
    if place == "chat_template.jinja":
        (copy / place).write_text(CHAT)
    else:
        change(copy, place, chat_template=CHAT)
    assert "chat template" in refused(copy)


def test_layers_without_their_widths_are_refused(copy: Path):
    settings = json.loads((copy / "2_Dense/config.json").read_text())
    (copy / "2_Dense/config.json").write_text(json.dumps({"bias": settings["bias"]}))
    with pytest.raises(PreflightRefused, match="in_features"):
        modular.load(*opened(copy), torch.float32, "cpu")


def test_an_embedding_model_with_a_dense_layer_stays_refused(copy: Path):
    change(copy, "4_Dense/config.json", module_output_name="sentence_embedding")
    found = preflight(copy)["architecture/no_embedding_model"]
    assert not found.passed
    assert "pools tokens into an embedding" in found.measured


def test_a_module_outside_the_folder_is_refused(copy: Path):
    shutil.move(copy / "2_Dense", copy.parent / "2_Dense")
    path = copy / "modules.json"
    path.write_text(path.read_text().replace('"2_Dense"', '"../2_Dense"'))
    found = preflight(copy)["architecture/modules_known"]
    assert not found.passed
    assert "../2_Dense, which is outside the checkpoint" in found.measured


def test_an_activation_that_is_no_class_of_torch_is_an_error(copy: Path):
    change(copy, "2_Dense/config.json", activation_function="os.system")
    with pytest.raises(ConfigError, match="activation_function=os"):
        modular.load(*opened(copy), torch.float32, "cpu")


def test_an_untrained_head_in_modules_is_refused(copy: Path):
    torch.manual_seed(0)
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
