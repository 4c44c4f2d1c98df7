"""The class that Python code uses: what it takes, what it refuses; threads may share it."""

from __future__ import annotations

import json
import logging
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder

from reranker_core import Reranker
from reranker_core.errors import ConfigError, PreflightRefused
from tests.checkpoints import TEXTS
from tests.running import ROOT

MODEL = ROOT / "demo/model"
PAIRS = [(TEXTS[0], text) for text in TEXTS]
THREADS = 8
RANDOM = {"preflight.checks.meaning": "off"}  # of what random weights give, no order is expected


@pytest.fixture(scope="module")
def reranker() -> Reranker:
    return Reranker(MODEL, dtype="float32")


@pytest.fixture(scope="module")
def oracle() -> CrossEncoder:
    return CrossEncoder(
        str(MODEL), device="cpu", max_length=512, model_kwargs={"dtype": torch.float32}
    )


def test_scores_are_the_raw_logits_of_a_cross_encoder(reranker: Reranker, oracle: CrossEncoder):
    found = reranker.score(PAIRS)
    assert (found.dtype, found.shape) == (np.float32, (len(PAIRS),))
    expected = oracle.predict(PAIRS, activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_ranks_are_those_of_a_cross_encoder(reranker: Reranker, oracle: CrossEncoder):
    options: dict[str, Any] = {"top_k": 5, "return_documents": True}
    found = reranker.rank(TEXTS[0], list(TEXTS), **options)
    expected = oracle.rank(TEXTS[0], list(TEXTS), activation_fn=torch.nn.Identity(), **options)
    assert [set(result) for result in found] == [set(result) for result in expected]
    for key in ("corpus_id", "text"):
        assert [result[key] for result in found] == [result[key] for result in expected]
    scores = [[result["score"] for result in results] for results in (found, expected)]
    np.testing.assert_allclose(*scores, atol=1e-5)
    json.dumps(found)


def test_all_passages_come_without_text_if_nothing_else_is_asked_for(reranker: Reranker):
    found = reranker.rank(TEXTS[0], TEXTS)
    assert sorted(result["corpus_id"] for result in found) == list(range(len(TEXTS)))
    assert {tuple(result) for result in found} == {("corpus_id", "score")}
    assert reranker.rank(TEXTS[0], TEXTS, top_k=1000) == found


def test_equal_scores_keep_the_order_of_the_passages(reranker: Reranker):
    found = reranker.rank(TEXTS[0], [TEXTS[1]] * 5 + [TEXTS[2]] * 5)
    numbers = [result["corpus_id"] for result in found]
    assert numbers in ([*range(10)], [*range(5, 10), *range(5)])


@pytest.mark.parametrize(
    "pairs",
    [
        [list(pair) for pair in PAIRS],
        tuple(PAIRS),
        (pair for pair in PAIRS),
        np.array(PAIRS),
        np.array(PAIRS, object),
        zip([TEXTS[0]] * len(TEXTS), TEXTS, strict=True),
    ],
    ids=["lists", "tuple", "generator", "array", "objects", "zip"],
)
def test_pairs_may_come_in_any_sequence(reranker: Reranker, pairs: Any):
    np.testing.assert_array_equal(reranker.score(pairs), reranker.score(PAIRS))


def test_nothing_to_score_is_an_empty_array(reranker: Reranker):
    for nothing in ([], (), iter(()), np.zeros((0, 2), object)):
        found = reranker.score(nothing)
        assert (found.dtype, found.shape) == (np.float32, (0,))
    assert reranker.rank("a query", []) == []


def test_nothing_to_score_has_the_layers_of_other_results(minicpm_layerwise: Path):
    off = {"preflight.checks.meaning": "off"}
    made = Reranker(minicpm_layerwise, cutoff_layer=[2, 3], dtype="float32", config=off)
    assert made.score([]).shape == (0, 2)
    assert made.score(PAIRS[:1]).shape == (1, 2)


def test_more_pairs_than_are_sorted_together_keep_their_order(
    reranker: Reranker, monkeypatch: pytest.MonkeyPatch
):
    expected = reranker.score(PAIRS)
    monkeypatch.setattr("reranker_core.score.reranker._PAIRS_AT_ONCE", 5)
    np.testing.assert_allclose(reranker.score(PAIRS), expected, atol=1e-5)


def test_a_passage_in_several_chunks_has_one_score():
    whole = " ".join([*TEXTS[1:], TEXTS[0]])  # what answers stands at the end
    settings: dict[str, Any] = {"max_length": 64, "dtype": "float32"}
    best = Reranker(MODEL, long_passage="max", **settings)
    cut = Reranker(MODEL, **settings)
    pairs = [(TEXTS[0], whole), (TEXTS[0], TEXTS[1]), (TEXTS[0], whole)]
    found = best.score(pairs)
    assert found.shape == (3,)
    assert found[0] == found[2] > cut.score(pairs)[0]
    np.testing.assert_allclose(found[1], cut.score(pairs)[1], atol=1e-5)


SECRET = "sec\ud800ret"
WRONG_PAIRS = [
    (None, "pairs[2] is None"),
    (7, "pairs[2] is of type int"),
    (float("nan"), "pairs[2] is NaN"),
    ("ab", "pairs[2] is of type str"),
    (b"ab", "pairs[2] is of type bytes"),
    ({"query": "secret", "passage": "secret"}, "pairs[2] is of type dict"),
    ({"secret", "text"}, "pairs[2] is of type set"),
    ((), "pairs[2] has 0 elements"),
    (("secret",), "pairs[2] has 1 element;"),
    (("secret", "secret", 1.0), "pairs[2] has 3 elements"),
    (("secret", None), "pairs[2]: the passage is None"),
    ((None, "secret"), "pairs[2]: the query is None"),
    (("secret", float("nan")), "pairs[2]: the passage is NaN"),
    (("secret", np.float64("nan")), "pairs[2]: the passage is NaN"),
    (("secret", 1.5), "pairs[2]: the passage is of type float"),
    ((b"secret", "text"), "pairs[2]: the query is of type bytes"),
    (("text", ["secret"]), "pairs[2]: the passage is of type list"),
    ((SECRET, "text"), "pairs[2]: the query is a str that is not valid Unicode"),
]


@pytest.mark.parametrize(("pair", "named"), WRONG_PAIRS, ids=range(len(WRONG_PAIRS)))
def test_what_is_no_pair_is_named_by_index_and_type(reranker: Reranker, pair: Any, named: str):
    with pytest.raises(ValueError, match="expected") as caught:
        reranker.score([*PAIRS[:2], pair])
    assert str(caught.value).startswith(named)
    assert "secret" not in str(caught.value)
    assert "sec" not in str(caught.value).replace("sequence", "")


@pytest.mark.parametrize(
    "pairs", [None, "text", b"text", 7, {"query": "passage"}, {("a", "b")}, ("q", "p"), ["q", "p"]]
)
def test_what_is_no_list_of_pairs_is_refused(reranker: Reranker, pairs: Any):
    with pytest.raises(ValueError, match=r"expected a list of pairs \(query, passage\)"):
        reranker.score(pairs)


def test_for_a_single_pair_the_message_says_how(reranker: Reranker):
    with pytest.raises(ValueError, match=r"write score\(\[\(query, passage\)\]\)"):
        reranker.score(("how to sort", "a passage"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((None, ["a"]), "query is None"),
        (("q", None), "passages is None"),
        (("q", "a passage"), "passages is of type str"),
        (("q", ["a", None]), r"passages\[1\] is None"),
        (("q", ["a", ("b",)]), r"passages\[1\] is of type tuple"),
        (("q", ["a"], 0), "top_k=0"),
        (("q", ["a"], -1), "top_k=-1"),
        (("q", ["a"], True), "top_k=True"),
        (("q", ["a"], 1.5), r"top_k=1\.5"),
        (("q", ["a"], "3"), "top_k='3'"),
    ],
)
def test_wrong_arguments_of_rank_are_named(reranker: Reranker, arguments: Any, named: str):
    with pytest.raises(ValueError, match=named):
        reranker.rank(*arguments)


def test_settings_of_the_model_are_keywords_and_others_go_by_their_full_name():
    found = Reranker(
        str(MODEL),
        max_length=40,
        dtype=torch.float32,
        device=torch.device("cpu"),
        config={"score.max_batch_tokens": 99, "preflight.checks.meaning": "off"},
    )
    engine = found._scorer._engine
    assert (found._scorer.max_length, engine.shapes.max_tokens) == (40, 99)
    assert found.report.dtype == "float32"
    assert repr(found) == f"Reranker({str(MODEL)!r}, float32 on cpu)"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"max_lenght": 256}, "did you mean 'model.max_length'"),
        ({"max_length": "256"}, "model.max_length=256: expected a whole number"),
        ({"device": "cuda:7"}, "model.device=cuda:7: expected auto, cpu or cuda"),
        ({"config": {"preflight.language": ["en"]}}, "did you mean 'preflight.languages'"),
        ({"config": {"output.path": "x"}}, "output.path: this key is only for jobs"),
        ({"template": "qwen3-reranker"}, "model.template=qwen3-reranker has no effect"),
        ({"instruction": "Find the answer."}, "model.instruction=Find the answer. has no effect"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], named: str):
    with pytest.raises(ConfigError, match=named):
        Reranker(MODEL, **settings)


