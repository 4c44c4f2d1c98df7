"""From the rows of a part to token ids. The text is dropped, unless `output.text` keeps it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reranker_core.config import Config
from reranker_core.encode.sequences import TokenSequences
from reranker_core.encode.trial import Before, tokenized, unreadable, without
from reranker_core.errors import RerankError
from reranker_core.input.columns import typed
from reranker_core.input.pairs import Pairs, find_pairs
from reranker_core.input.schema import InputSchema
from reranker_core.input.types.common_type import list_of
from reranker_core.input.types.conversion import with_values
from reranker_core.reuse.hashes import pair_hashes
from reranker_core.reuse.keys import PartKeys
from reranker_core.reuse.known import Known, Reuse
from reranker_core.stopping import Stopped

if TYPE_CHECKING:  # for who commits parts, and needs no tokenizer
    from reranker_core.encode.formats.pair_format import PairFormat


@dataclass(frozen=True)
class EncodedPart:
    """A part with R rows and P pairs, ready to be scored.

    Attributes:
        rows: the columns that are copied to the output, R rows.
        per_row: number of candidates of each row, shape (R,); None for flat input.
        status: `pairs.Status` of each pair, shape (P,).
        distinct_of: index into `sequences` for each pair; -1 without a score; shape (P,).
        sequences: ids of the distinct pairs.
        special_tokens: number of pairs whose query or passage contains the text of a special token.
        keys: hashes of the distinct pairs; None if they are not kept.
        known: earlier scores. Their pairs have no sequence, except to be checked. None without.

    """

    rows: pa.Table
    per_row: npt.NDArray[np.int64] | None
    status: npt.NDArray[np.int8]
    distinct_of: npt.NDArray[np.int32]
    sequences: TokenSequences
    special_tokens: int = 0
    keys: PartKeys | None = None
    known: Known | None = None


def encode_part(
    table: pa.Table,
    schema: InputSchema,
    pair_format: PairFormat,
    config: Config,
    caution: tuple[Iterable[int], Iterable[int]] | None = None,
    before: Before = lambda texts, characters: None,
    reuse: Reuse | None = None,
) -> EncodedPart:
    """Tokenize a part: each distinct text once, and the ids of each distinct pair once.

    If the tokenizer raises an error for a text, its pairs get the status ENDS_PROCESS.

    Args:
        table: the rows of the part.
        schema: the columns of the input.
        pair_format: how a pair becomes ids.
        config: the configuration of the run.
        caution: set if an earlier attempt at this part ended the process. Then texts are tried in
            small groups first. It has the texts to leave out, and the texts to try alone, as
            numbers (see `trial`).
        before: called before texts are tokenized, with their numbers (none if all are tokenized)
            and with the number of characters.
        reuse: earlier scores; a pair that has one is not tokenized.

    Raises:
        RerankError: a text cannot be read, or as `pair_format` raises it.

    """
    table = typed(table, schema)
    pairs, whole = find_pairs(table, schema), config.output.tokens_lost
    pairs, keys, known, special = _without_known(pairs, config, reuse, pair_format)
    if caution is not None:
        bad = unreadable(pairs, pair_format, whole, *caution, before)
        pairs = without(pairs, {*caution[0], *bad})
    before([], pairs.characters)
    try:
        sequences = tokenized(pairs, pair_format, whole)
    except (RerankError, Stopped, KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a panic of the tokenizer's Rust is no Exception
        bad = unreadable(pairs, pair_format, whole, before=before)
        if not bad:
            raise
        pairs = without(pairs, bad)
        before([], pairs.characters)
        sequences = tokenized(pairs, pair_format, whole)
    return EncodedPart(
        rows=carried_rows(table, schema, config.output.text),
        per_row=pairs.per_row,
        status=pairs.status,
        distinct_of=pairs.distinct_of,
        sequences=sequences,
        special_tokens=special + _with_special_tokens(pairs, pair_format),
        keys=keys,
        known=known,
    )


def _without_known(
    pairs: Pairs, config: Config, reuse: Reuse | None, pair_format: PairFormat
) -> tuple[Pairs, PartKeys | None, Known | None, int]:
    """The pairs that are left to be scored, the keys of all, the old scores of the others, and how
    many of the others have the text of a special token.
    """
    hashes = pair_hashes(pairs) if config.reuse.keep or reuse else None
    keys = PartKeys.of(pairs, hashes) if config.reuse.keep and hashes is not None else None
    if reuse is None or hashes is None:
        return pairs, keys, None, 0
    found, again = reuse.known(hashes)
    old = np.zeros(len(hashes), bool)
    old[found.index] = ~again
    known = Known.of_part(pairs, found, int(again.sum()), reuse.tolerance)
    special = _with_special_tokens(pairs.only(old), pair_format)
    return pairs.only(~old), keys and keys.since(found.index, found.days), known, special


def _with_special_tokens(pairs: Pairs, pair_format: PairFormat) -> int:
    holds = pair_format.tokenizer.holds_specials
    found = holds(pairs.queries)[pairs.query_of] | holds(pairs.passages)[pairs.passage_of]
    return int(found[pairs.distinct_of[pairs.distinct_of >= 0]].sum())


def carried_rows(table: pa.Table, schema: InputSchema, with_text: bool) -> pa.Table:
    """The columns that are copied to the output. Unless `with_text`, a passage inside a struct is
    removed.
    """
    rows = table.select(list(schema.carried))
    column, member = schema.passage.column, schema.passage.member
    named_as_id = schema.doc_id == schema.passage
    if with_text or member is None or named_as_id or column not in schema.carried:
        return rows
    index = rows.schema.get_field_index(column)
    chunks = rows.column(index).chunks or [pa.array([], rows.schema.field(index).type)]
    kept = pa.chunked_array([_without_member(lists, member) for lists in chunks])
    return rows.set_column(index, rows.schema.field(index).with_type(kept.type), kept)


def _without_member(lists: pa.Array, member: str) -> pa.Array:
    """The same lists of structs, without one field of the structs."""
    structs, kind = lists.flatten(), lists.type
    kept_fields = [(i, field) for i, field in enumerate(structs.type) if field.name != member]
    kept = pa.StructArray.from_arrays(
        # As they are: where a struct is null, members that are never null have some value.
        [structs.field(i) for i, _ in kept_fields],
        fields=[field for _, field in kept_fields],
        mask=structs.is_null(),
    )
    value = kind.value_field.with_type(kept.type)
    return with_values(lists, kept, list_of(kind, value))
