"""The template that the files of sentence-transformers in a checkpoint describe."""

from __future__ import annotations

from reranker_core.config import ModelConfig, Template
from reranker_core.encode.formats.segments import filled
from reranker_core.encode.tokenizing import TextTokenizer
from reranker_core.errors import ConfigError
from reranker_core.models.chat_template import PROBES, answers_of, renderer, template_of, whole
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.modules import (
    BODY_FILE,
    default_prompt,
    lists_messages,
    read_body,
    takes_messages,
)
from reranker_core.models.templates import (
    OF_CHECKPOINT,
    TEMPLATES,
    asked,
    has_own_words,
    has_place,
    named_template,
    resolve_template,
)
from reranker_core.models.tokenizer import load_tokenizer


def template_for(checkpoint: Checkpoint, model: ModelConfig, family: str) -> tuple[str, Template]:
    """Name and template for a checkpoint: the configured one, that of its own files, or a built-in
    one.

    Raises:
        ConfigError: there is no such template; it has no place for the configured prompt or
            instruction; or the checkpoint's chat template is not supported.
        PreflightRefused: the tokenizer cannot be loaded.

    """
    if model.template == "auto" and has_own_words(checkpoint):
        return own_template(checkpoint, model, family)
    return resolve_template(checkpoint, model, family)


def own_template(checkpoint: Checkpoint, model: ModelConfig, family: str) -> tuple[str, Template]:
    """The template that `LogitScore` and the chat template describe. If a built-in template gives
    the same ids and scores, the built-in one with its name.

    Raises:
        ConfigError: the chat template is missing or not supported, or has no place for the
            configured prompt or instruction.
        PreflightRefused: the tokenizer cannot be loaded.

    """
    answers = answers_of(checkpoint) or {}
    tokenizer = load_tokenizer(checkpoint, model)
    if lists_messages(checkpoint.folder) and not tokenizer.named.chat_template:
        raise ConfigError(
            f"{checkpoint.source}: sentence_bert_config.json says that pairs go through a chat "
            "template, but the checkpoint has none. Copy chat_template.jinja again, or set "
            "model.template"
        )
    if takes_messages(checkpoint.folder) and tokenizer.named.chat_template:
        prompt = default_prompt(checkpoint.folder) if model.instruction is None else None
        found = template_of(renderer(checkpoint, tokenizer.named), answers, prompt)
        found = asked(found, OF_CHECKPOINT, model)
    elif isinstance(read_body(checkpoint.folder).get("modality_config"), dict):
        raise ConfigError(
            f"{checkpoint.source}: modality_config of {BODY_FILE} lists no `message`, so "
            "sentence-transformers joins query and passage without a prompt. If the model was "
            "trained with a prompt, write it as model.template, with the answers of LogitScore "
            f"({', '.join(map(str, answers))}) as answer_ids. If it was trained without, score it "
            "with sentence-transformers"
        )
    else:  # how texts are joined is not said
        unnamed = model.model_copy(update={"template": "auto"})
        _, found = resolve_template(checkpoint, unnamed, family)
        found = found.model_copy(update={"answers": {}, "answer_ids": answers})
    found = _with_temperature(found, checkpoint, family)
    text = tokenizer.text()
    for name, known in TEMPLATES.items():
        alike = _with_instruction(known, found)
        if _says(alike, text) == _says(found, text) and _cut_alike(alike, found, text):
            return name, alike
    return OF_CHECKPOINT, found


def _with_temperature(found: Template, checkpoint: Checkpoint, family: str) -> Template:
    """The template with the temperature of its model series, which no file says. The series follows
    from the checkpoint's name; its answers must have the same weights.
    """
    named = named_template(checkpoint, family)
    if named is None:
        return found
    known = TEMPLATES[named[0]]
    weights = [
        sorted([*some.answers.values(), *some.answer_ids.values()]) for some in (known, found)
    ]
    same = weights[0] == weights[1]
    return found.model_copy(update={"temperature": known.temperature}) if same else found


def _with_instruction(known: Template, found: Template) -> Template:
    if not has_place(known, "instruction") or not found.instruction:
        return known
    return known.model_copy(update={"instruction": found.instruction})


def _says(template: Template, tokenizer: TextTokenizer) -> tuple[object, ...]:
    """What of a template makes ids and score of a pair that is not too long."""
    answers = {tuple(tokenizer.ids(text)): weight for text, weight in template.answers.items()}
    answers |= {(id_,): weight for id_, weight in template.answer_ids.items()}
    return whole(template, "{query}", "{passage}"), answers, template.specials, template.strip


def _cut_alike(known: Template, found: Template, tokenizer: TextTokenizer) -> bool:
    """Whether the seams between one template's segments make no other ids than those of another."""

    def ids(template: Template, pair: tuple[str, str]) -> list[int]:
        return [i for s in template.segments for i in tokenizer.ids(filled(template, s, *pair))]

    return all(ids(known, pair) == ids(found, pair) for pair in PROBES)
