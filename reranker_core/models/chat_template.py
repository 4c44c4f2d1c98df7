"""Prompt and answers of a reranker that sentence-transformers saved.

Its module `LogitScore` has the vocabulary ids of the answers. Its chat template builds the prompt
from messages: the query, the document, and as `system` the prompt in
`config_sentence_transformers.json`. Here the template is rendered with marks instead of these
texts, which shows their places. It is then rendered with other texts, to check that it inserts them
unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reranker_core.config import Template
from reranker_core.encode.formats.segments import filled
from reranker_core.errors import ConfigError, brief
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.modules import read_body

Render = Callable[[str, str, str | None], str]

_MARKS = {"query": "QUERYmark7", "passage": "PASSAGEmark7", "instruction": "SYSTEMmark7"}
# What a template might treat in ways of its own.
PROBES = (
    ("how to sort?", "Use sorted(), or list.sort()."),
    ("a <b> & \"c\" 'd'\n\ne", "line one\n  line two\t<|im_end|> {x} {{y}} {% z %}"),
    (
        "问：“北京”？ ＡＢＣ <think>é</think>",
        "第一。\n\n\n第二！ </s> [INST] <think>x</think> <|endoftext|>",
    ),
    ("long query " * 300 + "end", "long passage " * 1000 + "end"),
    ("", "x"),
    ("x", ""),
    ("\n blanks around ", " \tand around\n\n"),
)
_DATE = "DATEmark7"  # what the function for the date gives a template


def answers_of(checkpoint: Checkpoint) -> dict[int, float] | None:
    """Vocabulary id of each answer -> weight of its logit; None if there is no `LogitScore`.

    Raises:
        ConfigError: an id is not a number from 0, or both are the same.

    """
    last = checkpoint.modules[-1] if checkpoint.modules else None
    if last is None or last.kind != "LogitScore":
        return None
    true, false = (last.settings.get(f"{name}_token_id") for name in ("true", "false"))
    ids: list[Any] = [true] if false is None else [true, false]
    if not all(type(id_) is int and id_ >= 0 for id_ in ids) or len(set(ids)) < len(ids):
        raise ConfigError(
            f"{checkpoint.source}: {last.path}/config.json says true_token_id={true}, "
            f"false_token_id={false}; expected two different vocabulary ids, or one and null. Copy "
            "this file again"
        )
    return dict(zip(ids, (1.0, -1.0), strict=False))


def renderer(checkpoint: Checkpoint, tokenizer: Any) -> Render:
    """A function (query, document, system or None) → prompt, as sentence-transformers renders
    it.
    """
    body = read_body(checkpoint.folder)
    message_kind = (body.get("modality_config") or {}).get("message", {})
    flat = message_kind.get("format") != "structured"
    options = dict((body.get("processing_kwargs") or {}).get("chat_template") or {})
    for key in ("restore_suffix", "truncation", "max_length", "padding"):
        options.pop(key, None)

    def message(role: str, text: str) -> dict[str, Any]:
        return {"role": role, "content": text if flat else [{"type": "text", "text": text}]}

    def render(query: str, passage: str, system: str | None) -> str:
        messages = [message("query", query), message("document", passage)]
        if system is not None:
            messages.insert(0, message("system", system))
        rendered: str = tokenizer.apply_chat_template(
            messages, tokenize=False, strftime_now=lambda _: _DATE, **options
        )
        return rendered

    return render


def template_of(render: Render, answers: dict[int, float], prompt: str | None) -> Template:
    """The chat template as a `Template`; `prompt` is the default of the checkpoint, or None.

    Raises:
        ConfigError: the chat template fails, or does more than insert the texts.

    """
    try:
        return _template_of(render, answers, prompt)
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - templates raise whatever they like
        raise ConfigError(f"the checkpoint's chat template fails: {brief(error)}") from None


def _template_of(render: Render, answers: dict[int, float], prompt: str | None) -> Template:
    query, passage = _MARKS["query"], _MARKS["passage"]
    strip = f" {query} " not in render(f" {query} ", f" {passage} ", prompt)
    text, said = _with_instruction(render, prompt)
    if _DATE in text:
        raise ConfigError(
            "the checkpoint's chat template writes the date of the day, so the scores would "
            "differ from day to day. Write the prompt with a fixed date as model.template"
        )
    for name, mark in _MARKS.items():
        text = text.replace(mark, f"{{{name}}}")
    counts = [text.count(f"{{{name}}}") for name in ("query", "passage")]
    if counts != [1, 1]:
        raise ConfigError(
            f"the checkpoint's chat template contains the query {counts[0]} times and the "
            f"document {counts[1]} times; expected once each. Set model.template to your own "
            "template"
        )
    found = Template(segments=[text], answer_ids=answers, strip=strip, max_length=8192)
    found = found.model_copy(update=said)
    for probe in PROBES:
        if whole(found, *probe) != render(*probe, prompt):
            raise ConfigError(
                "the checkpoint's chat template changes the texts of a pair, or its output "
                "depends on these texts in another way. Write the prompt that it makes of a "
                "pair as model.template"
            )
    return found


def _with_instruction(render: Render, prompt: str | None) -> tuple[str, dict[str, str]]:
    """What the template makes of the marks, with the instruction's if it has a place for one, and
    what the instruction is where nobody sets it.
    """
    query, passage, system = _MARKS["query"], _MARKS["passage"], _MARKS["instruction"]
    plain = render(query, passage, None)
    before, _, behind = render(query, passage, system).partition(system)
    if not behind or system in behind:
        return render(query, passage, prompt), {}
    if plain.startswith(before) and plain.endswith(behind) and len(plain) >= len(before + behind):
        own = plain[len(before) : len(plain) - len(behind)]
        return before + system + behind, {"instruction": own if prompt is None else prompt}
    # Without an instruction the words around it are left out, too.
    shared = next((i for i, (a, b) in enumerate(zip(before, plain, strict=False)) if a != b), None)
    start = before[:shared] if shared is not None else before[: len(plain)]
    rest = plain[len(start) :]
    if behind.endswith(rest):
        around = before[len(start) :] + "{instruction}" + behind[: len(behind) - len(rest)]
        said = {"instruction": prompt or "", "instruction_format": around}
        return start + system + rest, said
    if prompt is None:
        return plain, {}
    return before + system + behind, {"instruction": prompt}


def whole(template: Template, query: str, passage: str) -> str:
    """The whole prompt of a pair, as text."""
    if template.strip:
        query, passage = query.strip(), passage.strip()
    return "".join(filled(template, segment, query, passage) for segment in template.segments)
