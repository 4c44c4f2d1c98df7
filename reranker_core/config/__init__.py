"""The one configuration object, frozen and validated."""

from reranker_core.config.keys import Config, ScoringConfig
from reranker_core.config.loading import load_config, scoring_config
from reranker_core.config.lookup import known_keys
from reranker_core.config.sections.model import ModelConfig
from reranker_core.config.sections.output import OutputColumns, OutputConfig, TrainingConfig
from reranker_core.config.sections.preflight import PreflightChecks, PreflightConfig
from reranker_core.config.sections.template import Template
from reranker_core.config.sections.work import ScoreConfig

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
