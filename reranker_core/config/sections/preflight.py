"""Keys of preflight."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from reranker_core.config.sections.section import Section, Text


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
        description="Languages in which the model must rank the built-in canaries (test pairs) "
        "correctly.",
    )
    canaries: Text | None = Field(
        None,
        description="JSON Lines file with your own canaries: `query`, `relevant`, `irrelevant`.",
    )
    golden: Text | None = Field(
        None,
        description="File with golden scores: the canary scores of an approved model; "
        "`batch-reranker preflight --record` writes it.",
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
