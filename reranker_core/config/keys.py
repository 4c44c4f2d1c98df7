"""The whole configuration; `sections/` has its keys with their types, defaults and ranges."""

from __future__ import annotations

from pydantic import model_validator

from reranker_core.config.sections.input import InputConfig
from reranker_core.config.sections.model import ModelConfig
from reranker_core.config.sections.output import OutputConfig, TrainingConfig
from reranker_core.config.sections.preflight import PreflightConfig
from reranker_core.config.sections.reuse import ReuseConfig
from reranker_core.config.sections.section import Section
from reranker_core.config.sections.work import (
    GuardConfig,
    PlanConfig,
    RayConfig,
    ReplicasConfig,
    ReportConfig,
    ScoreConfig,
    VerifyConfig,
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
    reuse: ReuseConfig = ReuseConfig()
    report: ReportConfig = ReportConfig()
    verify: VerifyConfig = VerifyConfig()
    preflight: PreflightConfig = PreflightConfig()
    training: TrainingConfig = TrainingConfig()
    ray: RayConfig = RayConfig()

    @model_validator(mode="after")
    def _limits_have_a_measure(self) -> Config:
        guard, report = self.guard, self.report
        for name in ("max_drift", "min_rank_correlation"):
            if getattr(guard, name) is not None and report.against is None:
                raise ValueError(f"guard.{name} is set, but report.against is not; set both")
        if guard.min_quality is not None and not (report.qrels or report.label):
            raise ValueError(
                "guard.min_quality is set, but neither report.qrels nor report.label; set one"
            )
        return self
