"""The built-in templates of language-model rerankers, and which checkpoint uses which.

A template is data (`config.Template`). To add one, add an entry here, or write a mapping at
`model.template` in your configuration.
"""

from __future__ import annotations

import difflib
import re

from reranker_core.config import ModelConfig, Template
from reranker_core.errors import ConfigError
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.modules import default_prompt

_FLAG_SEGMENTS = ["A: {query}", "\n", "B: {passage}", "\n", "{prompt}"]
_MONO_SEGMENTS = ["Query: {query} Document: {passage} Relevant:"]
_FLAG_PROMPT = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the "
    "query by providing a prediction of either 'Yes' or 'No'."
)

TEMPLATES: dict[str, Template] = {
    # FlagEmbedding 1.4.2, FlagLLMReranker.
    "bge-gemma": Template(
        segments=_FLAG_SEGMENTS,
        prompt=_FLAG_PROMPT,
        answers={"Yes": 1.0},
        specials="bos_unless_pad",
        counted="flag_embedding",
    ),
    # FlagEmbedding 1.4.2, LayerWiseFlagLLMReranker. Heads, not answers, give the scores of this one
    # and the next.
    "bge-layerwise": Template(
        segments=_FLAG_SEGMENTS, prompt=_FLAG_PROMPT, specials="bos", counted="flag_embedding"
    ),
    # FlagEmbedding 1.4.2, LightWeightFlagLLMReranker.
    "bge-lightweight": Template(
        segments=_FLAG_SEGMENTS,
        prompt="Predict whether passage B contains an answer to query A.",
        specials="bos",
        counted="flag_embedding",
    ),
    # Model card of Qwen/Qwen3-Reranker-0.6B, -4B and -8B.
    "qwen3-reranker": Template(
        segments=[
            "<|im_start|>system\nJudge whether the Document meets the requirements based on the "
            'Query and the Instruct provided. Note that the answer can only be "yes" or "no".'
            "<|im_end|>\n<|im_start|>user\n",
            "<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {passage}",
            "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ],
        instruction="Given a web search query, retrieve relevant passages that answer the query",
        answers={"yes": 1.0, "no": -1.0},
        max_length=8192,
    ),
    # github.com/mixedbread-ai/mxbai-rerank, MxbaiRerankV2.
    "mxbai-rerank-v2": Template(
        segments=[
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
            "assistant.<|im_end|>\n<|im_start|>user\n",
            "{instruction}query: {query}",
            "\n",
            "document: {passage}",
            "\n",
            "{prompt}",
            "<|im_end|>\n<|im_start|>assistant\n",
        ],
        prompt="You are a search relevance expert who evaluates how well documents match search "
        "queries. For each query-document pair, carefully analyze the semantic relationship "
        "between them, then provide your binary relevance judgment (0 for not relevant, 1 for "
        "relevant).\nRelevance:",
        instruction_format="instruction: {instruction}\n",
        answers={"1": 1.0, "0": -1.0},
        max_length=8192,
        counted="texts",
    ),
    # modeling_zeranker.py of zeroentropy/zerank-1 and -1-small: query and document as turns of
    # Qwen3's chat template.
    "zerank": Template(
        segments=[
            "<|im_start|>system\n{query}<|im_end|>\n<|im_start|>user\n{passage}",
            "<|im_end|>\n<|im_start|>assistant\n",
        ],
        strip=True,
        answers={"Yes": 1.0},
        max_length=8192,
        temperature=5.0,
    ),
    # Model card of ContextualAI/ctxl-rerank-v2-instruct-multilingual-1b, -2b and -6b.
    "contextual-rerank": Template(
        segments=[
            "Check whether a given document contains information helpful to answer the query.\n"
            "<Document> {passage}\n<Query> {query}{instruction} ??"
        ],
        instruction_format=" {instruction}",
        answer_ids={0: 1.0},
        specials="tokenizer",
        max_length=8192,
    ),
    # Nogueira et al. 2020, arXiv:2003.06713, and castorini/pygaggle.
    "monot5": Template(
        segments=_MONO_SEGMENTS, answers={"true": 1.0, "false": -1.0}, specials="tokenizer"
    ),
    # Bonifacio et al. 2021, arXiv:2108.13897; answers of each checkpoint: castorini/pygaggle,
    # rerank/transformer.py.
    "mt5-msmarco": Template(
        segments=_MONO_SEGMENTS, answers={"yes": 1.0, "no": -1.0}, specials="tokenizer"
    ),
    # The same table. These two answer `true` and `false`; mT5's vocabulary has `▁true`, but begins
    # `false` with the token `▁`, whose id is 259 (behind 3 special tokens and 256 bytes).
    "mt5-mmarco-true": Template(
        segments=_MONO_SEGMENTS,
        answers={"true": 1.0},
        answer_ids={259: -1.0},
        specials="tokenizer",
    ),
    "ptt5-msmarco": Template(
        segments=_MONO_SEGMENTS, answers={"sim": 1.0, "não": -1.0}, specials="tokenizer"
    ),
    # Model card of nvidia/llama-nemotron-rerank-1b-v2: the head of its own class gives the score.
    "nemotron": Template(
        segments=["question:{query} \n \n passage:{passage}"], specials="tokenizer"
    ),
}

# The first pattern that is found in a checkpoint's name wins.
_BY_NAME = (
    (r"nemotron.*rerank|rerankqa", "nemotron"),
    (r"zerank", "zerank"),
    (r"ctxl-?rerank|contextual.*rerank", "contextual-rerank"),
    (r"mxbai-?rerank.*v2", "mxbai-rerank-v2"),
    (r"qwen3.*rerank", "qwen3-reranker"),
    (r"bge-?reranker", "bge-gemma"),
)
_SEQ2SEQ_BY_NAME = (
    (r"mono-?m?t5|inranker", "monot5"),
    (r"ptt5-base-.*marco", "ptt5-msmarco"),
    (r"mt5-base-.*marco", "mt5-msmarco"),
    (r"mt5-(3b|13b)-mmarco", "mt5-mmarco-true"),
)
# Where the name tells nothing: what the known rerankers of a model type expect.
_BY_TYPE = {"gemma": "bge-gemma", "qwen2": "mxbai-rerank-v2", "qwen3": "qwen3-reranker"}
_BY_FAMILY = {
    "layerwise": "bge-layerwise",
    "lightweight": "bge-lightweight",
    "seq2seq": "monot5",
}
_FALLBACK = "bge-gemma"
# A template that files of sentence-transformers describe (`own_words.py`).
OF_CHECKPOINT = "of the checkpoint"


def choose_template(checkpoint: Checkpoint, model: ModelConfig, family: str) -> tuple[str, str]:
    """Name of the template for a language model, and the reason for the choice."""
    if isinstance(model.template, Template):
        return "own", "model.template defines it"
    if model.template != "auto":
        # `--like` sets the template that was found, which nobody has configured. A guess is used
        # only if it is configured.
        unset = model.model_copy(update={"template": "auto"})
        name, reason = _built_in(checkpoint, family)
        found = name == model.template and not is_guessed(checkpoint, unset, family)
        return model.template, reason if found else "as configured"
    if has_own_words(checkpoint):
        return OF_CHECKPOINT, "its chat template and answers"
    return _built_in(checkpoint, family)


def has_own_words(checkpoint: Checkpoint) -> bool:
    """Whether the files of sentence-transformers name the answer tokens."""
    return bool(checkpoint.modules) and checkpoint.modules[-1].kind == "LogitScore"


def _built_in(checkpoint: Checkpoint, family: str) -> tuple[str, str]:
    named = named_template(checkpoint, family)
    if named is not None:
        return named
    if family in _BY_FAMILY:
        return _BY_FAMILY[family], "the family's own"
    kind = str(checkpoint.config.get("model_type"))
    if kind in _BY_TYPE:
        return _BY_TYPE[kind], f"its model_type is {kind}"
    return _FALLBACK, (
        f"the default of FlagEmbedding, because model_type {kind} has no template of its own"
    )


def is_guessed(checkpoint: Checkpoint, model: ModelConfig, family: str) -> bool:
    """Whether only the model type decides which template is used."""
    unset = model.template == "auto" and family in ("llm", "seq2seq", "classifier")
    return unset and named_template(checkpoint, family) is None and not has_own_words(checkpoint)


def named_template(checkpoint: Checkpoint, family: str) -> tuple[str, str] | None:
    """The template for a checkpoint's name, and the reason; None if the name is not known, or says
    nothing in this family.
    """
    if family in ("layerwise", "lightweight"):
        return None
    adapter = checkpoint.adapter
    names = {
        "model.path": _end(checkpoint.source),
        "_name_or_path": str(checkpoint.config.get("_name_or_path") or ""),
        "the adapter's base": "" if adapter is None else _end(adapter.base),
    }
    for where, name in names.items():
        for pattern, template in _SEQ2SEQ_BY_NAME if family == "seq2seq" else _BY_NAME:
            found = re.search(pattern, name, re.IGNORECASE)
            if found:
                return template, f"{where} has '{found.group()}'"
    return None


def _end(path: str) -> str:
    """The last folders of a path; a hub cache has models--org--name/snapshots/<commit>."""
    return "/".join(path.rstrip("/").replace("\\", "/").split("/")[-3:])


def resolve_template(
    checkpoint: Checkpoint, model: ModelConfig, family: str
) -> tuple[str, Template]:
    """Name and template: the configured or a built-in one, with the configured prompt and
    instruction.

    Raises:
        ConfigError: there is no template of that name, or it has no place for the configured prompt
            or instruction.

    """
    if isinstance(model.template, Template):
        return "own", asked(model.template, "own", model)
    name = model.template if model.template != "auto" else _built_in(checkpoint, family)[0]
    template = TEMPLATES.get(name)
    if template is None:
        near = difflib.get_close_matches(name, TEMPLATES, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        raise ConfigError(
            f"model.template={name}: there is no such template{hint} The built-in templates are "
            f"{', '.join(TEMPLATES)}. For your own template, write a mapping with `segments`"
        )
    default = default_prompt(checkpoint.folder)
    if default is not None and has_place(template, "instruction"):
        template = template.model_copy(update={"instruction": default})
    return name, asked(template, name, model)


def asked(template: Template, name: str, model: ModelConfig) -> Template:
    """The template with the configured prompt and instruction.

    Raises:
        ConfigError: it has no place for one of these.

    """
    for key in ("prompt", "instruction"):
        value = getattr(model, key)
        if value is None:
            continue
        if not has_place(template, key):
            raise ConfigError(
                f"model.{key} is set, but the template '{name}' has no {{{key}}}. Remove this "
                "key, or write your own template"
            )
        template = template.model_copy(update={key: value})
    return template


def has_place(template: Template, key: str) -> bool:
    """Whether a template has a place for a `prompt` or an `instruction`."""
    return any(f"{{{key}}}" in segment for segment in template.segments)
