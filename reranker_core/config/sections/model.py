"""Keys of the model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from reranker_core.config.sections.section import Section, Text
from reranker_core.config.sections.template import Template

Layer = Annotated[int, Field(ge=1)]


# The names that other libraries use.
_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "half": "float16"}


def _long_name(value: Any) -> Any:
    return _DTYPES.get(value, value) if isinstance(value, str) else value


NumberFormat = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    BeforeValidator(
        _long_name,
        json_schema_input_type=Literal[
            "auto", "float32", "bfloat16", "float16", "fp32", "bf16", "fp16", "half"
        ],
    ),
]


class ModelConfig(Section):
    """Which reranker, and how a pair becomes its input."""

    path: Text = Field(
        description="Folder or URL (such as s3://…) with the model, or its id on the "
        "Hugging Face hub."
    )
    revision: Text | None = Field(
        None, description="Branch, tag or commit on the hub; null: the main branch."
    )
    base: Text | None = Field(
        None,
        description="Folder, URL or hub id (or `id@commit`) of the model that the LoRA adapter in "
        "`model.path` was trained from; null: the one that the adapter names.",
    )
    family: Literal[
        "auto",
        "encoder",
        "modular",
        "llm",
        "layerwise",
        "lightweight",
        "seq2seq",
        "classifier",
    ] = Field("auto", description="Kind of reranker; `auto`: detect it from the model's files.")
    template: Text | Template = Field(
        "auto",
        description="Prompt template of a language model: the name of a built-in one, or a mapping "
        "with your own; `auto`: detect it from the model's files.",
    )
    cutoff_layer: Layer | list[Layer] | None = Field(
        None,
        description="Layer whose head gives the score, for layerwise and lightweight models; null: "
        "the last layer; a list: the largest gives the score, and each other layer gets its own "
        "column.",
    )
    compress_layers: list[int] = Field(
        [8], description="Layers at which a lightweight model compresses the passage."
    )
    compress_ratio: Literal[1, 2, 4, 8] = Field(
        1,
        description="Number of tokens that a lightweight model merges into one; 1: no compression.",
    )
    lightweight_head: Literal["flag_embedding", "of_layer"] = Field(
        "flag_embedding",
        description="Which head of a lightweight model scores a cutoff layer; `flag_embedding`: "
        "the first head for the first layer in `model.cutoff_layer`, the second head for the "
        "second one, as FlagEmbedding 1.4 does; `of_layer`: the layer's own head.",
    )
    prompt: str | None = Field(
        None,
        description="Text that replaces the template's `{prompt}`, or is put before each query of "
        "an encoder; null: the text of the checkpoint.",
    )
    instruction: str | None = Field(
        None,
        description="Text that replaces the template's `{instruction}`; null: the text of the "
        "template.",
    )
    dtype: NumberFormat = Field(
        "auto",
        description="Number format of the model; `auto`: the fastest that passes the numerics "
        "checks on this hardware.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Device that scores; `auto`: a GPU if there is one, else the CPU."
    )
    label: int | Text | None = Field(
        None,
        description="The label that means relevant, by number or name, if the head has several "
        "labels; null: of two labels, the one that is named relevant.",
    )
    max_length: int | None = Field(
        None,
        ge=8,
        description="Maximum number of tokens of a pair, special tokens included; null: the "
        "maximum of the template; without a template, the limit of the model but at most 512, or, "
        "for models of the family `modular`, their `max_seq_length`.",
    )
    query_max_length: int | None = Field(
        None,
        ge=1,
        description="Maximum number of tokens of a query; null: three quarters of "
        "`model.max_length`, less if no token of the passage would fit.",
    )
    truncation: Literal["only_passage", "longest_first"] = Field(
        "only_passage",
        description="How a pair that is too long is cut; `only_passage`: as FlagReranker does; "
        "`longest_first`: as sentence-transformers does, for encoders only.",
    )
    digest: Text | None = Field(
        None,
        description="Expected digest of the model's files; `batch-reranker preflight` prints it.",
    )
    allow_pickle: bool = Field(
        False, description="Allow weights in .bin files, which can run any code when loaded."
    )
    special_tokens: Literal["as_tokens", "as_text"] = Field(
        "as_tokens",
        description="How to read special tokens, such as `[SEP]` or `</s>`, in queries and "
        "passages; `as_tokens`: as other libraries do; `as_text`: as plain text.",
    )
    long_passage: Literal["truncate", "first", "max", "mean_top_k"] = Field(
        "truncate",
        description="What to do with a passage that is too long; `truncate` and `first`: cut it; "
        "`max`: score it in chunks and take the best score; `mean_top_k`: the mean of the best "
        "scores.",
    )
    chunk_overlap: int = Field(
        64, ge=0, description="Number of tokens that a chunk shares with the next one."
    )
    max_chunks: int = Field(
        64, ge=1, description="Maximum number of chunks of a passage; the rest of it is cut."
    )
    top_k: int = Field(
        3, ge=1, description="Number of chunk scores that `model.long_passage=mean_top_k` averages."
    )
    trust_remote_code: bool = Field(
        False, description="Allow Python code from the model's folder or hub repository to run."
    )

    @field_validator("cutoff_layer")
    @classmethod
    def _ascending(cls, layers: int | list[int] | None) -> int | list[int] | None:
        if not isinstance(layers, list):
            return layers
        if not layers or layers != sorted(set(layers)):
            raise ValueError("expected a layer, or a list of different layers in ascending order")
        return layers if len(layers) > 1 else layers[0]

    @property
    def cutoff_layers(self) -> list[int]:
        """All that are configured, ascending: the score is that of the last one."""
        if self.cutoff_layer is None:
            return []
        return [self.cutoff_layer] if isinstance(self.cutoff_layer, int) else self.cutoff_layer
