"""Batches side by side: in order, with errors raised, and torch's threads left as they were."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from reranker_core.config import ScoreConfig
from reranker_core.score.batching import Shapes
from reranker_core.score.loading import load_scorer
from reranker_core.score.streams import side_by_side, streams_for, threads_of
from tests.marks import more
from tests.parity.common import sample_pairs
from tests.tables import config

SETTINGS = ("model.dtype=float32", "model.device=cpu", "preflight.checks.meaning=off")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    assert torch.get_num_threads() == 4
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_items_from_several_threads():
    both = threading.Barrier(2, timeout=30)
    seen = []

    def slow(item: int) -> int:
        if item < 2:
            both.wait()  # neither is done before the other has begun
        seen.append((threading.get_ident(), torch.get_num_threads()))
        return item * item

    assert side_by_side(slow, iter(range(20)), 2) == [item * item for item in range(20)]
    assert len({thread for thread, _ in seen}) == 2
    assert {count for _, count in seen} == {2}


def test_a_fork_has_streams_of_its_own():
    program = (
        "import os, signal, sys, torch\n"
        "from reranker_core.score.streams import side_by_side, turn\n"
        "torch.set_num_threads(2)\n"
        "assert side_by_side(abs, range(4), 2) == [0, 1, 2, 3]\n"
        "with turn():\n"
        "    child = os.fork()\n"
        "if not child:\n"
        "    signal.alarm(60)\n"
        "    with turn():\n"
        "        os._exit(side_by_side(abs, range(4), 2) != [0, 1, 2, 3])\n"
        "sys.exit(os.waitpid(child, 0)[1])\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=200)


def test_threads_are_used_again():
    def here(_: int) -> threading.Thread:
        return threading.current_thread()

    found = {thread for _ in range(20) for thread in side_by_side(here, range(20), 4)}
    assert len(found) <= 4
    assert threading.current_thread() not in found


@pytest.mark.parametrize(("items", "streams"), [(1, 2), (5, 1), (0, 2)])
def test_what_is_alone_gets_all_threads(items: int, streams: int):
    here = (threading.get_ident(), 4)
    found = side_by_side(
        lambda _: (threading.get_ident(), torch.get_num_threads()), range(items), streams
    )
    assert found == [here] * items


def test_there_are_no_more_streams_than_threads():
    torch.set_num_threads(1)
    try:
        found = side_by_side(lambda _: threading.get_ident(), range(5), 2)
    finally:
        torch.set_num_threads(4)
    assert found == [threading.get_ident()] * 5


def test_fixed_shapes_are_the_same_however_many_threads_a_batch_has():
    model, fixed = torch.nn.Linear(8, 2048), ScoreConfig(reproducible=True)
    assert Shapes.of("cpu", 128, fixed, model, 4) == Shapes.of("cpu", 128, fixed, model)


def test_an_error_is_raised_and_ends_the_others():
    done = []

    def fail(item: int) -> None:
        if item == 3:
            raise ValueError("three")
        done.append(item)

    with pytest.raises(ValueError, match="three"):
        side_by_side(fail, range(10_000), 2)
    assert len(done) < 10_000


def test_errors_of_what_gives_the_items_are_raised():
    def items() -> Iterator[int]:
        yield from (1, 2, 3)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        side_by_side(lambda item: item, items(), 2)


@pytest.mark.parametrize("threads", [*range(1, 9), 15, 64])
def test_streams_leave_no_thread_idle(threads: int):
    shares = threads_of(threads, streams_for(threads))
    assert sum(shares) == threads
    assert max(shares) - min(shares) <= 1 <= min(shares)


def test_threads_that_cannot_be_shared_evenly_are_used_all():
    together = threading.Barrier(3, timeout=30)
    seen = []

    def count(_: int) -> None:
        together.wait()
        seen.append(torch.get_num_threads())

    side_by_side(count, range(3), 3)
    assert sorted(seen) == [1, 1, 2]


def test_few_streams_share_many_threads():
    assert [streams_for(count) for count in (1, 2, 3, 4, 64)] == [1, 2, 3, 4, 4]


_QWEN = ("model.template=qwen3-reranker", "preflight.checks.prompt=off")
_NO_TOKENIZER = "preflight.checks.tokenizer=off"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "more"),
    [
        *((name, ()) for name in ("bert", "xlm_roberta", "modernbert")),
        more("gemma", ("model.template=bge-gemma", _NO_TOKENIZER)),
        ("qwen3", (*_QWEN, _NO_TOKENIZER)),
    ],
)
def test_scores_are_those_of_one_batch_after_the_other(
    name: str, more: tuple[str, ...], request: pytest.FixtureRequest
):
    model: Path = request.getfixturevalue(name)
    pairs = sample_pairs(128, 96)[::2]
    settings = (*SETTINGS, *more, "score.max_batch_tokens=256")
    several = load_scorer(config("in", "out", *settings, model=model))
    assert several._engine.streams == 4
    found = [several.score_pairs(pairs) for _ in range(2)]
    torch.set_num_threads(1)
    single = load_scorer(config("in", "out", *settings, model=model))
    assert single._engine.streams == 1
    expected = single.score_pairs(pairs)
    torch.set_num_threads(4)
    for scores in found:
        np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5 * expected.std())


def test_models_with_code_of_their_own_go_one_by_one(nemotron: Path):
    more = ("preflight.checks.prompt=off", _NO_TOKENIZER, "model.trust_remote_code=true")
    scorer = load_scorer(config("in", "out", *SETTINGS, *more, model=nemotron))
    assert scorer._engine.streams == 1
