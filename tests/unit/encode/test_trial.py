"""Texts that cannot be tokenized are found and left out, and no other pair changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from reranker_core.encode import tokenizing
from reranker_core.encode.part import EncodedPart, encode_part
from reranker_core.errors import ConfigError
from reranker_core.input.pairs import Status
from reranker_core.input.schema import resolve_schema
from reranker_core.models import encoder
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.score.poison import TOKENIZING, Attempts
from tests.tables import config, flat, nested

BAD = "passage 7 of many"


class Panic(BaseException):
    """As PyO3's PanicException: no Exception."""


@pytest.fixture
def encode(bert: Path):
    settings = config("in", "out", model=bert)
    pair_format = encoder.pair_format(open_checkpoint(settings.model), settings.model)

    def call(table: pa.Table, **options) -> EncodedPart:
        schema = resolve_schema(table.schema, settings, "shard")
        return encode_part(table, schema, pair_format, settings, **options)

    return call


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch):
    """Have the tokenizer do something where it meets one of these texts."""
    plain = tokenizing._ids

    def set_(act: Callable[[], None], *texts: str) -> None:
        def ids(tokenizer, given, limit):
            if set(texts) & set(given):
                act()
            return plain(tokenizer, given, limit)

        monkeypatch.setattr(tokenizing, "_ids", ids)

    return set_


def raising(error: type[BaseException]) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def ids_of(part: EncodedPart, pair: int) -> list[int]:
    tokens, which = part.sequences.tokens, part.distinct_of[pair]
    return tokens.values[tokens.starts[which] :][: tokens.lengths[which]].tolist()


def assert_left_out(found: EncodedPart, plain: EncodedPart, pairs: set[int]) -> None:
    """These pairs have no ids and are quarantined; all others have those that they had."""
    for pair, status in enumerate(found.status):
        if pair in pairs:
            assert (status, found.distinct_of[pair]) == (Status.ENDS_PROCESS, -1)
        else:
            assert status == plain.status[pair]
            if status == Status.SCORED:
                assert ids_of(found, pair) == ids_of(plain, pair)


@pytest.mark.parametrize("error", [ValueError, Panic])
def test_a_text_that_the_tokenizer_raises_an_error_for_costs_only_its_pairs(encode, trap, error):
    table = flat(300)
    plain = encode(table)
    trap(raising(error), BAD, "what is number 20")
    assert_left_out(encode(table), plain, {7, 40, 41})


def test_an_error_that_is_not_of_the_texts_is_raised(encode, trap):
    trap(raising(ValueError), "", *flat(10)["passage"].to_pylist())
    with pytest.raises(ValueError, match=r"^$"):
        encode(flat(10))


def test_an_error_of_ours_is_raised(encode, trap):
    trap(raising(ConfigError), BAD)
    with pytest.raises(ConfigError):
        encode(flat(10))


@pytest.mark.parametrize("bad", [{BAD}, {"what is number 3"}, {BAD, "what is number 3"}])
def test_a_text_that_ends_processes_is_found_by_its_announcements(encode, trap, bad):
    table = flat(300)
    plain = encode(table)
    trap(raising(KeyboardInterrupt), *bad)  # which nothing in a process catches
    attempts, ends, found = Attempts(TOKENIZING), 0, None
    while found is None:  # a process after the other
        caution = attempts.begin("p")
        options = {}
        if caution is not None:
            options["caution"] = (caution.fatal, caution.suspects)
            options["before"] = lambda texts, _: attempts.announce("p", texts)
        try:
            found = encode(table, **options)
        except KeyboardInterrupt:
            ends += 1
    assert ends <= 1 + 3 * len(bad)
    assert_left_out(found, plain, {7} if bad == {BAD} else {6, 7})


def test_no_batch_of_a_trial_is_large_and_suspects_are_alone_at_the_end(encode):
    table = flat(300, passage=["x" * 20_000 + str(i) for i in range(300)])
    told: list[tuple[list[int], int]] = []
    encode(table, caution=((2,), (5, 400)), before=lambda *given: told.append(given))
    *trial, last = told
    tried = [text for texts, _ in trial for text in texts]
    assert sorted(tried) == [i for i in range(450) if i != 2]
    assert [texts for texts, _ in trial[-2:]] == [[5], [400]]
    assert all(len(texts) <= 64 and size <= 1 << 20 for texts, size in trial)
    assert not any(min(texts) < 150 <= max(texts) for texts, _ in trial)
    assert last[0] == []
    assert last[1] > 298 * 20_000


def test_nested_rows_and_pairs_without_text_keep_their_status(encode, trap):
    table = nested([3, 0, 2])
    passages = table["passage"].to_pylist()
    passages[0][1] = None
    table = table.set_column(3, "passage", pa.array(passages))
    plain = encode(table)
    trap(raising(ValueError), "passage 2.0")
    found = encode(table)
    assert found.status.tolist() == [0, Status.NULL_PASSAGE, 0, Status.ENDS_PROCESS, 0]
    assert_left_out(found, plain, {3})


def test_a_part_of_nothing_else_is_left_out_whole(encode, trap):
    trap(raising(ValueError), BAD)
    table = flat(2, passage=[BAD, BAD])
    found = encode(table)
    assert (found.status == Status.ENDS_PROCESS).all()
    assert len(found.sequences) == 0
