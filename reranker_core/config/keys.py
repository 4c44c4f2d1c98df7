"""The whole configuration; `sections/` has its keys with their types, defaults and ranges."""

from __future__ import annotations

from reranker_core.config.sections.input import InputConfig
from reranker_core.config.sections.model import ModelConfig
from reranker_core.config.sections.output import OutputConfig, TrainingConfig
from reranker_core.config.sections.preflight import PreflightConfig
from reranker_core.config.sections.section import Section
from reranker_core.config.sections.work import (
    GuardConfig,
    PlanConfig,
    RayConfig,
    ReplicasConfig,
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
    verify: VerifyConfig = VerifyConfig()
    preflight: PreflightConfig = PreflightConfig()
    training: TrainingConfig = TrainingConfig()
    ray: RayConfig = RayConfig()
