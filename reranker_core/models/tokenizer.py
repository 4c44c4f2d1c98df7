"""A checkpoint's tokenizer. If there is a tokenizer.json, it is used as it is.

transformers 5 reads only the vocabulary from tokenizer.json. For many classes it builds normalizer,
pre-tokenizer and post-processor from the defaults of the class that tokenizer_config.json names.
From transformers' tokenizer this module takes only what tokenizer.json does not contain: the names
of special tokens, the chat template, and lengths.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from reranker_core.checks import Check, refusal
from reranker_core.config import ModelConfig
from reranker_core.encode.formats.joined import Surroundings
from reranker_core.encode.tokenizing import TextTokenizer
from reranker_core.errors import PreflightRefused, brief
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.model_files import unreadable
from reranker_core.models.modules import read_json
from reranker_core.models.native import native_config
from reranker_core.models.own_code import fault, is_own_code, runs_code

TOKENIZER_FILE = "tokenizer.json"
_CONFIG_FILE = "tokenizer_config.json"
# Kinds of texts that tokenizers are known to differ in, with an example of each.
PROBES = {
    "words": "Don't sort the e-mail list (again): it's sorted already!",
    "digits": "In 2023, 650841823 of 1,234.56",
    "capital letters": "HTTPServer McDonald CAPITALS iPhone",
    "accents": "Café naïve Ångström Straße élève",
    "decomposed accents": "Cafe\u0301 nai\u0308ve A\u030angstro\u0308m",
    "line breaks": "one\ntwo\r\nthree\n\nfour\n",
    "tabs": "one\ttwo\t\tthree",
    "full-width characters": "Ｆｕｌｌ　Ｗｉｄｔｈ　１２３",
    "compatibility characters": "ﬁne ™ Ω K",
    "Chinese and Japanese": "北京是中国的首都，也是ひらがなカタカナ",
    "emoji": "great 👍🏽 family 👨‍👩‍👧 heart ❤️",
    "right-to-left text": "القاهرةُ هي عاصمة מצרים",
    "a leading blank": " one",
    "a trailing blank": "one ",
    "doubled blanks": "one  two   three",
    "unusual blanks": "one\u00a0two\u200bthree\u00adfour",
    "empty text": "",
}
# What else a tokenizer may differ in; only some formats of pairs use it.
AROUND_PAIR = "special tokens around a pair"
AROUND_TEXT = "special tokens around a text"
TYPES = "token types of a pair"


@dataclass(frozen=True)
class CheckpointTokenizer:
    """A checkpoint's tokenizer, with the settings that only transformers knows.

    Attributes:
        named: transformers' tokenizer with the same backend; it has the names of special tokens,
            the chat template and lengths.
        gives_types: whether the model gets token types, which tell query and passage apart.
        differences: where the tokenizer that transformers builds gives other ids: the keys of
            `PROBES`, `AROUND_PAIR`, `AROUND_TEXT`, `TYPES`.

    """

    named: Any
    gives_types: bool = True
    differences: tuple[str, ...] = ()

    @property
    def backend(self) -> Tokenizer:
        """The object of the tokenizers library that converts text to ids."""
        found: Tokenizer = self.named.backend_tokenizer
        return found

    def text(self, special_tokens: str = "as_tokens", *uses: str) -> TextTokenizer:
        """The tokenizer of single texts, without special tokens around them.

        Args:
            special_tokens: `as_tokens` or `as_text` (`model.special_tokens`).
            uses: what else the pair format takes from this tokenizer: `AROUND_PAIR` and `TYPES`, or
                `AROUND_TEXT`. It decides which differences are recorded in the fingerprint.

        Raises:
            ConfigError: this tokenizer cannot read special tokens as text.

        """
        rebuilt = tuple(kind for kind in self.differences if kind in PROBES or kind in uses)
        return TextTokenizer.of(self.named, special_tokens, rebuilt)

    def around_pair(self) -> Surroundings:
        """The special tokens before, between and after the two texts of a pair.

        Raises:
            PreflightRefused: one of the texts has no token in the pair.

        """
        alone = self.backend.encode("a", add_special_tokens=False).ids
        texts = set(self.backend.encode("a", "b").sequence_ids)
        if not alone or not {0, 1} <= texts:
            raise refusal(
                Check(
                    "tokenizer",
                    "usable",
                    False,
                    "the tokenizer leaves the query or the passage out of a pair"
                    if alone
                    else "the tokenizer makes no token of the text 'a'",
                    "a tokenizer that converts a pair of texts to token ids",
                    f"Copy {TOKENIZER_FILE} again from the model's own repository.",
                )
            )
        return Surroundings.of(self.backend, self.gives_types)

    def around_text(self) -> tuple[list[int], list[int]]:
        """The ids of the special tokens before and after a single text."""
        encoded = self.backend.encode("a")
        text = [i for i, segment in enumerate(encoded.sequence_ids) if segment == 0]
        return encoded.ids[: text[0]], encoded.ids[text[-1] + 1 :]


def load_tokenizer(checkpoint: Checkpoint, model: ModelConfig) -> CheckpointTokenizer:
    """The checkpoint's tokenizer.

    Raises:
        PreflightRefused: it cannot be loaded, or it is a slow tokenizer (written in Python).

    """
    file = checkpoint.folder / TOKENIZER_FILE
    backend = _read(checkpoint, file) if file.exists() else None
    named = _load_named(checkpoint, model, backend is not None)
    gives_types = _gives_types(checkpoint)
    rebuilt: Tokenizer = named.backend_tokenizer
    if backend is None or is_own_code(named) or _has_python_parts(rebuilt):
        return CheckpointTokenizer(named, gives_types)
    for tokenizer in (rebuilt, backend):
        tokenizer.no_truncation()
        tokenizer.no_padding()
    differences = list(_differences(rebuilt, backend))
    if _has_types(checkpoint.config):
        before = "token_type_ids" in named.model_input_names and _has_second_type(rebuilt)
        if before != (gives_types and _has_second_type(backend)):
            differences.append(TYPES)
    named._tokenizer = backend  # so that ids of special tokens are the file's, too
    return CheckpointTokenizer(named, gives_types, tuple(differences))


def _read(checkpoint: Checkpoint, file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
        raise _unloadable(
            f"{checkpoint.source}: {unreadable(file, error)}",
            f"Copy {file.name} again.",
        ) from None


def _load_named(checkpoint: Checkpoint, model: ModelConfig, has_file: bool) -> Any:
    """Transformers' tokenizer, a fast one."""
    native = {"config": native_config(checkpoint.config)} if checkpoint.is_native else {}
    try:
        named = AutoTokenizer.from_pretrained(
            checkpoint.folder, trust_remote_code=runs_code(checkpoint, model), **native
        )
    except Exception as error:  # noqa: BLE001 - loaders raise whatever they meet
        other = fault(checkpoint, model, error)
        if other is not None:
            raise other from None
        if has_file:
            raise _unloadable(
                f"{_CONFIG_FILE} of {checkpoint.source}: {brief(error)}",
                f"{TOKENIZER_FILE} itself can be read. Correct the key of {_CONFIG_FILE} that the "
                f"message names, or tokenizer_class, or copy {_CONFIG_FILE} again.",
            ) from None
        slow = _slow_class(checkpoint)
        if slow:
            raise _slow(checkpoint, slow) from None
        raise _unloadable(
            f"{checkpoint.source}: {brief(error)}",
            "Copy the tokenizer's files again, or save the tokenizer as tokenizer.json beside the "
            "weights.",
        ) from None
    if not named.is_fast:
        raise _slow(checkpoint, type(named).__name__)
    return named


