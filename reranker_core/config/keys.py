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


class Section(BaseModel):
    """A frozen group of keys; unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # lists and mappings have no hash of their own


class InputColumns(Section):
    """Names of the input columns. `candidates.passage` means field `passage` of the structs in
    the list column `candidates`.
    """

    query_id: str = "query_id"
    query: str = "query"
    doc_id: str = "doc_id"
    passage: str = "passage"
    instruction: str | None = Field(
        None, description="a row's own {instruction}; where it is null, the configured one"
    )


class InputConfig(Section):
    """Where the pairs are."""

    path: str | list[str] = Field(description="file, folder, glob or a list; local or a URL")
    columns: InputColumns = InputColumns()
    layout: Literal["auto", "flat", "nested"] = Field(
        "auto", description="flat: a row a pair; nested: a row a query with lists of candidates"
    )
    changed: Literal["refuse", "rescore"] = Field(
        "refuse",
        description="what to do when shards of a begun output have changed, come or gone: exit "
        "with 6, or score just those and remove what was of their old state",
    )


class OutputColumns(Section):
    """Names of the columns that the job adds."""

    score: str = "score"
    normalized: str = "score_normalized"
    rank: str = "rank"
    label: str = "label"
    tokens_lost: str = "tokens_lost"
    chunks: str = "chunks"
    status: str = "status"

    def of_layer(self, layer: int) -> str:
        """Where the score behind a lower one of several cutoff layers stands."""
        return f"{self.score}_layer_{layer}"


class OutputConfig(Section):
    """Where the scored rows go, and what they carry."""

    path: str = Field(description="folder; local or a URL")
    normalize: Literal["none", "sigmoid"] = Field(
        "none", description="adds a column beside `score`"
    )
    rank: bool = Field(False, description="adds the rank of a pair within its query, from 1")
    label_thresholds: list[float] = Field(
        [], description="adds a label: how many of these raw scores a pair reaches"
    )
    tokens_lost: bool = Field(
        False, description="adds how many tokens of a pair's texts were cut away"
    )
    chunks: bool = Field(False, description="adds how many sequences a pair was scored in")
    text: bool = Field(False, description="repeat the query and passage columns in the output")
    passthrough: Literal["all"] | list[str] = Field(
        "all", description="which of the other input columns to repeat"
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

    segments: list[str] = Field(min_length=1)
    answers: dict[str, float] = Field({}, description="weight of each answer's logit in the score")
    answer_ids: dict[int, float] = Field({}, description="the same, for vocabulary ids")
    prompt: str = ""
    instruction: str = ""
    instruction_format: str = Field(
        "{instruction}", description="what stands for {instruction}; nothing if there is none"
    )
    specials: Literal["none", "bos", "bos_unless_pad", "tokenizer"] = Field(
        "none", description="tokenizer: what the tokenizer itself puts around a text"
    )
    strip: bool = Field(False, description="without white space around query and passage")
    max_length: int = Field(512, ge=8, description="where model.max_length is null")
    counted: Literal["all", "texts", "flag_embedding"] = Field(
        "all",
        description="what max_length counts. texts: from the first text to the last; "
        "flag_embedding: that, less all that stands behind the passage",
    )
    temperature: float = Field(1.0, gt=0, description="of the family's own normalisation")

    @model_validator(mode="after")
    def _one_query_one_passage(self) -> Template:
        for placeholder in _PLACEHOLDERS:
            count = sum(segment.count(placeholder) for segment in self.segments)
            if count != 1:
                raise ValueError(f"segments hold {placeholder} {count} times; expected once")
        return self


class ModelConfig(Section):
    """Which reranker, and how a pair becomes its input."""

    path: str = Field(description="folder or hub id")
    revision: str | None = Field(None, description="hub branch, tag or commit")
    family: Literal[
        "auto", "encoder", "llm", "layerwise", "lightweight", "seq2seq", "classifier"
    ] = Field("auto", description="auto: from the checkpoint")
    template: str | Template = Field(
        "auto",
        description="language models: a built-in one (docs/families.md), or one's own; auto: from "
        "the checkpoint",
    )
    cutoff_layer: Layer | list[Layer] | None = Field(
        None,
        description="layerwise, lightweight: score behind this layer; null: the last. Of a list, "
        "behind the largest; the others become columns of their own",
    )
    compress_layers: list[int] = Field(
        [8], description="lightweight: where the passage is compressed"
    )
    compress_ratio: Literal[1, 2, 4, 8] = Field(
        1, description="lightweight: tokens that become one; 1: no compression"
    )
    lightweight_head: Literal["flag_embedding", "of_layer"] = Field(
        "flag_embedding",
        description="flag_embedding: the first head for the first cutoff layer, and so on, as "
        "FlagEmbedding 1.4 takes them whatever the layers; of_layer: the cutoff layer's own",
    )
    prompt: str | None = Field(None, description="replaces the template's {prompt}")
    instruction: str | None = Field(None, description="replaces the template's {instruction}")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    max_length: int | None = Field(
        None,
        ge=8,
        description="tokens a pair, specials included; null: the template's, or the model's, at "
        "most 512",
    )
    query_max_length: int | None = Field(
        None, ge=1, description="tokens a query; null: three quarters of max_length"
    )
    truncation: Literal["only_passage", "longest_first"] = Field(
        "only_passage",
        description="only_passage: as FlagReranker; longest_first: as sentence-transformers, "
        "encoders only",
    )
    digest: str | None = Field(
        None, description="what the checkpoint's files must be; jobs.preflight prints it"
    )
    allow_pickle: bool = Field(False, description="load .bin weights, whose pickles can run code")
    long_passage: Literal["truncate", "first", "max", "mean_top_k"] = Field(
        "truncate",
        description="a passage that does not fit: cut (first: the same), or scored in chunks, of "
        "which the best one counts, or the mean of the best",
    )
    chunk_overlap: int = Field(64, ge=0, description="tokens that a chunk shares with the next")
    max_chunks: int = Field(64, ge=1, description="chunks a passage; what is behind them is lost")
    top_k: int = Field(3, ge=1, description="for mean_top_k")
    trust_remote_code: bool = Field(False, description="run code that lies in the checkpoint")

    @field_validator("cutoff_layer")
    @classmethod
    def _ascending(cls, layers: int | list[int] | None) -> int | list[int] | None:
        if not isinstance(layers, list):
            return layers
        if not layers or layers != sorted(set(layers)):
            raise ValueError("expected a layer, or a list of layers, each once, in ascending order")
        return layers if len(layers) > 1 else layers[0]

    @property
    def cutoff_layers(self) -> list[int]:
        """All that are configured, ascending: the score is that of the last one."""
        if self.cutoff_layer is None:
            return []
        return [self.cutoff_layer] if isinstance(self.cutoff_layer, int) else self.cutoff_layer


class ReplicasConfig(Section):
    """How many models are held at once, and what each asks of Ray. null: from the cluster."""

    min: int | None = Field(None, ge=1)
    max: int | None = Field(None, ge=1, description="what a cluster may grow to")
    num_cpus: float | None = Field(None, gt=0, description="also the threads of a CPU forward")
    num_gpus: float | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _min_below_max(self) -> ReplicasConfig:
        if self.min and self.max and self.min > self.max:
            raise ValueError(f"min={self.min} is above max={self.max}; lower min or raise max")
        return self


class PlanConfig(Section):
    """How shards are cut into parts: the unit of reading, scoring, committing and retrying."""

    part_rows: int = Field(8192, ge=1, description="pairs a part, at most (but for one huge row)")
    part_bytes: int = Field(268_435_456, ge=1, description="decoded input bytes a part, about")


class ScoreConfig(Section):
    """How a replica computes. Part of the fingerprint only where scores are reproducible."""

    max_batch_tokens: int | None = Field(
        None, ge=8, description="rows x padded length of a batch; null: what suits the device"
    )
    reproducible: bool = Field(
        False,
        description="a pair's score is the same to the bit whatever it is batched with, on equal "
        "hardware and software",
    )
    share_prefixes: bool = Field(
        True,
        description="language models compute what a query's candidates begin with once; not where "
        "scores are reproducible",
    )
    compile: Literal["auto"] | bool = Field(
        "auto",
        description="each replica compiles the model when it starts, and keeps that if it is "
        "faster; auto: in bfloat16 on CPUs with AMX, in runs of more than half an hour",
    )

    @model_validator(mode="after")
    def _bits_of_one_kind(self) -> ScoreConfig:
        if self.reproducible and self.compile is True:
            raise ValueError(
                "score.compile=true and score.reproducible=true: whether compiled code is faster "
                "may differ from replica to replica, and with it the last bits; set one of them"
            )
        return self


class GuardConfig(Section):
    """What is tolerated."""

    max_quarantined_fraction: float = Field(0.01, ge=0, le=1)
    max_stall_seconds: float = Field(
        1200, gt=0, description="without a batch or a part done, loading of models included"
    )


class VerifyConfig(Section):
    """How the output is proven, at the end of a run and by jobs.verify."""

    read: Literal["unproven", "all"] = Field(
        "unproven",
        description="data files to open: those whose checksum the store does not list, or all",
    )


def _yaml_off(value: Any) -> Any:
    # YAML 1.1 reads a bare `off` as false.
    return "off" if value is False else value


Enforcement = Annotated[Literal["refuse", "warn", "off"], BeforeValidator(_yaml_off)]


Language = Literal["en", "de", "fr", "es", "ru", "zh", "ja", "ar", "hi"]


class PreflightChecks(Section):
    """What a failed check of each group does."""

    files: Enforcement = "refuse"
    architecture: Enforcement = "refuse"
    weights: Enforcement = "refuse"
    tokenizer: Enforcement = "refuse"
    prompt: Enforcement = "refuse"
    numerics: Enforcement = "refuse"
    meaning: Enforcement = "refuse"
    agreement: Enforcement = "refuse"


class PreflightConfig(Section):
    """What a replica must pass before it may score a row."""

    checks: PreflightChecks = PreflightChecks()
    languages: list[Language] = Field(
        ["en"], min_length=1, description="in which the built-in canaries must come out in order"
    )
    canaries: str | None = Field(
        None, description="JSON lines of your own: query, relevant, irrelevant"
    )
    golden: str | None = Field(
        None, description="canary scores of an approved run, written by jobs.preflight --record"
    )


class TrainingConfig(Section):
    """What `jobs.training_data` makes of a scored output."""

    positive_column: str | None = Field(
        None, description="a column that was passed through; above 0: the pair is a positive"
    )
    positive_score: float | None = Field(
        None, description="instead: raw scores from here on are positives"
    )
    scores: Literal["raw", "normalized"] = "raw"


class RayConfig(Section):
    """Which Ray to use. null: the one of RAY_ADDRESS (set by `ray job submit`), else an own one."""

    address: str | None = Field(
        None,
        description="`auto`: the one running on this machine; `local`: an own one; or host:port",
    )


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
