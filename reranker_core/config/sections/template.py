"""Keys of a prompt template."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from reranker_core.config.sections.section import Section

_PLACEHOLDERS = ("{query}", "{passage}")


class Template(Section):
    """How a pair becomes the input of a language model, and which tokens answer.

    `segments` are tokenized one by one, and their ids are joined. Another division into segments
    gives other ids. Each of `{query}` and `{passage}` must occur once. `{instruction}` and
    `{prompt}` may occur.
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
        "the last; `flag_embedding`: as FlagEmbedding counts: the tokens after the passage "
        "do not count, and the maximum is also raised by their number.",
    )
    temperature: float = Field(
        1.0, gt=0, description="Number that divides raw scores before `output.normalize=sigmoid`."
    )

    @model_validator(mode="after")
    def _one_query_one_passage(self) -> Template:
        for placeholder in _PLACEHOLDERS:
            count = sum(segment.count(placeholder) for segment in self.segments)
            if count != 1:
                raise ValueError(f"segments contain {placeholder} {count} times; expected once")
        return self
