"""Keys of how the work is done: replicas, parts, batches, limits, Ray."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from reranker_core.config.sections.section import Section, Text


class ReplicasConfig(Section):
    """Number of copies of the model and resources of each copy. null: chosen for the cluster."""

    min: int | None = Field(None, ge=1, description="Number of replicas that are always kept.")
    max: int | None = Field(
        None,
        ge=1,
        description="Maximum number of replicas; an autoscaling cluster grows up to it.",
    )
    num_cpus: float | None = Field(
        None, gt=0, description="CPUs of each replica; on a CPU also its number of threads."
    )
    num_gpus: float | None = Field(
        None, ge=0, description="GPUs of each replica: 1, or a fraction if replicas share a GPU."
    )
    accelerator_type: Text | None = Field(
        None,
        description="Type of GPU to use, as Ray names it (`H100`, `A100-80G`, `T4`), or `any`; "
        "null: the type that all nodes with GPUs have.",
    )

    @field_validator("num_gpus")
    @classmethod
    def _at_most_one(cls, value: float | None) -> float | None:
        if value and value > 1:
            raise ValueError(
                "a replica uses one GPU. Set 1, and use more replicas; a model that does not fit "
                "one GPU cannot be scored by this job"
            )
        return value

    @model_validator(mode="after")
    def _min_below_max(self) -> ReplicasConfig:
        if self.min and self.max and self.min > self.max:
            raise ValueError(f"min={self.min} is above max={self.max}; lower min or raise max")
        return self


class PlanConfig(Section):
    """How input is split into parts. A part is read, scored, written and retried as a unit."""

    part_rows: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        8192,
        description="Maximum number of pairs in a part; a single larger row is not split; `auto`: "
        "65536 if `replicas.num_gpus` or `model.device=cuda` is set, otherwise 8192.",
    )
    part_bytes: int = Field(
        268_435_456,
        ge=1,
        description="Approximate maximum size of a part's input, in bytes of memory.",
    )
    price_per_hour: float | None = Field(
        None,
        ge=0,
        description="Price of a replica for an hour, for `batch-reranker plan --estimate`.",
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
        "only in runs of more than half an hour.",
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
        description="Maximum time in seconds without progress (three times as long while a "
        "replica loads its model); then the run stops with exit code 5.",
    )
    max_drift: float | None = Field(
        None,
        ge=0,
        description="Maximum shift of the scores from those of `report.against`, as a fraction of "
        "their 5 to 95 % range; above it, and if chance does not explain it, the run ends with "
        "exit code 7.",
    )
    min_rank_correlation: float | None = Field(
        None,
        ge=-1,
        le=1,
        description="Minimum mean rank correlation with `report.against` over the queries that "
        "both have; below it, the run ends with exit code 7.",
    )
    min_quality: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Minimum nDCG@10 by the judgements of `report.qrels` or `report.label`; below "
        "it, the run ends with exit code 7.",
    )


class ReportConfig(Section):
    """What the report compares the scores with."""

    against: Text | None = Field(
        None,
        description="Output of an earlier run to compare with; `auto`: the newest complete output "
        "beside this one, in the same folder.",
    )
    qrels: Text | None = Field(
        None,
        description="File of judgements for the report; same formats as `batch-reranker evaluate "
        "--qrels`.",
    )
    label: Text | None = Field(
        None, description="Column of the output with judgements, in place of `report.qrels`."
    )
    first_stage: Text | None = Field(
        None,
        description="Column of the output with the score of the first stage; null: the order of "
        "the rows.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> ReportConfig:
        if self.qrels and self.label:
            raise ValueError("qrels and label are both set; judgements come from one of them")
        return self


class VerifyConfig(Section):
    """How the output is verified, at the end of a run and by `batch-reranker verify`."""

    read: Literal["unproven", "all"] = Field(
        "unproven",
        description="Data files to read; `unproven`: only files without a checksum in the store's "
        "listing.",
    )


class RayConfig(Section):
    """Which Ray cluster to use."""

    address: Text | None = Field(
        None,
        description="`auto`: the cluster that this machine belongs to; `local`: a new one for this "
        "run; or host:port; null: the address in RAY_ADDRESS, which `ray job submit` sets, or "
        "else `local`.",
    )
