"""All keys of the configuration, with their types, defaults and ranges."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

# A name or a path. An empty one is always a mistake, such as an unset shell variable.
Text = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A frozen group of keys; unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # lists and mappings have no hash of their own


class InputColumns(Section):
    """Names of the input columns. `candidates.passage` means field `passage` of the structs in
    the list column `candidates`.
    """

    query_id: Text = Field("query_id", description="Column with the id of the query.")
    query: Text = Field("query", description="Column with the text of the query.")
    doc_id: Text = Field("doc_id", description="Column with the id of the passage.")
    passage: Text = Field("passage", description="Column with the text of the passage.")
    instruction: Text | None = Field(
        None,
        description="Column with an instruction for each row; a row where it is null uses the "
        "configured instruction.",
    )


class InputConfig(Section):
    """Where the pairs are."""

    path: Text | list[Text] = Field(
        description="Parquet file, folder or glob pattern, or a list of them; local paths or URLs."
    )
    columns: InputColumns = InputColumns()
    format: Literal["auto", "parquet", "delta", "iceberg"] = Field(
        "auto",
        description="`parquet`: files; `delta`, `iceberg`: the folder of a table; `auto`: detect "
        "it from the content.",
    )
    snapshot: int | None = Field(
        None,
        description="Version of a Delta table, or id of a snapshot of an Iceberg table; `null`: "
        "the newest one.",
    )
    layout: Literal["auto", "flat", "nested"] = Field(
        "auto",
        description="`flat`: one row is one pair; `nested`: one row is one query with lists of "
        "candidates; `auto`: detect it from the type of the passage column.",
    )
    changed: Literal["refuse", "rescore"] = Field(
        "refuse",
        description="If input files have changed since the output was started, `refuse` stops "
        "with exit code 6, and `rescore` scores the changed files again and removes their old "
        "results.",
    )


class OutputColumns(Section):
    """Names of the columns that the job adds."""

    score: Text = Field("score", description="Column for the raw score of the model.")
    normalized: Text = Field(
        "score_normalized", description="Column for the normalized score (`output.normalize`)."
    )
    rank: Text = Field("rank", description="Column for the rank within the query (`output.rank`).")
    label: Text = Field("label", description="Column for the label (`output.label_thresholds`).")
    tokens_lost: Text = Field(
        "tokens_lost", description="Column for the number of truncated tokens."
    )
    chunks: Text = Field("chunks", description="Column for the number of chunks of the passage.")
    status: Text = Field(
        "status", description="Column that says whether the pair was scored, and if not, why."
    )

    def of_layer(self, layer: int) -> str:
        """The column for the score of a cutoff layer other than the last one."""
        return f"{self.score}_layer_{layer}"


class OutputConfig(Section):
    """Where the scored rows go, and which columns they have."""

    path: Text = Field(description="Folder for the results; a local path or a URL.")
    normalize: Literal["none", "sigmoid"] = Field(
        "none", description="`sigmoid` adds a column with the sigmoid of the raw score."
    )
    rank: bool = Field(
        False, description="Add a column with the rank of the pair within its query, from 1."
    )
    label_thresholds: list[float] = Field(
        [],
        description="Add a column with the number of these thresholds that the raw score reaches.",
    )
    tokens_lost: bool = Field(
        False,
        description="Add a column with the number of tokens that were cut from query and passage.",
    )
    chunks: bool = Field(
        False, description="Add a column with the number of sequences that the pair was scored in."
    )
    text: bool = Field(False, description="Copy the query and passage columns to the output.")
    passthrough: Literal["all"] | list[Text] = Field(
        "all", description="Other input columns to copy to the output."
    )
    columns: OutputColumns = OutputColumns()


_PLACEHOLDERS = ("{query}", "{passage}")
Layer = Annotated[int, Field(ge=1)]


class Template(Section):
    """How a pair becomes the input of a language model, and which tokens answer.

    `segments` are tokenized one by one and their ids joined, since a text cut at other places gives
    other ids. They hold `{query}` and `{passage}` once each, and may hold `{instruction}` and
    `{prompt}`.
    """

    segments: list[str] = Field(
        min_length=1,
        description="Pieces of the prompt, which are tokenized separately; they contain `{query}` "
        "and `{passage}` once each.",
    )
    answers: dict[str, float] = Field(
        {},
        description="Answer tokens, each with the weight of its logit in the score.",
    )
    answer_ids: dict[int, float] = Field(
        {}, description="Answer tokens given by vocabulary id, each with its weight."
    )
    prompt: str = Field("", description="Text for `{prompt}`.")
    instruction: str = Field("", description="Text for `{instruction}`.")
    instruction_format: str = Field(
        "{instruction}",
        description="Text that replaces `{instruction}` if there is an instruction.",
    )
    specials: Literal["none", "bos", "bos_unless_pad", "tokenizer"] = Field(
        "none",
        description="Special tokens to add; `tokenizer`: the ones that the tokenizer adds by "
        "default.",
    )
    strip: bool = Field(False, description="Remove white space around query and passage.")
    max_length: int = Field(
        512, ge=8, description="Maximum number of tokens if `model.max_length` is null."
    )
    counted: Literal["all", "texts", "flag_embedding"] = Field(
        "all",
        description="Tokens that count towards the maximum length; `texts`: from the first text to "
        "the last; `flag_embedding`: these, minus the tokens after the passage.",
    )
    temperature: float = Field(
        1.0, gt=0, description="Temperature of the model family's own normalization."
    )

    @model_validator(mode="after")
    def _one_query_one_passage(self) -> Template:
        for placeholder in _PLACEHOLDERS:
            count = sum(segment.count(placeholder) for segment in self.segments)
            if count != 1:
                raise ValueError(f"segments contain {placeholder} {count} times; expected once")
        return self


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

    path: Text = Field(description="Folder with the model, or its id on the Hugging Face hub.")
    revision: Text | None = Field(
        None, description="Branch, tag or commit on the hub; null: the main branch."
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
        description="Layer whose output is scored, for layerwise and lightweight models; null: the "
        "last layer; of several layers, the largest gives the score, and each other gives a column "
        "of its own.",
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
        "the first head for the first cutoff layer and so on, as FlagEmbedding 1.4 does; "
        "`of_layer`: the layer's own head.",
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
        "limit of the template, or the limit of the model but at most 512.",
    )
    query_max_length: int | None = Field(
        None,
        ge=1,
        description="Maximum number of tokens of a query; null: three quarters of "
        "`model.max_length`.",
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


class ReplicasConfig(Section):
    """Number of copies of the model and resources of each copy. null: chosen for the cluster."""

    min: int | None = Field(None, ge=1, description="Number of replicas that are always kept.")
    max: int | None = Field(
        None, ge=1, description="Maximum number of replicas; a cluster that can grow grows to it."
    )
    num_cpus: float | None = Field(
        None, gt=0, description="CPUs of each replica; on a CPU also its number of threads."
    )
    num_gpus: float | None = Field(None, ge=0, description="GPUs of each replica.")

    @model_validator(mode="after")
    def _min_below_max(self) -> ReplicasConfig:
        if self.min and self.max and self.min > self.max:
            raise ValueError(f"min={self.min} is above max={self.max}; lower min or raise max")
        return self


class PlanConfig(Section):
    """How input is split into parts. A part is read, scored, written and retried as a unit."""

    part_rows: int = Field(
        8192,
        ge=1,
        description="Maximum number of pairs in a part; a single larger row is not split.",
    )
    part_bytes: int = Field(
        268_435_456,
        ge=1,
        description="Approximate maximum size of a part's input, in bytes of memory.",
    )


class ScoreConfig(Section):
    """How a replica computes scores."""

    max_batch_tokens: int | None = Field(
        None,
        ge=8,
        description="Maximum size of a batch in tokens: rows times padded length; null: chosen for "
        "the device.",
    )
    reproducible: bool = Field(
        False,
        description="Give a pair the same score to the last bit in every batch, on equal hardware "
        "and software.",
    )
    share_prefixes: bool = Field(
        True,
        description="Let language models compute the common beginning of a query's candidates only "
        "once; not used if `score.reproducible` is true.",
    )
    compile: Literal["auto"] | bool = Field(
        "auto",
        description="Compile the model in each replica and use the result if it is faster; `auto`: "
        "only for bfloat16 on CPUs with AMX, in runs of more than half an hour.",
    )

    @model_validator(mode="after")
    def _bits_of_one_kind(self) -> ScoreConfig:
        if self.reproducible and self.compile is True:
            raise ValueError(
                "score.compile=true and score.reproducible=true: only some replicas may use "
                "compiled code, so the last bits of scores may differ; set one of them"
            )
        return self


class GuardConfig(Section):
    """Limits beyond which a run fails."""

    max_quarantined_fraction: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Maximum fraction of pairs without a score; above it, the run ends with exit "
        "code 4.",
    )
    max_stall_seconds: float = Field(
        1200,
        gt=0,
        description="Maximum time without progress, including the loading of models; then the run "
        "stops with exit code 5.",
    )


class VerifyConfig(Section):
    """How the output is verified, at the end of a run and by `batch-reranker verify`."""

    read: Literal["unproven", "all"] = Field(
        "unproven",
        description="Data files to read; `unproven`: only those whose checksum the store does not "
        "list.",
    )


def _yaml_off(value: Any) -> Any:
    # YAML 1.1 reads a bare `off` as false.
    return "off" if value is False else value


Enforcement = Annotated[
    Literal["refuse", "warn", "off"],
    BeforeValidator(_yaml_off, json_schema_input_type=Literal["refuse", "warn", "off", False]),
]


Language = Literal["en", "de", "fr", "es", "ru", "zh", "ja", "ar", "hi"]


class PreflightChecks(Section):
    """What happens if a check of the group fails."""

    files: Enforcement = Field("refuse", description="Checks of the model's files.")
    architecture: Enforcement = Field(
        "refuse", description="Checks that the model is a reranker of a supported kind."
    )
    weights: Enforcement = Field(
        "refuse", description="Checks that all weights are there and were trained."
    )
    tokenizer: Enforcement = Field(
        "refuse", description="Checks that the tokenizer belongs to the model."
    )
    prompt: Enforcement = Field(
        "refuse", description="Checks of the input that is built from a pair."
    )
    numerics: Enforcement = Field(
        "refuse", description="Checks of the scores in the number format of the run."
    )
    meaning: Enforcement = Field(
        "refuse", description="Checks that relevant passages score above irrelevant ones."
    )
    agreement: Enforcement = Field(
        "refuse", description="Checks that all replicas give the same scores."
    )


class PreflightConfig(Section):
    """Checks that a replica must pass before it may score a row."""

    checks: PreflightChecks = PreflightChecks()
    languages: list[Language] = Field(
        ["en"],
        min_length=1,
        description="Languages in which the model must rank the built-in examples correctly.",
    )
    canaries: Text | None = Field(
        None,
        description="JSON Lines file with your own examples: `query`, `relevant`, `irrelevant`.",
    )
    golden: Text | None = Field(
        None,
        description="File with the example scores of an approved run; `batch-reranker preflight "
        "--record` writes it.",
    )
    golden_tolerance: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="Largest allowed difference from a golden score, as a fraction of the range "
        "of all golden scores.",
    )
    golden_any_dtype: bool = Field(
        False, description="Accept golden scores that were recorded in another number format."
    )


class TrainingConfig(Section):
    """Which training data `batch-reranker training-data` writes."""

    positive_column: Text | None = Field(
        None,
        description="Column copied from the input that marks positive pairs: a value above 0.",
    )
    positive_score: float | None = Field(
        None,
        description="Raw score at or above which a pair is positive, if no column marks positives.",
    )
    scores: Literal["raw", "normalized"] = Field("raw", description="Scores to write.")


class RayConfig(Section):
    """Which Ray cluster to use."""

    address: Text | None = Field(
        None,
        description="`auto`: the cluster that this machine belongs to; `local`: a new one for this "
        "run; or host:port; null: the address in RAY_ADDRESS, which `ray job submit` sets, or "
        "else `local`.",
    )


class ScoringConfig(Section):
    """What loading, checking and running a model depends on; for use without a job."""

    model: ModelConfig
    score: ScoreConfig = ScoreConfig()
    preflight: PreflightConfig = PreflightConfig()


class Config(Section):
    """The whole configuration of a run."""

    input: InputConfig
    output: OutputConfig
    model: ModelConfig
    replicas: ReplicasConfig = ReplicasConfig()
    plan: PlanConfig = PlanConfig()
    score: ScoreConfig = ScoreConfig()
    guard: GuardConfig = GuardConfig()
    verify: VerifyConfig = VerifyConfig()
    preflight: PreflightConfig = PreflightConfig()
    training: TrainingConfig = TrainingConfig()
    ray: RayConfig = RayConfig()
