"""Tokenizers and prompts that are not those of the model."""

from __future__ import annotations

import json
from pathlib import Path

from tests.faults.checkpoint_edits import MODEL, changed, config, json_file, only
from tests.faults.zoo.kind import Kind


def more_tokens(folder: Path) -> None:
    vocabulary = json.loads((folder / "tokenizer.json").read_text())
    words = vocabulary["model"]["vocab"]
    words |= {f"extra{i}": len(words) + i for i in range(500)}
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary))


def fewer_tokens(folder: Path) -> None:
    vocabulary = json.loads((folder / "tokenizer.json").read_text())
    words = vocabulary["model"]["vocab"]
    vocabulary["model"]["vocab"] = {w: i for w, i in words.items() if i < 0.6 * len(words)}
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary))


def unknown_words(folder: Path) -> None:
    vocabulary = json.loads((folder / "tokenizer.json").read_text())
    words = vocabulary["model"]["vocab"]
    vocabulary["model"]["vocab"] = {
        word if word.startswith("[") else f"##{word}§": i for word, i in words.items()
    }
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary))


def without_post_processor(folder: Path) -> None:
    json_file("tokenizer.json", post_processor=None)(folder)
    # transformers makes a BERT tokenizer's anew; this class takes the file as it is.
    json_file("tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")(folder)


def without_chat_tokens(folder: Path) -> None:
    file = json.loads((folder / "tokenizer.json").read_text())
    file["added_tokens"] = [t for t in file["added_tokens"] if t["content"] != "<|im_start|>"]
    (folder / "tokenizer.json").write_text(json.dumps(file))


KINDS: dict[str, Kind] = {
    "no_tokenizer": Kind(
        "no tokenizer: every word would be unknown",
        "tokenizer/vocabulary_present",
        changed(only("config.json", MODEL)),
    ),
    "damaged_tokenizer": Kind(
        "tokenizer.json cut short",
        "tokenizer/loadable",
        changed(lambda folder: (folder / "tokenizer.json").write_text('{"version": "1.0",')),
    ),
    "larger_vocabulary": Kind(
        "the tokenizer of a model with more words",
        "tokenizer/fits_vocabulary",
        changed(more_tokens),
    ),
    "smaller_vocabulary": Kind(
        "the tokenizer of a model with fewer words",
        "tokenizer/fits_vocabulary",
        changed(fewer_tokens),
    ),
    "unknown_words": Kind(
        "a vocabulary of another script", "tokenizer/knows_words", changed(unknown_words)
    ),
    "another_pad": Kind(
        "pad token of another model",
        "tokenizer/padding",
        config(pad_token_id=5),
    ),
    "no_separator": Kind(
        "a tokenizer without its post-processor: query and passage run together",
        "tokenizer/separates_texts",
        changed(without_post_processor),
    ),
    "no_chat_tokens": Kind(
        "the tokenizer of a model that knows no chat, so that <|im_start|> is plain text",
        "tokenizer/knows_chat_tokens",
        changed(without_chat_tokens),
        base="qwen3",
    ),
    "base_language_model": Kind(
        "a language model before any training as a reranker: the same classes, no key missing",
        "prompt/template_known",
        config(_name_or_path="google/gemma-2b"),
        base="gemma",
    ),
    "base_t5": Kind(
        "a T5 before any training as a reranker",
        "prompt/template_known",
        config(_name_or_path=None),
        base="monot5",
    ),
    "another_prompt": Kind(
        "trained with another prompt than the one in use",
        "prompt/as_trained",
        changed(json_file("reranker.json", layout="Query: {query} Passage: {passage} Relevant?")),
        base="gemma",
    ),
    "another_answer": Kind(
        "trained to answer with another token",
        "prompt/as_trained",
        changed(json_file("reranker.json", answers={"No": 1.0})),
        base="gemma",
    ),
    "sentence_transformers_prompt": Kind(
        "a prompt in sentence-transformers' file that is not in use",
        "prompt/as_trained",
        changed(
            json_file(
                "config_sentence_transformers.json",
                prompts={"rank": "Rank by price: "},
                default_prompt_name="rank",
            )
        ),
        base="gemma",  # whose template has no place for one
    ),
    "answer_of_two_tokens": Kind(
        "an answer that this vocabulary splits",
        "tokenizer/answers_are_tokens",
        config(),
        base="llama",
        settings=(
            "model.template={segments: ['{query} {passage}'], answers: {'Unquestionably': 1}}",
        ),
    ),
}
