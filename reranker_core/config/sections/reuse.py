"""Keys of the reuse of earlier scores."""

from __future__ import annotations

from pydantic import Field, create_model

from reranker_core.config.sections.section import Section, Text

# `from` is a word of Python, so no class can write it as a field.
_From = create_model(  # type: ignore[call-overload]
    "_From",
    __base__=Section,
    **{
        "from": (
            Text | list[Text] | None,
            Field(
                None,
                description="Complete outputs of earlier runs, of the same model and settings: "
                "pairs that they have are not scored again; `auto`: the newest one beside "
                "`output.path`, in the same folder.",
            ),
        )
    },
)


class ReuseConfig(_From):
    """Scores that are used again when the same pair comes again. See docs/reuse.md."""

    keep: bool = Field(
        True,
        description="Write the hash and score of each pair to `_keys/`, about 20 bytes per pair: "
        "later runs can use the scores again.",
    )
    within: bool = Field(
        False,
        description="Score a pair only once, even if several parts contain it; the run reads all "
        "texts once more before it starts to score.",
    )
    max_age_days: int | None = Field(
        None, ge=0, description="Scores that are older than this number of days are computed again."
    )
    check: float = Field(
        0.001,
        ge=0,
        le=1,
        description="Fraction of the known pairs to score again and to compare, and at least one "
        "in each part; if the score differs, the run ends with exit code 3.",
    )

    @property
    def sources(self) -> list[str]:
        """What `reuse.from` names."""
        given = getattr(self, "from")
        return [given] if isinstance(given, str) else list(given or [])