def test_numbers_of_numpy_are_numbers_and_a_quota_of_cores_is_kept(
    bert: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("reranker_core.score.reranker.usable_cores", lambda: 1)
    state = torch.random.get_rng_state()
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    off = {"preflight.checks.meaning": "off"}
    try:
        made = Reranker(bert, max_length=np.int64(64), dtype="float32", config=off)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert made._scorer.max_length == 64
    assert made._scorer._threads == 1
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_folder_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="no such folder"):
        Reranker("./no/such/model")


def test_a_broken_model_is_refused_with_what_was_measured(tmp_path: Path):
    folder = shutil.copytree(MODEL, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_labels": 2, "id2label": {}}))
    with pytest.raises(PreflightRefused) as caught:
        Reranker(folder)
    assert any(not check["passed"] for check in caught.value.report["checks"])


def test_the_report_holds_all_that_preflight_measured(reranker: Reranker):
    assert {"weights", "tokenizer", "numerics", "meaning"} <= {
        check.group for check in reranker.report.checks
    }
    assert not reranker.report.failed
    assert reranker.report.prompt == "[CLS]{query}[SEP]{passage}[SEP]"


PROGRAM = f"""
import logging, sys
import reranker_core
assert not {{"torch", "transformers", "ray"}} & set(sys.modules)
from reranker_core import Reranker
assert "Reranker" in dir(reranker_core)
from transformers.utils import logging as theirs
from huggingface_hub.utils import are_progress_bars_disabled
def state():
    loggers = [logging.getLogger(name) for name in (None, "transformers", "reranker_core")]
    return [(logger.level, list(logger.handlers)) for logger in loggers], (
        theirs.get_verbosity(), theirs.is_progress_bar_enabled(), are_progress_bars_disabled())
before = state()
Reranker({str(MODEL)!r}).score([("a", "b")])
assert state() == before, (before, state())
assert before[1][1:] == (True, False)
assert "ray" not in sys.modules
"""


@pytest.mark.slow
def test_it_shows_nothing_and_changes_no_logging(monkeypatch: pytest.MonkeyPatch):
    for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "TRANSFORMERS_VERBOSITY"):
        monkeypatch.delenv(name, raising=False)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def two_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def calls(count: int) -> list[list[tuple[str, str]]]:
    """Lists of pairs whose texts are of many lengths, some longer than the model reads."""
    draw = random.Random(0)
    words = " ".join(TEXTS[:6]).split()

    def text(*lengths: int) -> str:
        return " ".join(draw.choices(words, k=draw.choice(lengths)))

    return [[(text(2, 5, 200), text(3, 40, 400)) for _ in range(6)] for _ in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"truncation": "longest_first"}])
