"""What sentence-transformers' files say of prompt and answers is what scores are made with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore
from transformers import AutoTokenizer

from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError
from reranker_core.models import encoder, llm
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.families import choose
from reranker_core.models.templates import TEMPLATES
from reranker_core.preflight.checkpoint import check_checkpoint
from reranker_core.preflight.prompt import check_prompt
from tests import decoder_checkpoints
from tests.decoder_checkpoints import change
from tests.parity.common import assert_same, load, sample_pairs
from tests.parity.oracles import QWEN_PREFIX, QWEN_SUFFIX, QWEN_TASK

QUERY = "{{ messages | selectattr('role', 'eq', 'query') | map(attribute='content') | first }}"
TEXT = "{{ messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first }}"
SYSTEM = "{{ messages | selectattr('role', 'eq', 'system') | map(attribute='content') | first"
PLAIN = f"Judge.\nSearch: {QUERY}\nText: {TEXT}\nAnswer: "
OPTIONAL = "{% if messages[0]['role'] == 'system' %}Task: " + SYSTEM + " }}\n{% endif %}" + PLAIN
QWEN = (
    QWEN_PREFIX
    + "<Instruct>: "
    + SYSTEM
    + f" | default('{QWEN_TASK}') }}}}\n<Query>: "
    + QUERY
    + "\n<Document>: "
    + TEXT
    + QWEN_SUFFIX.replace("\n", "{{ '\\n' }}")
)
ZERANK = (
    QUERY.replace("first }}", "first | trim }}").join(
        ["<|im_start|>system{{ '\\n' }}", "<|im_end|>\n<|im_start|>user{{ '\\n' }}"]
    )
    + TEXT.replace("first }}", "first | trim }}")
    + "<|im_end|>\n<|im_start|>assistant{{ '\\n' }}"
)
STRIPPED = PLAIN.replace("first }}", "first | trim }}")

Save = Callable[..., Path]


@pytest.fixture(scope="module")
def save(tmp_path_factory: pytest.TempPathFactory) -> Save:
    """Saved by sentence-transformers in a folder of a name that calls for a built-in template."""
    body = decoder_checkpoints.qwen3(tmp_path_factory.mktemp("body"))

    def save(chat: str, *answers: str | None, **asked: str | None) -> Path:
        folder = tmp_path_factory.mktemp("saved") / "qwen3-reranker-own"
        return saved(body, folder, chat, *answers, **asked)

    return save


def saved(
    body: Path,
    folder: Path,
    chat: str,
    true: str = "yes",
    false: str | None = "no",
    prompt: str = "",
) -> Path:
    """A language model with this chat template and these answers, as sentence-transformers saves
    it.
    """
    ids = AutoTokenizer.from_pretrained(body).encode
    model = Transformer(
        str(body),
        transformer_task="text-generation",
        processor_kwargs={"chat_template": chat},
        model_kwargs={"device_map": "cpu"},
    )
    answers = (ids(true)[0], ids(false)[0] if false else None)
    asked = {"prompts": {"task": prompt}, "default_prompt_name": "task"} if prompt else {}
    encoder = CrossEncoder(modules=[model, LogitScore(*answers)], device="cpu", **asked)
    encoder.save_pretrained(str(folder))
    return folder


def cross_encoder(folder: Path, pairs: list[tuple[str, str]], **asked: str) -> np.ndarray:
    encoder = CrossEncoder(
        str(folder),
        device="cpu",
        activation_fn=torch.nn.Identity(),
        model_kwargs={"torch_dtype": torch.float32},
    )
    return encoder.predict(pairs, show_progress_bar=False, **asked)


def short_pairs() -> list[tuple[str, str]]:
    return [pair for pair in sample_pairs(64, 40) if max(map(len, pair)) < 300][:25]


@pytest.mark.parametrize(
    ("chat", "said"),
    [
        (PLAIN, {}),
        (PLAIN, {"true": "no", "false": "yes"}),
        (PLAIN, {"true": "true", "false": "false"}),
        (PLAIN, {"true": "Yes", "false": None}),
        (STRIPPED, {}),
        (OPTIONAL, {}),
        (OPTIONAL, {"prompt": "Does the text answer the search?"}),
        (QWEN, {}),
        (QWEN, {"prompt": "Find the docstring of this function."}),
        (ZERANK, {"true": "Yes", "false": None}),
    ],
)
def test_scores_equal_cross_encoder(save: Save, chat: str, said: dict[str, str]):
    folder, pairs = save(chat, **said), short_pairs()
    assert_same(load(folder, 600, None).score_pairs(pairs), cross_encoder(folder, pairs))


@pytest.mark.parametrize(
    ("name", "false", "temperature"),
    [("zerank-2", None, 5.0), ("zerank-2", "no", 1.0), ("qwen3-reranker-own", None, 1.0)],
)
def test_the_temperature_of_a_model_series_is_kept(
    save: Save, tmp_path: Path, name: str, false: str | None, temperature: float
):
    """No file says it; it belongs to scores that are made as those of the series."""
    folder = shutil.copytree(save(PLAIN, "Yes", false), tmp_path / name)
    change(folder, "config.json", _name_or_path="")
    model = ModelConfig(path=str(folder))
    assert llm.pair_format(open_checkpoint(model), model).template.temperature == temperature


@pytest.mark.parametrize("chat", [OPTIONAL, QWEN])
def test_a_configured_instruction_replaces_the_default_prompt(save: Save, chat: str):
    folder, pairs = save(chat, prompt="Does the text answer the search?"), short_pairs()
    asked = "Is this the capital of the country?"
    scores = load(folder, 600, None, f"model.instruction={asked}").score_pairs(pairs)
    assert_same(scores, cross_encoder(folder, pairs, prompt=asked))


def opened(folder: Path, **settings: object) -> tuple[llm.Checkpoint, ModelConfig]:
    model = ModelConfig(path=str(folder), **settings)
    return open_checkpoint(model), model


def as_trained(folder: Path, instructed: bool = False, **settings: object) -> tuple[bool, str]:
    checkpoint, model = opened(folder, **settings)
    found = llm.pair_format(checkpoint, model)
    (check,) = check_prompt(checkpoint, model, found, instructed)
    return check.passed, check.measured


def test_files_that_say_what_a_built_in_template_says_choose_it(save: Save):
    checkpoint, model = opened(save(QWEN))
    family, template, line = choose(checkpoint, model)
    assert (family, template) == ("llm", "qwen3-reranker")
    assert "chat template" in line
    record = llm.pair_format(checkpoint, model).record
    assert record["template"] == TEMPLATES["qwen3-reranker"].model_dump()
    folder = save(ZERANK, "Yes", None)
    change(folder, "config.json", _name_or_path="zeroentropy/zerank-2")
    assert choose(*opened(folder))[1] == "zerank"


def test_a_template_of_the_checkpoints_own_is_pinned_whole(save: Save):
    checkpoint, model = opened(save(PLAIN, "true", "false"))
    _, template, line = choose(checkpoint, model)
    assert "template of the checkpoint" in line
    pinned = llm.pair_format(*opened(Path(checkpoint.source), template=template))
    assert pinned.record == llm.pair_format(checkpoint, model).record
    assert pinned.layout == "Judge.\nSearch: {query}\nText: {passage}\nAnswer: "
    assert as_trained(Path(checkpoint.source), template=template)[0]


def test_a_configured_template_that_disagrees_is_refused_by_name(save: Save):
    folder = save(PLAIN)
    assert as_trained(folder)[0]
    passed, measured = as_trained(folder, template="qwen3-reranker")
    assert not passed
    assert "chat_template.jinja says" in measured
    folder = save(QWEN, true="true", false="false")
    passed, measured = as_trained(folder, template="qwen3-reranker")
    assert not passed
    assert "1_LogitScore says" in measured


def test_a_chat_template_that_depends_on_the_texts_is_refused(save: Save):
    for chat in (
        PLAIN + "{% if messages[0]['content'] == 'x' %}!{% endif %}",
        PLAIN.replace("first }}", "first | upper }}"),
        PLAIN.replace("first }}\nAnswer", "first | truncate(500) }}\nAnswer"),
        PLAIN.replace("first }}\nAnswer", "first | replace('<think>', '') }}\nAnswer"),
        PLAIN.replace("first }}\nAnswer", "first | replace('。', '.') }}\nAnswer"),
        PLAIN.replace("first }}\nAnswer", "first | replace('\\n\\n\\n', '\\n') }}\nAnswer"),
        PLAIN.replace("first }}\nAnswer", "first | trim }}\nAnswer"),
        PLAIN.replace("first }}", "first | trim }}", 1),
        "{{ strftime_now('%d %b %Y') }} " + PLAIN,
        PLAIN + QUERY,
        "Judge. " + QUERY,
    ):
        with pytest.raises(ConfigError, match="chat template"):
            choose(*opened(changed(save(PLAIN), chat)))


def changed(folder: Path, chat: str) -> Path:
    (folder / "chat_template.jinja").write_text(chat)
    return folder


def test_a_chat_template_that_fails_is_an_error(save: Save):
    folder = changed(save(PLAIN), "{{ raise_exception('only for tools') }}")
    with pytest.raises(ConfigError, match="only for tools"):
        choose(*opened(folder))


def test_a_chat_template_that_is_lost_is_not_replaced(save: Save):
    folder = changed(save(PLAIN), "")
    with pytest.raises(ConfigError, match="a chat template, but the checkpoint has none"):
        choose(*opened(folder))
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match="a chat template, but the checkpoint has none"):
        choose(*opened(folder))


@pytest.mark.parametrize(("true", "false"), [(5, 5), (-1, None), (True, 3), ("5", 3), (None, 3)])
def test_answers_that_are_no_two_ids_are_refused(save: Save, true: object, false: object):
    folder = save(PLAIN)
    change(folder, "1_LogitScore/config.json", true_token_id=true, false_token_id=false)
    with pytest.raises(ConfigError, match="expected two different vocabulary ids"):
        choose(*opened(folder))


def test_answers_without_a_chat_template_are_those_of_the_file(save: Save):
    folder = save(PLAIN, "no", "yes")
    (folder / "chat_template.jinja").unlink()
    change(folder, "sentence_bert_config.json", modality_config=None)
    pairs = short_pairs()
    exchanged = load(folder, 600, None).score_pairs(pairs)
    usual = load(folder, 600, None, "model.template=qwen3-reranker").score_pairs(pairs)
    assert_same(exchanged, -usual)


def test_texts_that_are_joined_without_a_prompt_are_not_given_that_of_a_name(save: Save):
    folder = save(PLAIN)
    change(folder, "sentence_bert_config.json", modality_config={"text": {"method": "forward"}})
    with pytest.raises(ConfigError, match="joins query and passage without a prompt"):
        choose(*opened(folder))
    load(folder, 600, None, "model.template=qwen3-reranker")


def test_answers_beyond_the_vocabulary_are_refused(save: Save):
    folder = save(PLAIN)
    change(folder, "1_LogitScore/config.json", true_token_id=99999)
    with pytest.raises(ConfigError, match="answer id 99999 is not in the vocabulary"):
        load(folder, 600, None)


@pytest.fixture
def prompted(qwen3: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(qwen3, tmp_path / "qwen3-reranker")
    said = {"model_type": "CrossEncoder", "prompts": {"q": "Find it."}, "default_prompt_name": "q"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(said))
    return folder


def test_a_default_prompt_is_the_instruction(prompted: Path):
    found = llm.pair_format(*opened(prompted))
    assert "<Instruct>: Find it.\n" in found.layout
    assert as_trained(prompted)[0]
    assert as_trained(prompted, instruction="Find another.")[0]
    found = llm.pair_format(*opened(prompted, instruction="Find another."))
    assert "<Instruct>: Find another.\n" in found.layout


def test_a_default_prompt_without_a_place_is_refused_unless_something_else_is_asked(
    prompted: Path,
):
    passed, measured = as_trained(prompted, template="bge-gemma")
    assert not passed
    assert "Find it." in measured
    assert as_trained(prompted, template="bge-gemma", prompt="Is it?")[0]
    assert as_trained(prompted, instructed=True, template="bge-gemma")[0]


def test_an_encoders_default_prompt_stands_before_each_query(bert: Path, tmp_path: Path):
    asked = {"prompts": {"query": "search: "}, "default_prompt_name": "query"}
    folder = tmp_path / "saved"
    CrossEncoder(str(bert), device="cpu", **asked).save_pretrained(str(folder))
    pairs = sample_pairs(64, None)
    settings = (64, None, "model.truncation=longest_first")
    reference = CrossEncoder(
        str(folder), device="cpu", max_length=64, activation_fn=torch.nn.Identity()
    )
    scorer = load(folder, *settings)
    assert_same(scorer.score_pairs(pairs), reference.predict(pairs, show_progress_bar=False))
    assert scorer.pair_format.record["prompt"] == "search: "
    assert "search: {query}" in scorer.pair_format.layout
    other = load(folder, *settings, "model.prompt=find ").score_pairs(pairs)
    expected = reference.predict(pairs, prompt="find ", show_progress_bar=False)
    assert_same(other, expected)
    checkpoint, model = opened(folder, prompt="")
    plain = encoder.pair_format(checkpoint, model)
    assert "prompt" not in plain.record
    assert plain.record == encoder.pair_format(*opened(bert)).record
    (check,) = check_prompt(checkpoint, model, plain, False)
    assert check.passed  # as configured


def test_preflight_and_job_refuse_the_same_keys(bert: Path):
    for settings in ({"instruction": "x"}, {"template": "bge-gemma"}, {"cutoff_layer": 3}):
        checkpoint, model = opened(bert, **settings)
        with pytest.raises(ConfigError, match="has no effect"):
            check_checkpoint(checkpoint, model)
        with pytest.raises(ConfigError, match="has no effect"):
            choose(checkpoint, model)
