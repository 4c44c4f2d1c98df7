"""The pair format of language models: a template makes a prompt from a pair.

Each segment of the template is tokenized separately. A segment with only the query or only the
passage is tokenized once for each distinct text. A segment with both is tokenized once for each
pair, because a token may contain the end of one text and the beginning of the next. If a prompt is
too long, the end of the passage is cut, and the end of a query that is too long. The text of the
template is never cut.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from reranker_core.config import ModelConfig, Template
from reranker_core.encode.formats.pair_format import Answer, specials_in_texts
from reranker_core.encode.formats.segments import filled, has_text, split_joint, with_spans
from reranker_core.encode.passages import Prepared, assemble, in_chunks, long_passages
from reranker_core.encode.sequences import Int64s, Ragged, Runs, TokenSequences, take
from reranker_core.encode.tokenizing import TextTokenizer, beginning, tokenize
from reranker_core.errors import ConfigError


@dataclass(frozen=True)
class PromptFormat:
    """A template with the ids of its fixed segments, and the maximum lengths.

    Attributes:
        max_length: maximum number of ids of a sequence.
        query_max_length: maximum number of ids of the query's segment. If query and passage are in
            the same segment, that of the query in a pair that is too long.

    """

    tokenizer: TextTokenizer
    template: Template
    name: str
    max_length: int
    query_max_length: int
    passage_max_length: int
    prefix: list[int]  # special tokens
    suffix: list[int]
    literals: dict[str, list[int]] = field(repr=False)  # ids of segments without a text of users
    behind: int  # ids of the template that stand behind the passage's segment
    settings: dict[str, Any]  # of the family
    model: ModelConfig = field(repr=False)
    read: Template = field(repr=False)  # the template for the tokenizer, its special tokens marked

    @classmethod
    def of(
        cls,
        tokenizer: TextTokenizer,
        specials: tuple[list[int], list[int]],
        template: Template,
        name: str,
        model: ModelConfig,
        longest: int,
        settings: dict[str, Any],
    ) -> PromptFormat:
        """Tokenize the fixed segments and compute the lengths.

        Args:
            tokenizer: the tokenizer of the checkpoint.
            specials: ids of the special tokens before and after the prompt.
            template: the template.
            name: its name, for messages.
            model: the configuration.
            longest: maximum number of ids that the model allows.
            settings: other settings of the family that change a score.

        Raises:
            ConfigError: the prompt leaves no room for a passage, or does not fit the model.

        """
        prefix, suffix = specials
        read = template.model_copy(
            update={
                "segments": [tokenizer.own(segment) for segment in template.segments],
                "prompt": tokenizer.own(template.prompt),
                "instruction": tokenizer.own(template.instruction),
                "instruction_format": tokenizer.own(template.instruction_format),
            }
        )
        literals = {
            segment: tokenizer.ids(filled(read, segment))
            for segment in read.segments
            if not has_text(segment)
        }
        texts = [i for i, segment in enumerate(read.segments) if has_text(segment)]
        outside = len(prefix) + len(suffix)
        for i, segment in enumerate(read.segments):
            if i < texts[0] or i > texts[-1]:
                outside += len(literals[segment])
        last = next(i for i, segment in enumerate(read.segments) if "{passage}" in segment)
        behind = len(suffix)
        behind += sum(len(literals.get(part, ())) for part in read.segments[last + 1 :])
        extra = {"all": 0, "texts": outside, "flag_embedding": 2 * behind}[template.counted]
        empty = "".join(filled(read, segment) for segment in read.segments)
        fixed = len(prefix) + len(suffix) + len(tokenizer.ids(empty))
        counted = model.max_length or min(template.max_length, longest - extra)
        if counted + extra > longest:
            raise ConfigError(
                f"model.max_length={counted} and {extra} more tokens of the template '{name}' "
                f"exceed the {longest} positions of {model.path}. Set model.max_length to at most "
                f"{longest - extra}"
            )
        share = counted - fixed if template.counted == "all" else counted
        query_max_length = model.query_max_length or share * 3 // 4
        if query_max_length < 1 or query_max_length + fixed >= counted + extra:
            raise ConfigError(
                f"model.max_length={counted} leaves no room for a passage: the query may have "
                f"{query_max_length} tokens, and the template '{name}' has {fixed}. Raise "
                "model.max_length, or lower model.query_max_length"
            )
        return cls(
            tokenizer=tokenizer,
            template=template,
            name=name,
            max_length=counted + extra,
            query_max_length=query_max_length,
            passage_max_length=counted,
            prefix=prefix,
            suffix=suffix,
            literals=literals,
            behind=behind,
            settings=settings,
            model=model,
            read=read,
        )

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The answer tokens; first those given by text, then those given by id."""
        texts = [
            Answer(text, tuple(self.tokenizer.ids(text)), weight)
            for text, weight in self.template.answers.items()
        ]
        ids = [Answer(None, (id_,), weight) for id_, weight in self.template.answer_ids.items()]
        return (*texts, *ids)

    @property
    def layout(self) -> str:
        """The whole input as text, with `{query}` and `{passage}` where these go."""
        inner = "".join(
            filled(self.template, segment, "{query}", "{passage}")
            for segment in self.template.segments
        )
        return self.tokenizer.decode(self.prefix) + inner + self.tokenizer.decode(self.suffix)

    @property
    def takes_instructions(self) -> bool:
        """Whether the template has a place for an instruction."""
        return any("{instruction}" in segment for segment in self.template.segments)

    @property
    def record(self) -> dict[str, Any]:
        """Template, lengths and other settings that change ids or score, for the fingerprint."""
        return {
            "max_length": self.max_length,
            "query_max_length": self.query_max_length,
            "template": self.template.model_dump(),
            **specials_in_texts(self.model),
            **long_passages(self.model),
            **self.tokenizer.record,
            **self.settings,
        }

    def refuse_missing_answers(self) -> None:
        """Check the answer tokens, for families whose score is computed from them.

        Raises:
            ConfigError: the template has no answer, or an answer has no token.

        """
        if not self.answers:
            raise ConfigError(
                f"model.template={self.name} has no answer tokens; the score of a language "
                "model is computed from their logits. Add `answers`, such as {'Yes': 1}"
            )
        for answer in self.answers:
            if not answer.ids:
                raise ConfigError(
                    f"model.template: the answer '{answer.text}' has no token. Use an answer "
                    "that the tokenizer converts to one token"
                )

    def encode(
        self,
        queries: list[str],
        passages: list[str],
        query_of: Int64s,
        passage_of: Int64s,
        whole: bool = False,
        instructions: list[str | None] | None = None,
    ) -> TokenSequences:
        """Ids of the pairs (queries[query_of[i]], passages[passage_of[i]])."""
        queries, passages = self.tokenizer.foreign(queries), self.tokenizer.foreign(passages)
        if self.read.strip:
            queries = [text.strip() for text in queries]
            passages = [text.strip() for text in passages]
        whole = whole or in_chunks(self.model)
        own = self._capped(instructions or [None] * len(queries))
        pairs = self._pieces(queries, passages, query_of, passage_of, whole, own)
        return assemble(pairs, self.model, self.tokenizer.truncation_side)

    def _pieces(
        self,
        queries: list[str],
        passages: list[str],
        query_of: Int64s,
        passage_of: Int64s,
        whole: bool,
        instructions: list[str | None],
    ) -> Prepared:
        """What stands before each pair's passage, the passage, and what stands behind it."""
        count = len(query_of)
        before: list[Runs] = [Runs.same(self.prefix, count)]
        passage: Runs | None = None
        after: list[Runs] = []
        lost = np.zeros(count, np.int64)
        longest: int | Int64s = self.passage_max_length
        for segment in self.read.segments:
            pieces = before if passage is None else after
            if segment in self.literals:
                pieces.append(Runs.same(self.literals[segment], count))
            elif "{passage}" not in segment:
                texts = [
                    filled(self.read, segment, query=query, instruction=own)
                    for query, own in zip(queries, instructions, strict=True)
                ]
                ids = tokenize(self.tokenizer, texts, None if whole else self.query_max_length)
                kept = np.minimum(ids.lengths, self.query_max_length)
                side = self.tokenizer.truncation_side
                cut = take(ids, np.arange(len(texts)), kept, side)
                pieces.append(Runs(cut, query_of))
                lost += (ids.lengths - kept)[query_of]
            elif "{query}" not in segment:
                texts = [filled(self.read, segment, passage=passage) for passage in passages]
                ids = tokenize(self.tokenizer, texts, None if whole else self.passage_max_length)
                if in_chunks(self.model):
                    lead, with_lead, ids = self._without_lead(segment, ids)
                    has_lead = with_lead[passage_of]
                    before.append(Runs(Ragged.of([[], lead]), has_lead.astype(np.int64)))
                    longest = longest - len(lead) * has_lead
                passage = Runs(ids, passage_of)
            else:
                head, passage, tail, cut_off = self._joint(
                    segment, queries, passages, query_of, passage_of, whole, instructions
                )
                before.append(head)
                after.append(tail)
                lost += cut_off
        after.append(Runs.same(self.suffix, count))
        assert passage is not None  # the template has been validated
        front, behind = Runs.joined(before), Runs.joined(after)
        room = np.minimum(self.max_length - front.lengths - behind.lengths, longest)
        return Prepared(front, passage, behind, room, lost)

    def _capped(self, instructions: list[str | None]) -> list[str | None]:
        """Instructions of rows, none longer than a query may be."""
        backend, most = self.tokenizer.backend, self.query_max_length
        capped: dict[str | None, str | None] = {None: None}
        for text in instructions:
            if text is not None and text not in capped:
                [own] = self.tokenizer.foreign([text])
                ends = [end for _, end in backend.encode(own, add_special_tokens=False).offsets]
                capped[text] = own if len(ends) <= most else own[: ends[most - 1]]
        return [capped[text] for text in instructions]

    def _without_lead(
        self, segment: str, ids: Ragged
    ) -> tuple[list[int], npt.NDArray[np.bool_], Ragged]:
        """What the segment says before a passage, so that each chunk can have it; which passages
        begin with it; and their ids without it. Where a token reaches over the seam, the passage
        keeps all of its ids.
        """
        lead = self.tokenizer.ids(segment.split("{passage}")[0].rstrip())
        fits = ids.lengths >= len(lead)
        for place, token in enumerate(lead):
            fits[fits] = ids.values[ids.starts[fits] + place] == token
        skip = len(lead) * fits
        return lead, fits, take(ids, np.arange(len(fits)), ids.lengths - skip, skip=skip)

    def _joint(
        self,
        segment: str,
        queries: list[str],
        passages: list[str],
        query_of: Int64s,
        passage_of: Int64s,
        whole: bool,
        instructions: list[str | None],
    ) -> tuple[Runs, Runs, Runs, Int64s]:
        """A segment with both texts: its ids up to the passage, the passage's, and the rest; and
        how many tokens each query has lost.
        """
        if not whole and self.tokenizer.truncation_side == "right":
            passages = [beginning(self.tokenizer, text, self.max_length) for text in passages]
        outside = len(self.prefix) + len(self.suffix) + sum(map(len, self.literals.values()))
        room = self.max_length - outside
        texts, spans = [], []
        for q, p in zip(query_of, passage_of, strict=True):
            text, query_span, passage_span = with_spans(
                self.read, segment, queries[q], passages[p], instructions[q]
            )
            texts.append(text)
            spans.append((query_span, passage_span))
        return split_joint(self.tokenizer, texts, spans, room, self.query_max_length)
