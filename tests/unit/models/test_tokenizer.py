"""tokenizer.json is what tokenizes, whatever class tokenizer_config.json names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from tokenizers import Tokenizer

from reranker_core.config import ModelConfig
from reranker_core.encode.formats.pair_format import PairFormat
from reranker_core.errors import PreflightRefused
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.families import FAMILIES, recognise
from reranker_core.models.tokenizer import PROBES, TYPES, load_tokenizer
from reranker_core.output.differences import differences
from reranker_core.preflight.tokenizer import check_tokenizer
from tests.checkpoints import TEXTS
from tests.parity.common import load

ODD = ("ends in a blank ", "two  blanks", "Straße ÄÖÜ", "a [SEP] b</s> <mask> c", "U.S.\u0085next")
ALL = [*PROBES.values(), *(text[:60] for text in TEXTS), *ODD]
SPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
DIGITS = {"type": "Digits", "individual_digits": True}
LOWER = {"type": "Lowercase"}


def sequence(kind: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", kind: list(parts)}


def template(single: str, pair: str, **ids: int) -> dict[str, Any]:
    """A post-processor, written as `[CLS]:0 A:0 [SEP]:0 B:1`."""

    def piece(text: str) -> dict[str, Any]:
        name, _, kind = text.rpartition(":")
        label = "Sequence" if name in "AB" else "SpecialToken"
        return {label: {"id": name, "type_id": int(kind)}}

    return {
        "type": "TemplateProcessing",
        "single": [piece(text) for text in single.split()],
        "pair": [piece(text) for text in pair.split()],
        "special_tokens": {
            name: {"id": name, "ids": [id_], "tokens": [name]} for name, id_ in ids.items()
        },
    }


def part(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda file: file.update({name: value})


def copy(
    source: Path, folder: Path, edit: Callable[[dict[str, Any]], object], **settings: Any
) -> Path:
    """A checkpoint with another tokenizer.json and tokenizer_config.json."""
    shutil.copytree(source, folder)
    file = json.loads((folder / "tokenizer.json").read_text())
    edit(file)
    (folder / "tokenizer.json").write_text(json.dumps(file))
    path = folder / "tokenizer_config.json"
    given = json.loads(path.read_text()) | settings
    path.write_text(json.dumps({key: value for key, value in given.items() if value is not None}))
    return folder


def format_of(folder: Path, **settings: Any) -> PairFormat:
    model = ModelConfig(path=str(folder), **settings)
    checkpoint = open_checkpoint(model)
    return FAMILIES[recognise(checkpoint, "auto")].pair_format(checkpoint, model)


def told(folder: Path, found: PairFormat) -> Any:
    model = load(folder, 130, None)._engine.model
    return {check.name: check for check in check_tokenizer(found, model)}["as_in_file"]


def assert_as_in_file(found: PairFormat, folder: Path) -> None:
    """Ids and types of all pairs that are not cut are those of the file."""
    file = Tokenizer.from_file(str(folder / "tokenizer.json"))
    file.no_truncation()
    file.no_padding()
    passages = ALL[::-1]
    index = np.arange(len(ALL))
    sequences = found.encode(ALL, passages, index, index)
    bounds = np.cumsum(sequences.tokens.lengths)[:-1]
    compared = 0
    for ids, second, query, passage in zip(
        np.split(sequences.tokens.values, bounds),
        sequences.passage_starts,
        ALL,
        passages,
        strict=True,
    ):
        own = file.encode(query, passage)
        if len(own.ids) <= found.max_length:
            compared += 1
            assert ids.tolist() == own.ids
            assert [int(i >= second) for i in range(len(ids))] == own.type_ids
    assert compared > len(ALL) / 2


CHANGES = {
    "digits apart": (
        "bert",
        part("pre_tokenizer", sequence("pretokenizers", {"type": "BertPreTokenizer"}, DIGITS)),
        {},
    ),
    "cased": (
        "bert",
        lambda file: file["normalizer"].update(lowercase=False),
        {"do_lower_case": None},
    ),
    "uncased, the class is told that it is cased": (
        "bert",
        lambda file: None,
        {"do_lower_case": False},
    ),
    "accents kept": ("bert", lambda file: file["normalizer"].update(strip_accents=False), {}),
    "Chinese characters together": (
        "bert",
        lambda file: file["normalizer"].update(handle_chinese_chars=False),
        {},
    ),
    "NFKC": ("bert", part("normalizer", sequence("normalizers", {"type": "NFKC"}, LOWER)), {}),
    "another class": ("bert", lambda file: None, {"tokenizer_class": "PreTrainedTokenizerFast"}),
    "a class of other files": ("bert", lambda file: None, {"tokenizer_class": "RobertaTokenizer"}),
    "long words known": ("bert", lambda file: file["model"].update(max_input_chars_per_word=9), {}),
    "a post-processor of its own": (
        "bert",
        part(
            "post_processor",
            template(
                "[CLS]:0 A:0 [SEP]:0",
                "[CLS]:0 A:0 [SEP]:0 [SEP]:0 B:1 [SEP]:1",
                **{"[CLS]": 2, "[SEP]": 3},
            ),
        ),
        {},
    ),
    "Metaspace alone": ("xlm_roberta", part("pre_tokenizer", SPACE), {}),
    "NFKC and lower case": (
        "xlm_roberta",
        part("normalizer", sequence("normalizers", {"type": "NFKC"}, LOWER)),
        {},
    ),
    "blanks replaced": (
        "xlm_roberta",
        part("normalizer", {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}),
        {},
    ),
    "the class of another family": (
        "xlm_roberta",
        lambda file: None,
        {"tokenizer_class": "BertTokenizer"},
    ),
    "one end between the texts": (
        "xlm_roberta",
        part(
            "post_processor",
            template("<s>:0 A:0 </s>:0", "<s>:0 A:0 </s>:0 B:0 </s>:0", **{"<s>": 0, "</s>": 2}),
        ),
        {},
    ),
    "a prefix space": (
        "modernbert",
        lambda file: file["pre_tokenizer"].update(add_prefix_space=True),
        {},
    ),
    "lengths in the file": (
        "bert",
        lambda file: file.update(
            truncation={
                "direction": "Right",
                "max_length": 8,
                "strategy": "LongestFirst",
                "stride": 0,
            },
            padding={
                "strategy": {"Fixed": 64},
                "direction": "Right",
                "pad_to_multiple_of": None,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": "[PAD]",
            },
        ),
        {},
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_ids_types_and_special_tokens_are_those_of_the_file(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
):
    name, edit, settings = CHANGES[kind]
    folder = copy(request.getfixturevalue(name), tmp_path / "m", edit, **settings)
    found = format_of(folder)
    assert_as_in_file(found, folder)
    check = told(folder, found)
    assert check.passed
    assert check.notable == bool(found.tokenizer.rebuilt)


@pytest.mark.parametrize(
    "name",
    [
        "bert",
        "xlm_roberta",
        "modernbert",
        "distilbert",
        "electra",
        "gemma",
        "qwen3",
        "monot5",
        "nemotron",
    ],
)
def test_a_file_that_the_class_rebuilds_as_it_is_keeps_its_fingerprint(
    name: str, request: pytest.FixtureRequest
):
    found = format_of(
        request.getfixturevalue(name), template="monot5" if name == "monot5" else "auto"
    )
    assert found.tokenizer.rebuilt == ()
    assert "tokenizer" not in found.record


def test_what_differs_is_told_and_goes_into_the_fingerprint(bert: Path, tmp_path: Path):
    apart = part("pre_tokenizer", sequence("pretokenizers", {"type": "BertPreTokenizer"}, DIGITS))
    folder = copy(bert, tmp_path / "m", apart)
    found = format_of(folder)
    assert "digits" in found.tokenizer.rebuilt
    assert "accents" not in found.tokenizer.rebuilt
    assert "would differ in: digits, full-width" in told(folder, found).measured
    old = {key: value for key, value in found.record.items() if key != "tokenizer"}
    [difference] = differences({"fingerprint": old}, {"fingerprint": found.record})
    assert str(difference) == ("the tokenizer: as transformers makes it before, tokenizer.json now")
    assert difference.kind == "version"


def test_a_class_without_token_types_does_not_take_them_away(bert: Path, tmp_path: Path):
    folder = copy(
        bert, tmp_path / "m", lambda file: None, tokenizer_class="PreTrainedTokenizerFast"
    )
    assert format_of(folder).tokenizer.rebuilt == (TYPES,)


def test_token_types_can_be_left_out_of_the_models_input(bert: Path, tmp_path: Path):
    names = ["input_ids", "attention_mask"]
    folder = copy(bert, tmp_path / "m", lambda file: None, model_input_names=names)
    found = format_of(folder)
    assert not found.around.token_types
    assert told(folder, found).passed


@pytest.mark.parametrize(
    "pair",
    [
        "[CLS]:0 B:0 [SEP]:0 A:1 [SEP]:1",
        "[CLS]:1 A:1 [SEP]:1 B:0 [SEP]:0",
        "[CLS]:0 A:0 [SEP]:1 B:1 [SEP]:1",
        "[CLS]:0 A:0 [SEP]:0 B:1 [SEP]:0",
    ],
)
def test_a_pair_that_is_put_together_in_another_way_is_refused(
    bert: Path, tmp_path: Path, pair: str
):
    processor = template("[CLS]:0 A:0 [SEP]:0", pair, **{"[CLS]": 2, "[SEP]": 3})
    folder = copy(bert, tmp_path / "m", part("post_processor", processor))
    assert not told(folder, format_of(folder)).passed


def test_special_tokens_around_a_prompt_are_those_of_the_file(gemma: Path, tmp_path: Path):
    processor = template(
        "<eos>:0 A:0 <bos>:0", "<eos>:0 A:0 <bos>:0 B:0", **{"<eos>": 1, "<bos>": 2}
    )
    folder = copy(gemma, tmp_path / "m", part("post_processor", processor))
    file = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found = format_of(folder, template="contextual-rerank")
    assert (
        file.encode("a").ids[0] == found.prefix[0] != found.suffix[-1] == file.encode("a").ids[-1]
    )


def test_without_the_file_the_class_makes_the_tokenizer(bert: Path, tmp_path: Path):
    folder = shutil.copytree(bert, tmp_path / "m")
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)))
    index = np.arange(len(ALL))
    ids = [format_of(at).encode(ALL, ALL, index, index).tokens.values for at in (bert, folder)]
    np.testing.assert_array_equal(*ids)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"tokenizer_class": 7}, "tokenizer_config.json"),
        ({"added_tokens_decoder": {"x": 1}}, "tokenizer_config.json"),
    ],
)
def test_settings_that_break_the_class_are_named(
    bert: Path, tmp_path: Path, settings: dict[str, Any], named: str
):
    folder = copy(bert, tmp_path / "m", lambda file: None, **settings)
    with pytest.raises(PreflightRefused, match=rf"tokenizer/loadable: {named}"):
        format_of(folder)


def test_a_damaged_file_is_named(bert: Path, tmp_path: Path):
    folder = copy(bert, tmp_path / "m", lambda file: file.pop("model"))
    with pytest.raises(
        PreflightRefused, match=r"tokenizer/loadable: .*: tokenizer\.json cannot be read"
    ):
        format_of(folder)


@pytest.mark.parametrize("name", ["BertJapaneseTokenizer", "PhobertTokenizer", "CanineTokenizer"])
def test_a_class_without_a_fast_tokenizer_is_told_as_one(bert: Path, tmp_path: Path, name: str):
    folder = copy(bert, tmp_path / "m", lambda file: None, tokenizer_class=name)
    (folder / "tokenizer.json").rename(folder / "vocab.txt")
    with pytest.raises(PreflightRefused) as caught:
        format_of(folder)
    assert f"{name} is a slow tokenizer" in str(caught.value)
    assert "transformers has no fast tokenizer for this class" in str(caught.value)


@pytest.mark.parametrize("pair", ["A:0 [SEP]:0", "B:1 [SEP]:1"])
def test_a_text_that_is_left_out_of_the_pair_is_told(bert: Path, tmp_path: Path, pair: str):
    parts = template("A:0 [SEP]:0", pair, **{"[SEP]": 3})
    edit = part("post_processor", parts)
    folder = copy(bert, tmp_path / "m", edit, tokenizer_class="PreTrainedTokenizerFast")
    with pytest.raises(PreflightRefused, match="leaves the query or the passage out of a pair"):
        format_of(folder)


SENTENCE_PIECES = {
    "t5": ("spiece.model", "T5Tokenizer", {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}),
    "xlm-roberta": ("sentencepiece.bpe.model", "XLMRobertaTokenizer", {}),
    "llama": ("tokenizer.model", "LlamaTokenizer", {"model_type": "bpe", "byte_fallback": True}),
}


@pytest.mark.parametrize("kind", SENTENCE_PIECES)
def test_a_vocabulary_of_sentencepiece_needs_no_tokenizer_json(kind: str, tmp_path: Path):
    name, tokenizer, options = SENTENCE_PIECES[kind]
    with open(tmp_path / name, "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS * 3),
            model_writer=file,
            vocab_size=600,
            hard_vocab_limit=False,
            minloglevel=2,
            **options,
        )
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": tokenizer}))
    model = ModelConfig(path=str(tmp_path))
    found = load_tokenizer(open_checkpoint(model), model).named
    own = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / name))
    for text in TEXTS[:5]:
        assert found.tokenize(text) == own.encode(text, out_type=str)
