"""The one configuration object, frozen and validated."""

from reranker_core.config.keys import (
    Config,
    ModelConfig,
    OutputColumns,
    OutputConfig,
    PreflightChecks,
    PreflightConfig,
    ScoreConfig,
    ScoringConfig,
    Template,
    TrainingConfig,
)
from reranker_core.config.loading import load_config, scoring_config
from reranker_core.config.lookup import known_keys

__all__ = [
    "Config",
    "ModelConfig",
    "OutputColumns",
    "OutputConfig",
    "PreflightChecks",
    "PreflightConfig",
    "ScoreConfig",
    "ScoringConfig",
    "Template",
    "TrainingConfig",
    "known_keys",
    "load_config",
    "scoring_config",
]