def test_threads_that_share_one_get_the_scores_of_a_single_thread(
    bert: Path, two_cores: None, settings: dict[str, Any]
):
    small = RANDOM | {"score.max_batch_tokens": 512}
    reranker = Reranker(bert, dtype="float32", config=small, **settings)
    work = calls(40)
    alone = [reranker.score(pairs) for pairs in work]
    threads = set()

    def score(pairs: list[tuple[str, str]]) -> np.ndarray:
        threads.add((threading.get_ident(), torch.get_num_threads()))
        return reranker.score(pairs)

    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(score, work))
    np.testing.assert_allclose(np.array(together), np.array(alone), atol=1e-5)
    assert len(threads) > 1


@pytest.mark.slow
def test_threads_get_the_same_bits_where_scores_are_reproducible(bert: Path, two_cores: None):
    reranker = Reranker(bert, dtype="float32", config=RANDOM | {"score.reproducible": True})
    work = calls(24)
    alone = [reranker.score(pairs) for pairs in work]
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(reranker.score, work))
    np.testing.assert_array_equal(np.array(together), np.array(alone))


def test_no_two_calls_are_computed_at_once(reranker: Reranker):
    inside, most = 0, 0

    def enter(*_: Any) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)

    def leave(*_: Any) -> None:
        nonlocal inside
        inside -= 1

    model = reranker._scorer._engine.model
    hooks = [model.register_forward_pre_hook(enter), model.register_forward_hook(leave)]
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(reranker.score, calls(16)))
    finally:
        for hook in hooks:
            hook.remove()
    assert most <= max(1, reranker._scorer._engine.streams)


def test_a_warning_of_a_check_that_is_not_enforced_goes_to_our_logger(
    caplog: pytest.LogCaptureFixture,
):
    with caplog.at_level(logging.WARNING, "reranker_core"):
        Reranker(MODEL, config={"preflight.checks.meaning": "warn", "preflight.languages": ["zh"]})
    assert "meaning" in caplog.text