def _slow_class(checkpoint: Checkpoint) -> str:
    """The class in tokenizer_config.json, if transformers has no fast tokenizer for it; or ''."""
    settings = read_json(checkpoint.folder / _CONFIG_FILE)
    name = str(settings.get("tokenizer_class") if isinstance(settings, dict) else "")
    found = getattr(transformers, name, None)
    is_slow = isinstance(found, type) and not issubclass(found, PreTrainedTokenizerFast)
    return name if is_slow else ""


def _slow(checkpoint: Checkpoint, name: str) -> PreflightRefused:
    return _unloadable(
        f"{checkpoint.source}: {name} is a slow tokenizer, written in Python",
        "transformers has no fast tokenizer for this class, so the job cannot use this model. "
        "Use another reranker, or score with sentence-transformers.",
    )


def _unloadable(problem: str, remedy: str) -> PreflightRefused:
    expected = "a fast tokenizer that transformers loads"
    return refusal(Check("tokenizer", "loadable", False, problem, expected, remedy))


def _gives_types(checkpoint: Checkpoint) -> bool:
    """Whether tokenizer_config.json does not leave token types out of the model's input."""
    settings = read_json(checkpoint.folder / _CONFIG_FILE)
    names = settings.get("model_input_names") if isinstance(settings, dict) else None
    return not names or "token_type_ids" in names


def _has_types(config: dict[str, Any]) -> bool:
    """Whether a model has embeddings of several token types."""
    count = config.get("type_vocab_size")
    kind = str(config.get("model_type"))
    if count is None and kind in CONFIG_MAPPING:
        count = getattr(CONFIG_MAPPING[kind], "type_vocab_size", 0)
    return isinstance(count, int) and count > 1


def _has_second_type(backend: Tokenizer) -> bool:
    return len(set(backend.encode("a", "b").type_ids)) > 1


def _has_python_parts(backend: Tokenizer) -> bool:
    """Whether a class of transformers' replaces a part by Python code, which no file holds."""
    try:
        pickle.dumps((backend.normalizer, backend.pre_tokenizer, backend.decoder))
    except Exception:  # noqa: BLE001 - the library raises nothing narrower
        return True
    return False


def _differences(one: Tokenizer, other: Tokenizer) -> Iterator[str]:
    """Kinds of texts, and of what stands around them, of which two make other ids."""
    for kind, text in PROBES.items():
        if _ids(one, text) != _ids(other, text):
            yield kind
    if one.encode("a").ids != other.encode("a").ids:
        yield AROUND_TEXT
    if one.encode("a", "b").ids != other.encode("a", "b").ids:
        yield AROUND_PAIR


def _ids(backend: Tokenizer, text: str) -> list[int]:
    found: list[int] = backend.encode(text, add_special_tokens=False).ids
    return found
